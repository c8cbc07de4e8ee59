"""What happens to the commands of a tunnel."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.faults import make_fault
from sniproxy.config.schema import FaultEntry
from sniproxy.faults import tunnel
from sniproxy.faults.rules import FaultRule
from sniproxy.faults.tunnel import TunnelFaults
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.frames import encode
from tests.faults.faulty import (
    CONNECTED,
    PING,
    PONG,
    commands,
    located,
    lookup,
    only,
    producer,
    receipt,
    send,
    subscribe,
)


@attrs.define
class Some:
    """Faults of a proxy."""

    rules: list[FaultRule]


def rules(*entries: dict[str, Any]) -> list[FaultRule]:
    """Faults of these tables."""
    return [
        FaultRule(make_fault(FaultEntry(**{"name": f"f{at}", **values}), {"public": True}, ()))
        for at, values in enumerate(entries)
    ]


class TunnelTests(SynchronousTestCase):
    """L{TunnelFaults}."""

    def tunnel(self, *entries: dict[str, Any], name: str | None = None, reads: bool = True) -> TunnelFaults:
        self.active = Some(rules(*entries))
        self.applied: list[tuple[str, str]] = []

        return self.another(name, reads)

    def another(self, name: str | None = None, reads: bool = True) -> TunnelFaults:
        """One more tunnel with the same faults."""

        def applied(rule: FaultRule, what: str) -> None:
            rule.applied += 1
            self.applied.append((rule.fault.name, what))

        return TunnelFaults(self.active, "public", name, reads, applied)

    def reach(self, made: TunnelFaults) -> str:
        """Let a tunnel last, and its target send bytes. @return: what a fault does then; empty: nothing."""
        for _, gate, decide in made.timed:
            if (verdict := decide()) is not None:
                gate.act(verdict, 1.0)
        made.down.take(PONG, 1.0)
        return made.down.ends

    def test_order(self) -> None:
        """Each fault counts each match; the first that wants a command gets it: a script."""
        made = self.tunnel(
            {"action": "drop", "on": "PING", "times": 2},
            {"action": "error", "error": "TooManyRequests", "on": "LOOKUP", "nth": 2},
            {"action": "drop", "on": "PING", "nth": 4},
        )
        self.assertEqual(PING + lookup(1) + PING, made.up.take(PING * 3 + lookup(1) + PING + lookup(2) + PING, 0.0))
        self.assertEqual(["f0", "f0", "f2", "f1"], [name for name, _ in self.applied])
        self.assertEqual("LOOKUP of persistent://public/default/orders", self.applied[3][1])
        self.assertEqual(2, only(made.down.run(0.0)).request_id)

    def test_topic(self) -> None:
        """A receipt has the topic of its producer, a PING none."""
        made = self.tunnel({"action": "drop", "on": "SEND_RECEIPT", "topic": "b"})
        made.up.take(producer(1, 1, "a") + producer(2, 2, "b") + send(1, 0) + send(2, 0), 0.0)
        self.assertEqual(receipt(1, 0), made.down.take(receipt(1, 0) + receipt(2, 0), 0.0))

    def test_unreadable(self) -> None:
        """Unknown and broken commands pass."""
        made = self.tunnel({"action": "drop", "on": "CONNECTED"})
        data = encode(b"\x08\x7e") + encode(b"\xff\xff") + encode(b"\x08\x03") + PONG
        self.assertEqual(data, made.down.take(data + CONNECTED, 0.0))

    def test_other_connection(self) -> None:
        """A fault of another name or listener does not count here."""
        entry = {"action": "drop", "on": "PING", "server_name": "b.test"}
        self.assertEqual(PING, self.tunnel(entry, name="a.test").up.take(PING, 0.0))
        self.assertEqual(b"", self.tunnel(entry, name="b.test").up.take(PING, 0.0))
        self.assertEqual(1, self.active.rules[0].matched)

    def test_behind(self) -> None:
        """What the proxy adds goes to the client, whoever sent the command; without a producer, nothing happens."""
        made = self.tunnel(
            {"action": "close_producer", "on": "SEND", "times": 1},
            {"action": "migrate", "on": "SEND_RECEIPT", "url": "pulsar://b.test"},
            {"action": "close_producer", "on": "PRODUCER_SUCCESS"},
        )
        self.assertEqual(send(1, 0) + send(1, 1), made.up.take(send(1, 0) + send(1, 1), 0.0))
        success = write(pb.CommandProducerSuccess(request_id=77, producer_name="p"))
        found = [name for name, _ in commands(made.down.take(receipt(1, 0) + success, 0.0))]
        self.assertEqual(["CLOSE_PRODUCER", "SEND_RECEIPT", "TOPIC_MIGRATED", "PRODUCER_SUCCESS"], found)
        self.assertEqual(["f0", "f1"], [name for name, _ in self.applied])

    def test_redirect(self) -> None:
        """An answer that is an error stays one."""
        made = self.tunnel({"action": "redirect", "on": "LOOKUP_RESPONSE", "url": "pulsar://b.test"})
        kind = pb.CommandLookupTopicResponse
        failed = write(kind(request_id=1, response=kind.Failed, error=pb.ServerError.TopicNotFound))
        self.assertEqual(failed, made.down.take(failed, 0.0))
        self.assertEqual("pulsar://b.test:6650", only(made.down.take(located(2), 0.0)).brokerServiceUrl)
        self.assertEqual(1, len(self.applied))

    def test_redirect_at_once(self) -> None:
        """A lookup is answered without its broker."""
        made = self.tunnel({"action": "redirect", "on": "LOOKUP", "url": "pulsar://b.test"})
        self.assertEqual(b"", made.up.take(lookup(5), 0.0))
        self.assertEqual(5, only(made.down.take(b"", 0.0)).request_id)

    def test_hidden(self) -> None:
        """The broker's answers to the proxy's own requests are dropped, up to a bound; others pass."""
        self.patch(tunnel, "MAX_HIDDEN", 1)
        made = self.tunnel({"action": "close_consumer", "on": "FLOW"})
        flow = write(pb.CommandFlow(consumer_id=2, messagePermits=5))
        found = commands(made.up.take(subscribe(2, 1) + flow + flow, 0.0) + made.up.run(0.0))
        self.assertEqual(["SUBSCRIBE", "FLOW", "CLOSE_CONSUMER", "FLOW"], [name for name, _ in found])
        answer = write(pb.CommandSuccess(request_id=found[2][1].request_id))
        other = write(pb.CommandSuccess(request_id=1))
        closes = made.down.run(0.0)
        self.assertEqual(["CLOSE_CONSUMER"] * 2, [name for name, _ in commands(closes)])
        self.assertEqual(other + answer, made.down.take(other + answer + answer, 0.0))

    def test_connection(self) -> None:
        """Faults of a connection count connections; one that was removed meanwhile is not applied."""
        entries = (
            {"action": "stop", "after_bytes": 3, "sender": "client"},
            {"action": "reset", "after_seconds": 2.0},
            {"action": "cut", "nth": 2},
        )
        made = self.tunnel(*entries, reads=False)
        self.assertEqual(b"abc", made.up.take(b"abcdef", 0.0))
        ((after, gate, decide),) = made.timed
        self.assertEqual((2.0, made.down), (after, gate))
        verdict = decide()
        self.assertEqual("reset", verdict and verdict.kind)
        self.assertEqual([("f0", "byte 3"), ("f1", "2 s")], self.applied)
        self.assertEqual(b"x", made.down.take(b"x", 0.0))
        again = TunnelFaults(self.active, "public", None, False, lambda rule, what: None)
        self.active.rules.clear()
        self.assertEqual((b"x", b"abcd"), (again.down.take(b"x", 0.0), again.up.take(b"abcd", 0.0)))

    def test_times(self) -> None:
        """A fault is applied to the first connections that reach its mark; one that ends before uses nothing up."""
        for mark in ({"after_seconds": 1.0}, {"after_bytes": 4}):
            self.tunnel({"action": "cut", "times": 2, **mark})
            _, *others = [self.another() for _ in range(5)]  # the first one ends before its mark
            self.assertEqual(["cut", "cut", "", ""], [self.reach(one) for one in others])
            self.assertEqual(2, len(self.applied))
            self.assertEqual("", self.reach(self.another()))

    def test_nth(self) -> None:
        """Connections are numbered as they begin: C{nth} and C{times} hold for those that are open at once."""
        for mark in ({"after_seconds": 1.0}, {"after_bytes": 4}):
            self.tunnel({"action": "cut", "nth": 3, **mark})  # the first connection
            opened = [self.another() for _ in range(4)]
            self.assertEqual(["", "cut", "", ""], [self.reach(one) for one in opened])
            self.assertEqual((5, 1), (self.active.rules[0].matched, self.active.rules[0].applied))

    def test_located(self) -> None:
        """Answers to lookups are replaced."""
        made = self.tunnel({"action": "error", "error": "ServiceNotReady", "on": "LOOKUP_RESPONSE"})
        self.assertEqual(pb.ServerError.ServiceNotReady, only(made.down.take(located(1), 0.0)).error)
