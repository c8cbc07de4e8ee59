"""Tests for sniproxy.cli.lookupreport; tests.cli.test_lookup has tests with real connections."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any, cast

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.lookupreport import MAX_SEGMENTS, LookupOutcome, covered, hop_lines, write_end, write_json
from sniproxy.client.brokers import Link
from sniproxy.client.diagnosis import DialledTarget
from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.lookups import Hop
from sniproxy.client.scalable import Layout, Segment
from sniproxy.pulsar.serviceurl import pip60

TOPIC = "persistent://public/default/t"
SETTINGS = pip60("pulsar+ssl://vip.test", "pulsar+ssl://proxy.test:4443", "SNI")
FAILURE = ClientError(FailureKind.NO_ROUTE, "refused", "add a route")


@attrs.define
class Known:
    """The state of a link."""

    host: str = "b1.test"
    address: str | None = "127.0.0.1:4443"
    certificate_names: tuple[str, ...] | None = ("b1.test", "vip.test")
    server_version: str | None = "v1"
    connect_seconds: float | None = 0.001
    tls_seconds: float | None = 0.002
    login_seconds: float | None = None

    @property
    def target(self) -> DialledTarget:
        return DialledTarget(self.host, "proxy.test:4443", True, True)


def hop(phase: str = "lookup", known: Known | None = None, **more: Any) -> Hop:
    fresh = more.pop("fresh", True)
    return Hop(TOPIC, phase, cast(Link, known or Known()), fresh, 0.0123, **more)


class LineTests(SynchronousTestCase):
    """hop_lines: the text of a hop."""

    def test_answers(self) -> None:
        """The text of each answer; the certificate is shown with the first hop of a connection."""
        for more, said in (
            ({"phase": "metadata", "answer": "partitions", "partitions": 0}, "not partitioned"),
            ({"phase": "metadata", "answer": "partitions", "partitions": 3}, "3 partitions"),
            ({"answer": "redirect", "url": "u"}, "redirect to u"),
            ({"answer": "owner", "url": "u"}, "owner is u"),
            ({"phase": "connect", "answer": "connected"}, "connected, v1"),
            ({"failure": FAILURE}, "FAILED (no_route)"),
        ):
            first, second = hop_lines(hop(**more))
            self.assertIn(f"SNI b1.test, dialled 127.0.0.1:4443: {said}, 12 ms", first)
            self.assertEqual(second.strip(), "certificate: b1.test, vip.test")
            self.assertEqual(len(hop_lines(hop(fresh=False, **more))), 1)

    def test_unknown(self) -> None:
        """For an unreached stage, the dialled address is shown; an IP address has no SNI."""
        (line,) = hop_lines(hop(known=Known("10.0.0.7", None, None), failure=FAILURE))
        self.assertIn("no SNI for 10.0.0.7, dialled proxy.test:4443: FAILED", line)
        self.assertIn("certificate: no names", hop_lines(hop(known=Known(certificate_names=()), failure=FAILURE))[1])


class LayoutTests(SynchronousTestCase):
    """The layout of a scalable topic, as text and as JSON."""

    LAYOUT = Layout(
        3,
        (
            Segment(1, "segment://public/default/s/0000-7fff-1", 0, 0x7FFF, True, "pulsar://b:1", "pulsar+ssl://b:2"),
            Segment(2, "persistent://public/default/old", None, None, False, None, None),
        ),
        "pulsar://c:1",
        "pulsar+ssl://c:2",
    )

    def test_lines(self) -> None:
        """The controller and a line for each segment; a segment that was an older topic has its name."""
        first, *rest = hop_lines(hop("layout", fresh=False, answer="layout", layout=self.LAYOUT))
        self.assertIn("layout    SNI b1.test, dialled 127.0.0.1:4443: 2 segments, epoch 3, 12 ms", first)
        self.assertEqual(
            [
                "controller pulsar://c:1 | pulsar+ssl://c:2",
                "segment 1  0000-7fff  sealed  pulsar+ssl://b:2",
                "segment 2  no range  active  no broker  persistent://public/default/old",
            ],
            [line.strip() for line in rest],
        )
        (_, line) = hop_lines(hop("layout", fresh=False, answer="layout", layout=Layout(0, ())))
        self.assertEqual("no controller yet", line.strip())

    def test_phase(self) -> None:
        """The longest phase is separate from what follows."""
        self.assertTrue(hop_lines(hop("controller", answer="connected"))[0].startswith("  controller SNI "))

    def test_json(self) -> None:
        """The layout has stable keys; the controller has its failure."""
        outcome = LookupOutcome("topic://public/default/s", SETTINGS, layout=self.LAYOUT, compared=True)
        outcome.failures = {outcome.controller: FAILURE}
        outcome.unrouted = {"why": None}
        out = StringIO()
        write_json(outcome, out)
        document = json.loads(out.getvalue())
        layout = document["layout"]
        self.assertEqual(["why"], document["unrouted"])
        self.assertEqual((3, 2), (layout["epoch"], layout["segments_total"]))
        self.assertEqual(
            {"broker_url": "pulsar://c:1", "broker_url_tls": "pulsar+ssl://c:2", "failure": document["failure"]},
            layout["controller"],
        )
        self.assertEqual(
            {
                "segment_id": 1,
                "topic": "segment://public/default/s/0000-7fff-1",
                "hash_start": 0,
                "hash_end": 32767,
                "state": "sealed",
                "broker_url": "pulsar://b:1",
                "broker_url_tls": "pulsar+ssl://b:2",
            },
            layout["segments"][0],
        )
        outcome.layout = Layout(0, ())
        out = StringIO()
        write_json(outcome, out)
        self.assertIsNone(json.loads(out.getvalue())["layout"]["controller"])

    def test_unrouted(self) -> None:
        """A missing route is the failure if there is no other."""
        outcome = LookupOutcome(TOPIC, SETTINGS)
        self.assertIsNone(outcome.failure)
        outcome.unrouted = {"why": None}
        assert outcome.failure is not None
        self.assertEqual((FailureKind.NO_ROUTE, "why"), (outcome.failure.kind, outcome.failure.reason))
        outcome.failures = {TOPIC: FAILURE}
        self.assertIs(FAILURE, outcome.failure)

    def test_many_segments(self) -> None:
        """Of very many segments, a warning tells how many are not looked up."""
        segment = self.LAYOUT.segments[0]
        outcome = LookupOutcome(TOPIC, SETTINGS, layout=Layout(0, (segment,) * (MAX_SEGMENTS + 1)))
        self.assertEqual([f"1 segment not looked up: the topic has more than {MAX_SEGMENTS}"], outcome.warnings())
        outcome.layout = Layout(0, (segment,) * MAX_SEGMENTS)
        self.assertEqual([], outcome.warnings())


class OutcomeTests(SynchronousTestCase):
    """LookupOutcome, as text and as JSON."""

    def test_warnings(self) -> None:
        """A name without a dot, and a certificate without the service name, give one warning; failures give none."""
        outcome = LookupOutcome(TOPIC, SETTINGS)
        self.assertEqual(outcome.warnings(), [])
        outcome.hops = [
            hop(answer="connected"),
            hop(known=Known("b2.test", certificate_names=("b2.test",)), failure=FAILURE),
        ]
        self.assertEqual(outcome.warnings(), [])
        outcome.hops += [hop(known=Known("b2", certificate_names=("b2",)), answer="connected")] * 2
        dotless, lacks = outcome.warnings()
        self.assertTrue(dotless.startswith("b2: Java clients send no server name"))
        self.assertTrue(lacks.startswith("b2: the certificate lacks the service name vip.test"))

    def test_covered(self) -> None:
        """A wildcard in a certificate matches exactly one label, the leftmost."""
        for host, name, good in (
            ("a.test", "A.test", True),
            ("a.b.test", "*.b.test", True),
            ("a.b.test", "*.test", False),
            ("b.test", "*.b.test", False),
            ("a", "*.", False),
            ("a", "*", False),
        ):
            self.assertEqual(covered(host, [name]), good, (host, name))

    def test_end(self) -> None:
        """The last lines have the owners, and failures with their kind."""
        outcome = LookupOutcome(TOPIC, SETTINGS, 3)
        outcome.owners = {"t-0": "u0", "t-1": "u1", "t-10": None}
        outcome.failures = {"t-1": FAILURE, "t-10": ClientError(FailureKind.NOT_READY, "no")}
        out = StringIO()
        write_end(outcome, out)
        self.assertEqual(
            out.getvalue().splitlines(), ["t-0   u0", "t-1   u1  FAILED (no_route)", "t-10  -  FAILED (not_ready)"]
        )
        self.assertIs(outcome.failure, FAILURE)

    def test_json(self) -> None:
        """The JSON has stable keys, with null for missing values."""
        outcome = LookupOutcome(TOPIC, SETTINGS, 0, [hop(answer="owner", url="u"), hop(failure=FAILURE)], {TOPIC: "u"})
        outcome.failures = {TOPIC: FAILURE}
        out = StringIO()
        write_json(outcome, out)
        document = json.loads(out.getvalue())
        failure = {"kind": "no_route", "status": 12, "reason": "refused", "cure": "add a route"}
        self.assertEqual(document["failure"], failure)
        self.assertEqual(document["owners"], [{"topic": TOPIC, "url": "u", "failure": failure}])
        self.assertEqual((document["topic"], document["proxy"]), (TOPIC, "proxy.test:4443"))
        self.assertEqual((document["service_url"], document["partitions"]), ("pulsar+ssl://vip.test:6651", 0))
        first, second = document["hops"]
        self.assertEqual(
            first,
            {
                "topic": TOPIC,
                "phase": "lookup",
                "host": "b1.test",
                "server_name": "b1.test",
                "address": "127.0.0.1:4443",
                "certificate_names": ["b1.test", "vip.test"],
                "broker_version": "v1",
                "new_connection": True,
                "connect_s": 0.001,
                "tls_s": 0.002,
                "login_s": None,
                "total_s": 0.0123,
                "answer": "owner",
                "partitions": None,
                "url": "u",
                "failure": None,
            },
        )
        self.assertEqual((second["answer"], second["failure"]), (None, failure))
