"""Tests for sniproxy.migrate.ats.destinations."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.ats.destinations import BadDestination, Destination, destination
from sniproxy.routing.templates import parse_template


class DestinationTests(SynchronousTestCase):
    """destination."""

    def test_plain(self) -> None:
        """Host and port; without a port, the listener's."""
        for text, target, port in (
            ("broker-1:6651", "broker-1:6651", 6651),
            ("10.0.0.7:443", "10.0.0.7:443", 443),
            ("[2001:db8::7]:443", "[2001:db8::7]:443", 443),
            ("broker-1", "broker-1:{port}", 0),
            ("broker-1:", "broker-1:{port}", 0),
            ("broker-1:0", "broker-1:{port}", 0),
            ("[2001:db8::7]", "[2001:db8::7]:{port}", 0),
            ("broker-1:{inbound_local_port}", "broker-1:{port}", 0),
        ):
            made = destination(text, 0)
            self.assertEqual(Destination(target, port == 0, port, False, False), made, text)

    def test_captures(self) -> None:
        """A capture ends at the next dot behind it; without one, at the next colon or the end."""
        for text, groups, target in (
            ("$1.internal:6651", 1, "{1}.internal:6651"),
            ("broker.$1:6651", 1, "broker.{1}:6651"),
            ("$1", 1, "{1}:{port}"),
            ("b-$2.$1.internal:1", 2, "b-{2}.{1}.internal:1"),
            ("one:$1", 1, "one:{1}"),
            ("$1.x:{inbound_local_port}", 1, "{1}.x:{port}"),
            ("$01.x:1", 1, "{1}.x:1"),
        ):
            made = destination(text, groups)
            self.assertEqual((target, True), (made.target, made.formed), text)

    def test_proxy_protocol_port(self) -> None:
        """The port of the PROXY protocol header."""
        made = destination("b:{proxy_protocol_port}", 0)
        self.assertEqual(Destination("b:{proxy_protocol_port}", True, 0, False, True), made)
        self.assertTrue(destination("$1.b:{proxy_protocol_port}", 1).formed)

    def test_errors(self) -> None:
        """What Traffic Server cannot connect to, or does not know."""
        for text, groups, said in (
            ("$1.internal:1", 0, "$1 stays as it is"),
            ("$2.internal:1", 1, "$2 stays as it is"),
            ("$1-x.internal:1", 1, "$1 stays as it is"),
            ("$10.internal:1", 12, "$10 stays as it is"),
            ("a$.b:1", 1, "$ stays as it is"),
            ("$0.b:1", 1, "$0 stays as it is"),
            ("$x.b:1", 1, "$ stays as it is"),
            ("b:{inbound_local_port}{proxy_protocol_port}", 0, "only one"),
            ("b:{port}", 0, "an unknown variable"),
            ("{1}.b:1", 1, "an unknown variable"),
            ("b:x", 0, "bad port"),
            ("a b:1", 0, "bad host"),
            ("b:70000", 0, "port"),
            ("2001:db8::1", 0, "must stand in brackets"),
            ("::1:6651", 0, "must stand in brackets"),
        ):
            self.assertIn(said, str(self.assertRaises(BadDestination, destination, text, groups)), text)

    @given(st.text("$1290.:ab{}[]-_", max_size=20), st.integers(0, 10))
    def test_any(self, text: str, groups: int) -> None:
        """Any text gives a target that can be parsed and filled, or an error."""
        try:
            made = destination(text, groups)
        except BadDestination:
            return
        self.assertIsNone(parse_template(made.target).why_not(groups, True))
