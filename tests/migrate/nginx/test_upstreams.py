"""Tests for upstreams."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import HealthTable
from sniproxy.migrate.model import Notes, SourceFile
from sniproxy.migrate.nginx.directives import directives
from sniproxy.migrate.nginx.upstreams import Upstreams, target_of


class UpstreamTests(SynchronousTestCase):
    """The upstream block."""

    def read(self, text: str) -> Upstreams:
        self.report = Notes()
        found = Upstreams(self.report)
        for one in directives(SourceFile("n.conf", text)):
            found.add(one)
        return found

    def notes(self) -> str:
        return "\n".join(f"{note.place} {note.text}{' !' if note.decides else ''}" for note in self.report.notes)

    def test_servers(self) -> None:
        """Servers with weights, spares, and servers that are down."""
        found = self.read(
            "upstream One { zone z 64k; least_conn; server 10.0.0.7:1 weight=3; server H.test:2 "
            "backup; server [::1]:3; "
            "server 10.0.0.9:4 down; }"
        ).find("oNE")
        assert found is not None
        self.assertEqual(found.targets, ["10.0.0.7:1 weight=3", "h.test:2 weight=0", "[::1]:3"])
        self.assertEqual((found.name, found.balance, found.place.key), ("One", "least_connections", "upstream One"))
        self.assertEqual(self.notes(), "n.conf:1 server 10.0.0.9:4 is down, and left out")
        self.assertIsNone(self.read("").find("one"))

    def test_what_is_left_out(self) -> None:
        """What targets do not have here is reported."""
        self.read(
            "upstream a { server unix:/x; server 10.0.0.7; server _*_:1; }"
            "upstream b { hash $remote_addr consistent; random; foo; server 10.0.0.7:1 max_conns=3 weight=0; }"
        )
        report = self.notes()
        for text in (
            "unix:/x: unix sockets are no targets here !", "10.0.0.7: it has no host and port !", "no host and port !",
            "upstream a no server of it can be had here; its names are refused !", "hash servers take turns",
            "random servers take turns", "foo unknown", "max_conns: targets have no", "weight=0: it is 1 here !",
        ):  # fmt: skip
            self.assertIn(text, report)

    def test_health(self) -> None:
        """max_fails and fail_timeout eject targets; the longest time counts for all."""
        self.assertIsNone(self.read("upstream a { server 10.0.0.7:1; }").health)
        found = self.read(
            "upstream a { server 10.0.0.7:1 max_fails=2 fail_timeout=1m; server 10.0.0.8:1 max_fails=2; }"
        )
        self.assertEqual(found.health, HealthTable(fall=2, eject=60))
        self.assertIn("the same for all targets", self.notes())
        for text in ("max_fails=0", "max_fails=x", "fail_timeout=x"):
            self.assertEqual(self.read(f"upstream a {{ server 10.0.0.7:1 {text}; }}").health, HealthTable())

    def test_own_sockets(self) -> None:
        """A socket of nginx itself may be the only server of an upstream."""
        self.report = Notes()
        found = Upstreams(self.report, {"unix:/a"})
        for one in directives(
            SourceFile("n.conf", "upstream a { server unix:/a; } upstream b { server unix:/a; server h:1; }")
        ):
            found.add(one)
        self.assertEqual([one.targets for one in found.by_name.values()], [["unix:/a"], ["h:1"]])
        self.assertEqual(self.notes(), "n.conf:1 upstream b unix sockets are no targets here !")

    def test_only_spares(self) -> None:
        """Where all servers are spares, they take turns."""
        found = self.read("upstream a { server 10.0.0.7:1 backup; }").find("a")
        assert found is not None
        self.assertEqual(found.targets, ["10.0.0.7:1"])

    def test_targets(self) -> None:
        """A target needs a host and a port."""
        self.assertEqual(target_of("[::0001]:5"), "[::1]:5")
        for text in ("unix:1", "a b:1", ":1", "a:0", ""):
            self.assertIsNone(target_of(text), text)
