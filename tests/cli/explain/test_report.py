"""Tests for sniproxy.cli.explain.report."""

from __future__ import annotations

import json

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.explain.report import (
    CertificateReport,
    DialReport,
    Report,
    TargetReport,
    WatchReport,
    document,
    lines,
    summary,
)

SHOWN = CertificateReport(("b-1.test", "vip.test"), "2027-01-01", 30.0, {"b-1.test": True, "proxy.test": False})
GOAL = TargetReport("b-1:6651", 2, None, {"10.0.0.1": None, "10.0.0.2": "private"})
DIALLED = attrs.evolve(GOAL, dialled=DialReport("10.0.0.1:6651", 0.0012, "TLSv1.3", SHOWN))
REPORT = Report(
    *("b-1.test", "public", "b-1.test", "exact match"),
    others=(("*.test", "no"),),
    resolver="route[0] (type static)",
    answered="route[0] (type static)",
    targets=(DIALLED,),
    notes=("look",),
)


class ReportTests(SynchronousTestCase):
    """Verdicts, text and JSON."""

    def test_lines(self) -> None:
        """The text has all results."""
        self.assertEqual(
            [
                "b-1.test on listener public",
                "  route      b-1.test: exact match",
                "  not chosen *.test: no",
                "  answer     1 target from route[0] (type static), valid until the configuration changes",
                "  target     b-1:6651 (weight 2)",
                "    address    10.0.0.1: allowed",
                "    address    10.0.0.2: denied: private",
                "    connected  to 10.0.0.1:6651 in 1.2 ms, TLSv1.3",
                "    certificate for b-1.test, vip.test",
                "    expires    2027-01-01 (30 days from now)",
                "    covers     b-1.test: yes",
                "    covers     proxy.test: NO",
                "  note       look",
                "  PROBLEM    b-1:6651: the certificate does not cover proxy.test",
                "  would be routed, with problems",
            ],
            list(lines(REPORT)),
        )

    def test_last_line(self) -> None:
        """The last line is the verdict, which mentions problems."""
        good = attrs.evolve(REPORT, targets=(GOAL,))
        for report, said in (
            (good, "  would be routed"),
            (REPORT, "  would be routed, with problems"),
            (attrs.evolve(good, refused="no"), "  REFUSED"),
            (attrs.evolve(REPORT, targets=(), unchecked="depends on the name"), "  NOT CHECKED: depends on the name"),
        ):
            self.assertEqual(said, list(lines(report))[-1])

    def test_ttl(self) -> None:
        """The validity of an answer."""
        self.assertIn("valid for 30 s", "\n".join(lines(attrs.evolve(REPORT, ttl=30.0))))

    def test_resolvers(self) -> None:
        """The resolver that answered, why those before it did not, and the state of watching ones; or no answer."""
        report = attrs.evolve(
            REPORT,
            resolver="resolver.f (type file), then resolver.p (type pulsar)",
            answered="resolver.p (type pulsar)",
            passed=("f: refused: no",),
            known_as="one:8080, listener\nexternal",
            watches=(WatchReport("f", "7 names", None), WatchReport("p", "", "no\nhost")),
        )
        said = list(lines(report))[3:8]
        self.assertEqual(
            [
                "  tried      f: refused: no",
                "  answer     1 target from resolver.p (type pulsar), valid until the configuration changes",
                "  name of    one:8080, listener\\nexternal",
                "  state      f: 7 names",
                "  state      p: nothing; last refresh failed: no\\nhost",
            ],
            said,
        )
        said = list(
            lines(
                attrs.evolve(report, answered=None, passed=(), known_as="", watches=(), targets=(), refused="it failed")
            )
        )
        self.assertEqual("  queried    resolver.f (type file), then resolver.p (type pulsar)", said[3])
        self.assertNotIn("good", "\n".join(said))
        (watch, _) = json.loads(json.dumps(document(report)))["watches"]
        self.assertEqual({"resolver": "f", "knows": "7 names", "error": None}, watch)

    def test_summary(self) -> None:
        """One line, followed by the problems."""
        self.assertEqual(
            [
                "PROBLEM     b-1.test on public -> b-1:6651",
                "            b-1:6651: the certificate does not cover proxy.test",
            ],
            list(summary(REPORT)),
        )
        good = attrs.evolve(REPORT, targets=(GOAL,))
        self.assertEqual(["ok          b-1.test on public -> b-1:6651"], list(summary(good)))

    def test_unchecked(self) -> None:
        """Unchecked targets are reported as not checked, unless there is a problem."""
        report = attrs.evolve(REPORT, route="*.test", targets=(), unchecked="depends on the name")
        self.assertEqual(["not checked *.test on public -> depends on the name"], list(summary(report)))
        self.assertIsNone(document(report)["routed"])
        self.assertEqual("depends on the name", document(report)["unchecked"])
        bad = attrs.evolve(report, refused="it is silent")
        self.assertEqual(
            ["PROBLEM     *.test on public -> depends on the name", "            it is silent"], list(summary(bad))
        )
        self.assertIs(False, bad.routed)

    def test_json(self) -> None:
        """The JSON has stable names."""
        found = json.loads(json.dumps(document(REPORT)))
        self.assertEqual(
            [
                "name",
                "listener",
                "routed",
                "route",
                "why",
                "others",
                "only_from",
                "send_proxy",
                "target_source",
                "resolver",
                "answered",
                "passed",
                "known_as",
                "watches",
                "ttl",
                "targets",
                "refused",
                "unchecked",
                "problems",
                "notes",
            ],
            list(found),
        )
        self.assertEqual((True, None), (found["routed"], found["ttl"]))
        (target,) = found["targets"]
        self.assertEqual(["target", "weight", "denied", "addresses", "dialled", "place", "unresolved"], list(target))
        self.assertEqual({"b-1.test": True, "proxy.test": False}, target["dialled"]["certificate"]["covers"])

    def test_proxy_protocol(self) -> None:
        """The clients of a route, and the header that its targets get."""
        report = attrs.evolve(REPORT, only_from="10.1.0.0/16, vpce-1", send_proxy="v2, before the hello")
        found = list(lines(report))
        self.assertIn("  only from  10.1.0.0/16, vpce-1", found)
        self.assertIn("  header     PROXY protocol v2, before the hello", found)
        self.assertEqual("10.1.0.0/16, vpce-1", document(report)["only_from"])
        report = attrs.evolve(report, target_source="client", client_unchecked=True)
        found = list(lines(report))
        self.assertIn("  source     targets are dialled from the client's address", found)
        self.assertTrue(found[-1].endswith("for the clients that only_from lists (--client ADDRESS checks one)"))
        (verdict,) = list(lines(attrs.evolve(report, only_from=None)))[-1:]
        self.assertIn("for the clients with an address that reaches the targets (--client", verdict)

    def test_verdict(self) -> None:
        """Refused, denied, unresolved, failed and expired targets are problems; most are not routed."""
        for goal, said, routed in (
            (attrs.evolve(GOAL, denied="port"), "denied: port", False),
            (attrs.evolve(GOAL, addresses={}), "the name has no address", False),
            (attrs.evolve(GOAL, addresses={"::1": "loop"}), "all addresses are denied: ::1: loop", False),
            (attrs.evolve(GOAL, dialled=DialReport(error="Connection refused")), "Connection refused", False),
            (
                attrs.evolve(GOAL, dialled=DialReport("a", 0.1, "TLSv1.3", attrs.evolve(SHOWN, covers={}, days=-1.0))),
                "the certificate has expired",
                True,
            ),
        ):
            report = attrs.evolve(REPORT, targets=(goal,))
            self.assertEqual(([f"b-1:6651: {said}"], routed), (report.problems, report.routed))
        refused = attrs.evolve(REPORT, targets=(), refused="no route")
        self.assertEqual((["no route"], False), (refused.problems, refused.routed))
        several = attrs.evolve(REPORT, targets=(GOAL, attrs.evolve(GOAL, denied="port")))
        self.assertTrue(several.routed)
