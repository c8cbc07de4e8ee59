"""Tests for sniproxy.inspector.dialogue: a test is a conversation."""

from typing import Any

from google.protobuf.message import Message
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.dialogue import BROKER_HANDLERS, CLIENT_HANDLERS, MAX_TRACKED, Dialogue
from sniproxy.inspector.pending import MAX_PENDING
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.events import Event, Fields

T = pb.BaseCommand.Type
NUMBERS = {
    field.message_type.full_name: field.number
    for field in pb.BaseCommand.DESCRIPTOR.fields
    if field.message_type is not None
}
ORDERS = "persistent://public/default/orders"
B1: dict[str, Any] = {"brokerServiceUrl": "pulsar://b1:6650", "brokerServiceUrlTls": "pulsar+ssl://b1:6651"}
LookupAnswer = pb.CommandLookupTopicResponse
PartitionsAnswer = pb.CommandPartitionedTopicMetadataResponse
SUBSCRIBE = pb.CommandSubscribe(
    topic=ORDERS, subscription="s", subType=pb.CommandSubscribe.Shared, consumer_id=5, request_id=2, consumer_name="me"
)


class DialogueCase(SynchronousTestCase):
    """Both sides send commands, a quarter of a second apart."""

    reveal = False

    def setUp(self) -> None:
        self.dialogue = Dialogue("c1", reveal=self.reveal)
        self.time = 100.0

    def says(self, by_client: bool, command: Message) -> list[Event]:
        self.time += 0.25
        return self.dialogue.take(by_client, NUMBERS[command.DESCRIPTOR.full_name], command, self.time)

    def client(self, command: Message, *names: str) -> Fields:
        """The client sends this command; check the events' names and return the last one's fields."""
        return self.told(self.says(True, command), names)

    def broker(self, command: Message, *names: str) -> Fields:
        return self.told(self.says(False, command), names)

    def told(self, events: list[Event], names: tuple[str, ...]) -> Fields:
        self.assertEqual(tuple(event.name for event in events), names)
        for event in events:
            self.assertEqual((event.connection, event.time), ("c1", self.time))
        return events[-1].fields if events else {}

    def holds(self, fields: Fields, **expected: Any) -> None:
        self.assertEqual({key: fields[key] for key in expected}, expected)


class ConnectionTests(DialogueCase):
    """CONNECT, CONNECTED and authentication."""

    CONNECT = pb.CommandConnect(
        client_version="Pulsar-Java",
        protocol_version=21,
        auth_method_name="token",
        proxy_to_broker_url="b1:6650",
        original_principal="alice",
        original_auth_method="tls",
        feature_flags=pb.FeatureFlags(supports_auth_refresh=True, supports_partial_producer=False),
        proxy_version="4.0",
    )

    def test_connect(self) -> None:
        """The connect event has the client and its protocol, without principals unless revealed."""
        expected = {
            "client_version": "Pulsar-Java",
            "protocol_version": 21,
            "auth_method": "token",
            "proxy_to_broker_url": "b1:6650",
            "proxy_version": "4.0",
            "feature_flags": ["auth_refresh"],
            "original_principal": None,
            "original_auth_method": None,
        }
        self.assertEqual(self.client(self.CONNECT, "connect"), expected)
        expected = {
            "server_version": "4.0.7",
            "protocol_version": 20,
            "max_message_size": None,
            "feature_flags": [],
            "latency_s": 0.25,
        }
        answer = pb.CommandConnected(server_version="4.0.7", protocol_version=20)
        self.assertEqual(self.broker(answer, "connected"), expected)

    def test_refused(self) -> None:
        """An ERROR in place of CONNECTED answers the CONNECT."""
        self.client(self.CONNECT, "connect")
        error = pb.CommandError(request_id=2**64 - 1, error=pb.AuthenticationError, message="no")
        expected = {"request": "CONNECT", "topic": None, "latency_s": 0.25, "error": "AuthenticationError"}
        self.assertEqual(self.broker(error, "error"), {**expected, "message": "no"})
        self.assertEqual(self.dialogue.end(self.time), [])

    def test_auth(self) -> None:
        """A challenge and its response give the method's name."""
        data = pb.AuthData(auth_method_name="sasl")
        step = self.broker(pb.CommandAuthChallenge(challenge=data), "auth")
        self.assertEqual(step, {"step": "challenge", "method": "sasl"})
        step = self.client(pb.CommandAuthResponse(response=data), "auth")
        self.assertEqual(step, {"step": "response", "method": "sasl"})


