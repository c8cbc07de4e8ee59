"""Frames that the proxy sends on purpose."""

from __future__ import annotations

from google.protobuf.message import Message
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.faults import answers
from sniproxy.faults.topics import Concerned
from sniproxy.pulsar import commands_pb2 as pb
from tests.faults.faulty import commands, only

T = pb.BaseCommand.Type


class AnswerTests(SynchronousTestCase):
    """L{sniproxy.faults.answers}."""

    def test_errors(self) -> None:
        """Each request gets its kind of error, with the numbers that the client knows it by."""
        for number, command, name, keys in (
            (T.LOOKUP, pb.CommandLookupTopic(topic="t", request_id=3), "LOOKUP_RESPONSE", {"request_id": 3}),
            (T.PARTITIONED_METADATA, pb.CommandPartitionedTopicMetadata(topic="t", request_id=3),
             "PARTITIONED_METADATA_RESPONSE", {"request_id": 3}),
            (T.SEND_RECEIPT, pb.CommandSendReceipt(producer_id=1, sequence_id=2), "SEND_ERROR",
             {"producer_id": 1, "sequence_id": 2}),
            (T.ACK, pb.CommandAck(consumer_id=4, ack_type=pb.CommandAck.Individual, request_id=5), "ACK_RESPONSE",
             {"consumer_id": 4, "request_id": 5}),
            (T.CONNECT, pb.CommandConnect(client_version="x"), "ERROR", {"request_id": 2**64 - 1}),
            (T.SEEK, pb.CommandSeek(consumer_id=1, request_id=6), "ERROR", {"request_id": 6}),
        ):  # fmt: skip
            assert isinstance(command, Message)
            ((found, fields),) = commands(answers.error(number, command, "TooManyRequests", None))
            self.assertEqual((name, pb.ServerError.TooManyRequests), (found, fields.error))
            self.assertEqual(
                ("a fault on purpose", keys), (fields.message, {key: getattr(fields, key) for key in keys})
            )
        self.assertEqual("busy", only(answers.error(T.SEEK, command, "TooManyRequests", "busy")).message)

    def test_urls(self) -> None:
        """The scheme chooses the field of the URL."""
        plain, secure = "pulsar://a.test:6650", "pulsar+ssl://a.test:6651"
        found = only(answers.redirect(1, plain, connect=False))
        self.assertEqual(
            (found.Redirect, plain, ""), (found.response, found.brokerServiceUrl, found.brokerServiceUrlTls)
        )
        found = only(answers.redirect(1, secure, connect=True))
        self.assertEqual((found.Connect, secure), (found.response, found.brokerServiceUrlTls))
        self.assertTrue(found.authoritative)
        closed = only(answers.close(True, Concerned(None, 7), secure) or b"")
        self.assertEqual((7, secure), (closed.producer_id, closed.assignedBrokerServiceUrlTls))
        closed = only(answers.close(False, Concerned(None, None, 8), None) or b"")
        self.assertEqual((8, False), (closed.consumer_id, closed.HasField("assignedBrokerServiceUrl")))
        for concerned, kind in ((Concerned("t", 7), "Producer"), (Concerned("t", None, 7), "Consumer")):
            moved = only(answers.migrate(concerned, plain) or b"")
            self.assertEqual((7, moved.ResourceType.Value(kind)), (moved.resource_id, moved.resource_type))
            self.assertEqual(plain, moved.brokerServiceUrl)

    def test_nothing(self) -> None:
        """A command of no producer or consumer closes and moves none."""
        self.assertIsNone(answers.close(True, Concerned("t"), None))
        self.assertIsNone(answers.migrate(Concerned("t"), "pulsar://a"))
