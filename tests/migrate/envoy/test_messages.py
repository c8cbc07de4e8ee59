"""Tests for sniproxy.migrate.envoy.messages."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.envoy.messages import entries, flag, number, seconds, snake, text, typed, unused
from sniproxy.migrate.model import Notes, SourceFile
from sniproxy.migrate.yamlnodes import YamlNode, documents


def node(text: str) -> YamlNode:
    """A document."""
    (found,) = documents(SourceFile("envoy.yaml", text))
    return snake(found)


class ValueTests(SynchronousTestCase):
    """Single values."""

    def test_keys(self) -> None:
        """Keys of both spellings are the same; places keep what is written."""
        found = node("filterChains: [{serverNames: [a]}]\nconnect_timeout: 1s\n")
        (chain,) = entries(found, "filter_chains")
        self.assertEqual("a", entries(chain, "server_names")[0].text())
        self.assertEqual("filterChains[0].serverNames", chain.value["server_names"].place.key)
        self.assertEqual("1s", text(found, "connect_timeout"))

    def test_numbers(self) -> None:
        """Numbers may be texts; everything else is none."""
        found = node("a: 5\nb: '6'\nc: -1\nd: x\ne: 1.5\nf: true\ng: 1000000000000000000000\n")
        self.assertEqual([5, 6, None, None, None, None, None, None], [number(found, key) for key in "abcdefgh"])
        self.assertIsNone(number(None, "a"))

    def test_durations(self) -> None:
        """Seconds with a unit; everything else is none."""
        found = node("a: 5s\nb: 0.25s\nc: 5\nd: 1m\ne: 0s\nf: {seconds: 5}\n")
        self.assertEqual([5.0, 0.25, None, None, 0.0, None], [seconds(found, key) for key in "abcdef"])

    def test_flags(self) -> None:
        """Only true is true."""
        found = node("a: true\nb: false\nc: 1\n")
        self.assertEqual([True, False, False, False], [flag(found, key) for key in "abcd"])

    def test_entries(self) -> None:
        """A single value is a list of one."""
        found = node("a: x\nb: [x, y]\nc:\n")
        self.assertEqual([1, 2, 0, 0], [len(entries(found, key)) for key in "abcd"])
        self.assertEqual(0, len(entries(None, "a")))


class TypedTests(SynchronousTestCase):
    """Extensions."""

    def kind(self, written: str) -> str:
        return typed(node(written))[0]

    def test_kind(self) -> None:
        """The kind is in the type's package, of every version, or in the name."""
        for written, expected in (
            ('{name: x, typed_config: {"@type": t/envoy.extensions.a.tcp_proxy.v3.TcpProxy}}', "tcp_proxy"),
            ('{name: x, config: {"@type": t/envoy.config.filter.network.tcp_proxy.v2.TcpProxy}}', "tcp_proxy"),
            ('{name: x, typed_config: {"@type": a/envoy.sni_proxy.v3alpha.FilterConfig}}', "sni_proxy"),
            ("{name: envoy.filters.listener.tls_inspector}", "tls_inspector"),
            ("{name: tls_inspector, typed_config: {}}", "tls_inspector"),
            ('{name: x, typed_config: {"@type": type.googleapis.com/envoy.api.v2.auth.UpstreamTlsContext}}', "tls"),
            ('{name: x, typed_config: {"@type": v3.Thing}}', "x"),
            ("{}", ""),
        ):  # fmt: skip
            self.assertEqual(expected, self.kind(written), written)

    def test_typed_struct(self) -> None:
        """A structure counts as what it has inside."""
        kind, config = typed(
            node('{typed_config: {"@type": a/xds.type.v3.TypedStruct, type_url: a/b.rbac.v3.RBAC, value: {x: 1}}}')
        )
        self.assertEqual("rbac", kind)
        self.assertEqual(1, number(config, "x"))


class UnusedTests(SynchronousTestCase):
    """Keys without a counterpart."""

    def test_report(self) -> None:
        """Each is reported, unless it is empty."""
        report = Notes()
        unused(node("a: 1\nb: 2\nc: []\nd: {}\ne:\n"), frozenset("a"), report, "thing")
        self.assertEqual(["b of thing has no counterpart"], [one.text for one in report.notes])