class LookupTests(DialogueCase):
    """LOOKUP and PARTITIONED_METADATA."""

    def test_connect(self) -> None:
        """An answer with an owner has exactly the documented fields."""
        self.client(pb.CommandLookupTopic(topic=ORDERS, request_id=1))
        answer = LookupAnswer(**B1, response=LookupAnswer.Connect, request_id=1, authoritative=True)
        expected = {
            "topic": ORDERS,
            "response": "connect",
            "broker_url": "pulsar://b1:6650",
            "broker_url_tls": "pulsar+ssl://b1:6651",
            "authoritative": True,
            "proxy_through_service_url": False,
            "advertised_listener": None,
            "properties": None,
            "latency_s": 0.25,
            "error": None,
            "message": None,
        }
        self.assertEqual(self.broker(answer, "lookup"), expected)

    def test_advertised_listener(self) -> None:
        """The event has the advertised listener that the client asked for."""
        self.client(pb.CommandLookupTopic(topic=ORDERS, request_id=1, advertised_listener_name="external"))
        answer = LookupAnswer(**B1, response=LookupAnswer.Connect, request_id=1)
        self.holds(self.broker(answer, "lookup"), advertised_listener="external")

    def test_redirect(self) -> None:
        """A redirect and the answer to the following LOOKUP are two events."""
        self.client(pb.CommandLookupTopic(topic=ORDERS, request_id=1))
        answer = LookupAnswer(brokerServiceUrl="pulsar://b2", response=LookupAnswer.Redirect, request_id=1)
        self.holds(self.broker(answer, "lookup"), response="redirect", broker_url="pulsar://b2", broker_url_tls=None)
        self.client(pb.CommandLookupTopic(topic=ORDERS, request_id=2, authoritative=True))
        answer = LookupAnswer(response=LookupAnswer.Connect, request_id=2, proxy_through_service_url=True)
        self.holds(self.broker(answer, "lookup"), response="connect", topic=ORDERS, proxy_through_service_url=True)

    def test_failed(self) -> None:
        """A failure, and answers without a response or with an unknown one, are failures."""
        answer = LookupAnswer(response=LookupAnswer.Failed, request_id=1, error=pb.ServiceNotReady, message="x\ny")
        fields = self.broker(answer, "lookup")
        self.holds(fields, response="failed", error="ServiceNotReady", message="x\\ny", topic=None, latency_s=None)
        self.holds(self.broker(LookupAnswer(request_id=1), "lookup"), response="failed", error=None)
        answer = LookupAnswer.FromString(b"\x18\x09\x20\x01\x30\x63")
        self.holds(self.broker(answer, "lookup"), response="failed", error="ServerError 99")

    def test_out_of_order(self) -> None:
        """Answers may come in a different order from requests."""
        for number, topic in enumerate("ab"):
            self.client(pb.CommandLookupTopic(topic=topic, request_id=number))
        for number, topic in ((1, "b"), (0, "a")):
            answer = LookupAnswer(**B1, response=LookupAnswer.Connect, request_id=number)
            self.holds(self.broker(answer, "lookup"), topic=topic)

    def test_partitions(self) -> None:
        """The number of partitions of a topic, or the error."""
        ask = pb.CommandPartitionedTopicMetadata(topic=ORDERS, request_id=3)
        self.client(ask)
        answer = PartitionsAnswer(request_id=3, response=PartitionsAnswer.Success, partitions=4)
        expected = {"topic": ORDERS, "status": "success", "partitions": 4, "latency_s": 0.25}
        self.assertEqual(self.broker(answer, "partitions"), {**expected, "error": None, "message": None})
        self.client(ask)
        answer = PartitionsAnswer(request_id=3, response=PartitionsAnswer.Failed, error=pb.TopicNotFound)
        self.holds(self.broker(answer, "partitions"), status="failed", partitions=None, error="TopicNotFound")

    def test_topics(self) -> None:
        """The number of topics in a namespace, for one request and for a watch."""
        self.client(pb.CommandGetTopicsOfNamespace(request_id=4, namespace="public/default"))
        answer = pb.CommandGetTopicsOfNamespaceResponse(request_id=4, topics=["a", "b"])
        expected = {"request": "GET_TOPICS_OF_NAMESPACE", "namespace": "public/default", "topics": 2, "latency_s": 0.25}
        told = {"status": "success", "error": None, "message": None, "properties": None}
        self.assertEqual(self.broker(answer, "topics"), {**expected, **told})
        self.client(pb.CommandWatchTopicList(request_id=4, watcher_id=9, namespace="n", topics_pattern=".*"))
        watched = pb.CommandWatchTopicListSuccess(request_id=4, watcher_id=9, topic=["a"])
        self.holds(self.broker(watched, "topics"), request="WATCH_TOPIC_LIST", namespace="n", topics=1)
        update = pb.CommandWatchTopicUpdate(watcher_id=9, new_topics=["b", "c"], deleted_topics=["a"])
        self.assertEqual(self.broker(update, "topics_changed"), {"namespace": "n", "added": 2, "removed": 1})
        self.client(pb.CommandWatchTopicListClose(request_id=5, watcher_id=9))
        self.holds(self.broker(update, "topics_changed"), namespace=None)


