"""Tests for sniproxy.testing.pulsar.session."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar.session import with_url
from tests.testing.pulsar.embedded import OURS, THEIRS, BrokerCase, flow, subscribe


class SessionTests(BrokerCase):
    """ClientSession."""

    def test_topic_of(self) -> None:
        """The topic of a command is that of its name, its producer or its consumer."""
        client = self.producer()
        client.say(subscribe(OURS))
        session = client.end.session
        commands = [
            pb.CommandLookupTopic(topic=THEIRS, request_id=1),
            pb.CommandSend(producer_id=0, sequence_id=1),
            flow(),
            pb.CommandSend(producer_id=77, sequence_id=1),
            flow(consumer=77),
            pb.CommandPing(),
            pb.CommandWatchTopicListSuccess(request_id=1, watcher_id=1, topic=[OURS]),
        ]
        found = [session.topic_of(command) for command in commands]
        self.assertEqual([THEIRS, OURS, OURS, None, None, None, None], found)

    def test_end(self) -> None:
        """The end of a connection detaches its producers and consumers from their topics."""
        client = self.producer()
        client.say(subscribe())
        topic = self.state.topics[OURS]
        self.assertEqual((1, 1), (len(topic.producers), len(topic.subscriptions["s"].consumers)))
        client.lose()
        self.assertEqual((0, 0), (len(topic.producers), len(topic.subscriptions["s"].consumers)))
        client.end.session.end()

    def test_moved(self) -> None:
        """A producer is closed with the URL of its next broker; one that migrates hears of its cluster first."""
        for end, kinds in (
            ("close", ["CommandCloseProducer"]),
            ("migrate", ["CommandTopicMigrated", "CommandCloseProducer"]),
        ):
            client = self.producer()
            [(_, producer)] = client.end.session.producers.values()
            getattr(producer, end)("pulsar://next:6650")
            heard = client.heard()
            self.assertEqual(kinds, [type(one).__name__ for one in heard])
            urls = {getattr(heard[0], name, "") for name in ("assignedBrokerServiceUrl", "brokerServiceUrl")}
            self.assertIn("pulsar://next:6650", urls)
            self.assertEqual({}, client.end.session.producers)
        client = self.producer()
        [(_, producer)] = client.end.session.producers.values()
        producer.close(None)
        (closed,) = client.heard()
        self.assertEqual("", closed.assignedBrokerServiceUrl)
        client.end.session.detach_producer(0)  # it is forgotten already
        client.end.session.detach_consumer(0)


class UrlTests(SynchronousTestCase):
    """URLs in commands."""

    def test_scheme(self) -> None:
        """A URL is written to the field of its scheme."""
        answer = pb.CommandLookupTopicResponse(request_id=1)
        with_url(answer, "brokerServiceUrl", "brokerServiceUrlTls", "pulsar://a:1")
        with_url(answer, "brokerServiceUrl", "brokerServiceUrlTls", "pulsar+ssl://b:2")
        self.assertEqual(("pulsar://a:1", "pulsar+ssl://b:2"), (answer.brokerServiceUrl, answer.brokerServiceUrlTls))
