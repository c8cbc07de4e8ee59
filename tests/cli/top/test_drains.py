"""Tests for sniproxy.cli.top.drains."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.adminclient import AdminError
from sniproxy.cli.top import drains
from sniproxy.cli.top.changes import Change
from sniproxy.cli.top.drains import carry_out, refusal


class RefusalTests(SynchronousTestCase):
    """Which endpoints can be changed."""

    def test_endpoints(self) -> None:
        """Those on unix sockets, and all with a token."""
        self.assertEqual("", refusal(["unix:/a", "unix:/b"], None))
        self.assertEqual("", refusal(["http://127.0.0.1:9090"], "secret"))
        self.assertIn("--token-file", refusal(["unix:/a", "http://127.0.0.1:9090"], None))


class CarryOutTests(SynchronousTestCase):
    """Changes at endpoints."""

    def setUp(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.failing: list[str] = []

        def drain(url: str, *words: object) -> None:
            self.asked.append((url, *words))
            if url in self.failing:
                raise AdminError("no\x1b such target")

        self.patch(drains, "drain", drain)
        self.patch(drains, "undrain", drain)

    def test_drain(self) -> None:
        """All instances together close tunnels at the rate."""
        self.assertEqual("draining a:1; d cancels it", carry_out(Change("a:1", False), ["unix:/a", "unix:/b"], None))
        self.assertEqual([("unix:/a", "a:1", 5.0, None), ("unix:/b", "a:1", 5.0, None)], self.asked)

    def test_undrain(self) -> None:
        """The token is sent."""
        said = carry_out(Change("a:1", True), ["http://h"], "secret")
        self.assertEqual("a:1: drain cancelled, new connections allowed", said)
        self.assertEqual([("http://h", "a:1", "secret")], self.asked)

    def test_failed(self) -> None:
        """An error is said in printable text; of several instances, with where, and the others are changed."""
        self.failing = ["unix:/a"]
        self.assertEqual("a:1 not drained: no\\x1b such target", carry_out(Change("a:1", False), ["unix:/a"], None))
        said = carry_out(Change("a:1", True), ["unix:/a", "unix:/b"], None)
        self.assertEqual("a:1 not undrained at 1 of 2: unix:/a: no\\x1b such target", said)
        self.assertEqual("unix:/b", self.asked[-1][0])
