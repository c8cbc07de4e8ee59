"""Tests for sniproxy.testing.pulsar.faults."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.testing.pulsar import faults
from sniproxy.testing.pulsar.faults import SENT_BY_BROKERS, Action, BrokerFault, BrokerFaults, error_number, refusal
from sniproxy.testing.pulsar.session import NO_REQUEST


class FaultsTests(SynchronousTestCase):
    """BrokerFaults."""

    def setUp(self) -> None:
        self.faults = BrokerFaults()

    def taken(self, *commands: str, topic: str | None = None) -> list[Action | None]:
        found = [self.faults.take(command, topic) for command in commands]
        return [None if fault is None else fault.action for fault in found]

    def test_each_time(self) -> None:
        """A fault happens at each command of its name, and at no other."""
        self.faults.add(BrokerFault("PONG", Action.DROP))
        self.assertEqual([Action.DROP, None, Action.DROP], self.taken("PONG", "PING", "PONG"))

    def test_times(self) -> None:
        """A fault happens as often as it should, after the commands that it skips."""
        self.faults.add(BrokerFault("SEND", Action.RESET, skip=2, left=2))
        self.assertEqual([None, None, Action.RESET, Action.RESET, None], self.taken(*["SEND"] * 5))

    def test_without_end(self) -> None:
        """0 times is each time, as in a configured fault."""
        self.faults.add(BrokerFault("SEND", Action.RESET, skip=1, left=0))
        self.assertEqual([None, *[Action.RESET] * 3], self.taken(*["SEND"] * 4))

    def test_topic(self) -> None:
        """A fault of a topic happens at commands about it or a partition only; its name may be short."""
        orders = "persistent://public/default/orders"
        for name in ("orders", "public/default/orders", orders):
            self.faults.clear()
            self.faults.add(BrokerFault("SEND", Action.DROP, topic=name))
            for topic in ("orders", orders, f"{orders}-partition-2"):
                self.assertEqual([Action.DROP], self.taken("SEND", topic=topic), (name, topic))
            for other in ("order", "persistent://a/b/orders", f"{orders}-retry", None):
                self.assertEqual([None], self.taken("SEND", topic=other), (name, other))

    def test_partition(self) -> None:
        """A fault of one partition does not happen at the others."""
        self.faults.add(BrokerFault("SEND", Action.DROP, topic="orders-partition-1"))
        orders = "persistent://public/default/orders"
        self.assertEqual([Action.DROP], self.taken("SEND", topic=f"{orders}-partition-1"))
        self.assertEqual([None], self.taken("SEND", topic=f"{orders}-partition-2"))

    def test_order(self) -> None:
        """The oldest fault that fits happens."""
        self.faults.add(BrokerFault("SEND", Action.DROP, left=1))
        self.faults.add(BrokerFault("SEND", Action.RESET, left=1))
        self.assertEqual([Action.DROP, Action.RESET, None], self.taken(*["SEND"] * 3))

    def test_clear(self) -> None:
        """Removed faults happen no more."""
        self.faults.add(BrokerFault("SEND", Action.DROP))
        self.faults.clear()
        self.assertEqual([None], self.taken("SEND"))

    def test_refused(self) -> None:
        """An unknown command and too many faults are errors."""
        self.assertRaises(ValueError, self.faults.add, BrokerFault("SENT", Action.DROP))
        self.patch(faults, "MAX_FAULTS", 1)
        self.faults.add(BrokerFault("SEND", Action.DROP))
        self.assertRaises(ValueError, self.faults.add, BrokerFault("SEND", Action.DROP))

    def test_numbers(self) -> None:
        """A number that is not allowed is an error with its name, its value and what is allowed."""
        for name, wrong in (
            ("times", {"left": -1}),
            ("times", {"left": 1.5}),
            ("skip", {"skip": -1}),
            ("seconds", {"seconds": -0.5}),
            ("seconds", {"seconds": float("nan")}),
            ("seconds", {"seconds": float("inf")}),
        ):
            [value] = wrong.values()
            fault = BrokerFault("SEND", Action.DELAY, **wrong)
            error = self.assertRaises(ValueError, self.faults.add, fault)
            self.assertRegex(str(error), f"{name}: {value} is not allowed; write a .*number from 0 ")
        self.assertEqual([None], self.taken("SEND"))

    def test_sent_by_brokers(self) -> None:
        """Commands are sent by clients or by brokers."""
        for name in ("LOOKUP_RESPONSE", "SEND_RECEIPT", "SEND_ERROR", "PRODUCER_SUCCESS", "MESSAGE", "PONG"):
            self.assertIn(name, SENT_BY_BROKERS)
        for name in ("LOOKUP", "SEND", "AUTH_RESPONSE", "CONNECT", "ACK", "SEEK", "SUBSCRIBE"):
            self.assertNotIn(name, SENT_BY_BROKERS)

    def test_error(self) -> None:
        """The name of an error is looked up; an unknown one is an error that lists the known ones."""
        self.assertEqual(pb.TooManyRequests, error_number("TooManyRequests"))
        self.assertRaisesRegex(ValueError, "ServiceNotReady", error_number, "Nope")


class RefusalTests(SynchronousTestCase):
    """The answers that refuse a command."""

    def test_forms(self) -> None:
        """Each command is refused in the form of its answers."""
        named: dict[str, Any] = {"topic": "t", "request_id": 7}
        consumer: dict[str, Any] = {"consumer_id": 5, "request_id": 7}
        for command, answer in (
            (pb.CommandLookupTopic(**named), pb.CommandLookupTopicResponse),
            (pb.CommandPartitionedTopicMetadata(**named), pb.CommandPartitionedTopicMetadataResponse),
            (pb.CommandGetSchema(**named), pb.CommandGetSchemaResponse),
            (pb.CommandGetOrCreateSchema(**named), pb.CommandGetOrCreateSchemaResponse),
            (pb.CommandTcClientConnectRequest(request_id=7, tc_id=0), pb.CommandTcClientConnectResponse),
            (pb.CommandConsumerStats(request_id=7), pb.CommandConsumerStatsResponse),
            (pb.CommandAck(**consumer), pb.CommandAckResponse),
            (pb.CommandSeek(**consumer), pb.CommandError),
        ):
            refused: Any = refusal(command, pb.ServiceNotReady, "no")
            self.assertIsInstance(refused, answer)
            errors = (getattr(refused, "error", None), getattr(refused, "error_code", None))
            self.assertEqual((7, True), (refused.request_id, pb.ServiceNotReady in errors))

    def test_without_a_request(self) -> None:
        """SEND is refused by its sequence id, a login as a whole; what has no answer has no refusal."""
        sent: Any = refusal(pb.CommandSend(producer_id=1, sequence_id=2), pb.ChecksumError, "no")
        self.assertEqual((1, 2, pb.ChecksumError), (sent.producer_id, sent.sequence_id, sent.error))
        login: Any = refusal(pb.CommandConnect(client_version="x"), pb.AuthenticationError, "no")
        self.assertEqual(NO_REQUEST, login.request_id)
        self.assertIsNone(refusal(pb.CommandPing(), pb.UnknownError, "no"))
        self.assertIsNone(refusal(pb.CommandAck(consumer_id=1), pb.UnknownError, "no"))
