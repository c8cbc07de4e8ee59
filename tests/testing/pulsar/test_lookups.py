"""Tests for sniproxy.testing.pulsar.lookups."""

from typing import Any

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar.broker import BrokerEvent
from tests.testing.pulsar.embedded import B1, B2, OURS, THEIRS, URLS, BrokerCase


class LookupTests(BrokerCase):
    """Lookups, as conversations with a broker."""

    def look_up(self, topic: str) -> Any:
        [answer] = self.client().say(pb.CommandLookupTopic(topic=topic, request_id=9))
        return answer

    def test_partitions(self) -> None:
        """A topic has the partitions that the cluster says, or none."""
        self.state.partitions[OURS] = 3
        for topic, count in ((OURS, 3), (THEIRS, 0)):
            [answer] = self.client().say(pb.CommandPartitionedTopicMetadata(topic=topic, request_id=9))
            self.assertEqual(
                answer, pb.CommandPartitionedTopicMetadataResponse(partitions=count, request_id=9, response="Success")
            )

    def test_owner(self) -> None:
        """Each broker answers LOOKUP with the owner's URL."""
        for topic, name in ((OURS, B1), (THEIRS, B2)):
            self.assertEqual(
                self.look_up(topic),
                pb.CommandLookupTopicResponse(
                    brokerServiceUrlTls=URLS[name], response="Connect", request_id=9, authoritative=True
                ),
            )
        self.assertIn(BrokerEvent(B1, "LOOKUP", THEIRS), self.seen)

    def test_redirect(self) -> None:
        """A redirected lookup gets the other broker's URL; that broker itself gives the owner."""
        self.state.redirects.update({OURS: B2, THEIRS: B1})
        kinds = pb.CommandLookupTopicResponse
        first, second = self.look_up(OURS), self.look_up(THEIRS)
        self.assertEqual((kinds.Redirect, URLS[B2]), (first.response, first.brokerServiceUrlTls))
        self.assertEqual((kinds.Connect, URLS[B2]), (second.response, second.brokerServiceUrlTls))

    def test_topics(self) -> None:
        """The topics of a namespace are those that were used, of the wanted kind."""
        for name in ("persistent://a/b/one", "non-persistent://a/b/two", "persistent://a/c/three"):
            self.state.topic(name)
        request = pb.CommandGetTopicsOfNamespace(request_id=4, namespace="a/b")
        found = []
        for mode in (b"", b"\x18\x00", b"\x18\x01", b"\x18\x02", b"\x18\x09"):
            [answer] = self.client().say(pb.CommandGetTopicsOfNamespace.FromString(request.SerializeToString() + mode))
            found.append(list(answer.topics))
        one, two = "persistent://a/b/one", "non-persistent://a/b/two"
        self.assertEqual([[one], [one], [two], [two, one], [two, one]], found)