class ProducerTests(DialogueCase):
    """Producers and consumers."""

    def produce(self, request_id: int = 1) -> None:
        self.client(pb.CommandProducer(topic=ORDERS, producer_id=7, request_id=request_id))

    def test_producer(self) -> None:
        """A queued producer gets two answers; its close names the topic."""
        self.produce()
        answer = pb.CommandProducerSuccess(request_id=1, producer_name="p", producer_ready=False)
        expected = {"topic": ORDERS, "status": "queued", "producer_id": 7, "producer_name": "p", "latency_s": 0.25}
        self.assertEqual(
            self.broker(answer, "producer"), {**expected, "properties": None, "error": None, "message": None}
        )
        answer.producer_ready = True
        self.holds(self.broker(answer, "producer"), topic=ORDERS, status="ready", producer_id=7)
        error = pb.CommandSendError(producer_id=7, sequence_id=3, error=pb.PersistenceError, message="disk")
        expected = {"topic": ORDERS, "producer_id": 7, "sequence_id": 3, "error": "PersistenceError", "message": "disk"}
        self.assertEqual(self.broker(error, "send_error"), expected)
        closed = self.client(pb.CommandCloseProducer(producer_id=7, request_id=2), "close")
        expected = {"by": "client", "kind": "producer", "id": 7, "topic": ORDERS}
        self.assertEqual(closed, {**expected, "broker_url": None, "broker_url_tls": None})
        self.broker(pb.CommandSuccess(request_id=2))
        self.assertEqual(self.dialogue.remembered, 0)

    def test_ack_refused(self) -> None:
        """An ACK_RESPONSE with an error is told with the consumer's topic; others are not."""
        self.client(SUBSCRIBE)
        self.broker(pb.CommandAckResponse(consumer_id=5, request_id=3))
        refused = pb.CommandAckResponse(consumer_id=5, request_id=3, error=pb.TransactionConflict, message="taken")
        expected = {"request": "ACK", "topic": ORDERS, "latency_s": None, "error": "TransactionConflict"}
        self.assertEqual(self.broker(refused, "error"), {**expected, "message": "taken"})

    def test_number_in_use_twice(self) -> None:
        """A lookup and a producer may have the same request id: each answer matches its own request."""
        self.client(pb.CommandLookupTopic(topic="other", request_id=1))
        self.produce()
        error = pb.CommandError(request_id=1, error=pb.ProducerBusy, message="busy")
        self.holds(self.broker(error, "producer"), topic=ORDERS, status="failed", error="ProducerBusy", message="busy")
        answer = LookupAnswer(**B1, response=LookupAnswer.Connect, request_id=1)
        self.holds(self.broker(answer, "lookup"), topic="other")
        self.assertEqual(self.dialogue.remembered, 0)

    def test_consumer(self) -> None:
        """A consumer, closed by the broker with the URL of the next broker."""
        self.client(SUBSCRIBE)
        expected = {
            "topic": ORDERS,
            "status": "ready",
            "subscription": "s",
            "subscription_type": "Shared",
            "consumer_id": 5,
            "consumer_name": "me",
            "properties": None,
            "subscription_properties": None,
            "latency_s": 0.25,
            "error": None,
            "message": None,
        }
        self.assertEqual(self.broker(pb.CommandSuccess(request_id=2), "subscribe"), expected)
        close = pb.CommandCloseConsumer(consumer_id=5, request_id=2**64 - 1, assignedBrokerServiceUrl="pulsar://b2")
        self.holds(self.broker(close, "close"), by="broker", kind="consumer", topic=ORDERS, broker_url="pulsar://b2")
        self.assertEqual(self.dialogue.remembered, 0)

    def test_refused_consumer(self) -> None:
        """A refused consumer."""
        self.client(SUBSCRIBE)
        error = pb.CommandError(request_id=2, error=pb.ConsumerBusy, message="busy")
        self.holds(self.broker(error, "subscribe"), topic=ORDERS, status="failed", error="ConsumerBusy")
        self.assertEqual(self.dialogue.remembered, 0)

    def test_unsubscribe(self) -> None:
        """UNSUBSCRIBE ends the consumer once the broker confirms it."""
        self.client(SUBSCRIBE)
        self.broker(pb.CommandSuccess(request_id=2), "subscribe")
        ended = self.client(pb.CommandUnsubscribe(consumer_id=5, request_id=3), "unsubscribe")
        self.assertEqual(ended, {"topic": ORDERS, "consumer_id": 5})
        self.broker(pb.CommandSuccess(request_id=3))
        self.assertEqual(self.dialogue.remembered, 0)

    def test_migrated(self) -> None:
        """A topic that migrates to another cluster, for a producer and for a consumer."""
        self.produce()
        self.client(SUBSCRIBE)
        migrated = pb.CommandTopicMigrated(resource_id=7, resource_type=pb.CommandTopicMigrated.Producer, **B1)
        expected = {"kind": "producer", "id": 7, "topic": ORDERS}
        urls = {"broker_url": "pulsar://b1:6650", "broker_url_tls": "pulsar+ssl://b1:6651"}
        self.assertEqual(self.broker(migrated, "migrated"), {**expected, **urls, "latency_s": 0.5})
        self.assertEqual(self.broker(migrated, "migrated")["latency_s"], None)
        migrated = pb.CommandTopicMigrated(resource_id=5, resource_type=pb.CommandTopicMigrated.Consumer)
        self.holds(self.broker(migrated, "migrated"), kind="consumer", id=5, topic=ORDERS)
        self.assertEqual(self.dialogue.end(self.time), [])
        migrated.resource_id = 99
        self.holds(self.broker(migrated, "migrated"), topic=None, latency_s=None)


class OtherTests(DialogueCase):
    """Scalable topics, coordinators and limits."""

    def test_scalable(self) -> None:
        """A scalable topic is known until its session ends."""
        self.client(pb.CommandScalableTopicLookup(session_id=1, topic="topic://a/b/c"))
        update = pb.CommandScalableTopicUpdate(session_id=1, dag=pb.ScalableTopicDag(epoch=1))
        self.holds(self.broker(update, "scalable_topic"), topic="topic://a/b/c", latency_s=0.25, epoch=1)
        self.holds(self.broker(update, "scalable_topic"), topic="topic://a/b/c", latency_s=None)
        self.client(pb.CommandScalableTopicClose(session_id=1))
        self.assertEqual(self.dialogue.remembered, 0)

    def test_coordinators(self) -> None:
        """Transaction coordinators."""
        self.holds(self.broker(pb.CommandWatchTcAssignmentsUpdate(watch_id=1), "coordinators"), assignments_total=0)

    def test_errors(self) -> None:
        """Plain answers with an error give an event with the request; others give none."""
        ask = pb.CommandGetSchema(request_id=1, topic=ORDERS)
        self.client(ask)
        self.broker(pb.CommandGetSchemaResponse(request_id=1))
        self.client(ask)
        answer = pb.CommandGetSchemaResponse(request_id=1, error_code=pb.TopicNotFound, error_message="gone")
        expected = {"request": "GET_SCHEMA", "topic": ORDERS, "latency_s": 0.25, "error": "TopicNotFound"}
        self.assertEqual(self.broker(answer, "error"), {**expected, "message": "gone"})
        self.client(pb.CommandEndTxn(request_id=1))
        failed = pb.CommandEndTxnResponse(request_id=1, error=pb.TransactionNotFound)
        self.holds(self.broker(failed, "error"), request="END_TXN", topic=None, error="TransactionNotFound")
        subscribe = pb.CommandScalableTopicSubscribe(topic="t", subscription="s", consumer_id=1, request_id=1)
        self.client(subscribe)
        refused = pb.CommandError(request_id=1, error=pb.NotAllowedError)
        self.holds(self.broker(refused, "error"), request="SCALABLE_TOPIC_SUBSCRIBE", topic="t")
        self.assertEqual(self.dialogue.remembered, 1)
        self.client(pb.CommandSeek(consumer_id=1, request_id=8))
        error = pb.CommandError(request_id=8, error=pb.UnknownError, message="m")
        self.holds(self.broker(error, "error"), request="SEEK")
        self.holds(self.broker(error, "error"), request=None, latency_s=None)

    def test_unanswered(self) -> None:
        """Unanswered requests give events later."""
        self.client(pb.CommandLookupTopic(topic=ORDERS, request_id=1))
        self.assertEqual([event.name for event in self.dialogue.expire(self.time + 300)], ["unanswered"])
        self.client(pb.CommandLookupTopic(topic=ORDERS, request_id=1))
        self.assertEqual([event.name for event in self.dialogue.end(self.time)], ["unanswered"])

    def test_bounded(self) -> None:
        """Memory and texts are bounded for any number of requests."""
        for number in range(MAX_TRACKED + 10):
            self.says(True, pb.CommandProducer(topic="t" * 5000, producer_id=number, request_id=number))
        self.assertEqual(self.dialogue.remembered, MAX_TRACKED + MAX_PENDING)
        answer = pb.CommandProducerSuccess(request_id=MAX_TRACKED, producer_name="n" * 5000)
        fields = self.broker(answer, "producer")
        self.assertEqual((len(str(fields["topic"])), len(str(fields["producer_name"]))), (512, 300))

    def test_tables(self) -> None:
        """Handlers exist only for commands that the side sends, and for all with a broker's URL."""
        self.assertFalse(set(CLIENT_HANDLERS) & set(BROKER_HANDLERS) - {T.CLOSE_PRODUCER, T.CLOSE_CONSUMER})
        for number in (24, 15, 16, 68, 71, 80):
            self.assertIn(number, BROKER_HANDLERS)
