"""Tests for values of an exported nginx.conf."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import HealthTable, RouteEntry
from sniproxy.migrate.export.nginxvalues import Values, map_key, quoted, time_of
from sniproxy.migrate.model import Notes, Place

HERE = Place("route[0]")


class ValueTests(SynchronousTestCase):
    """What routes are in maps."""

    def make(self, health: HealthTable = HealthTable(), **resolvers: Mapping[str, Any]) -> Values:  # noqa: B008
        self.report = Notes()
        return Values(health, resolvers, self.report)

    def value(self, values: Values, name: str = "a.test", **keys: Any) -> str:
        return values.of(RouteEntry(server_name=name, **keys), name, HERE)

    def notes(self) -> str:
        return "\n".join(f"{note.text}{' !' if note.decides else ''}" for note in self.report.notes)

    def test_upstreams(self) -> None:
        """Targets with weights and spares are an upstream, which routes with the same targets share."""
        values = self.make()
        target = ["10.0.0.7:6651 weight=3", "10.0.0.8", "[::1]:7 weight=0"]
        self.assertEqual(self.value(values, target=target), "to_1_a_test")
        self.assertEqual(self.value(values, name="b.test", target=target), "to_1_a_test")
        self.assertEqual(
            values.blocks,
            [
                "upstream to_1_a_test {\n    server 10.0.0.7:6651 weight=3 max_fails=0;\n"
                "    server 10.0.0.8:6651 max_fails=0;\n    server [::1]:7 backup max_fails=0;\n}"
            ],
        )
        self.assertEqual(self.notes(), "")

    def test_balance_and_ejection(self) -> None:
        """The order of targets, ejected targets, only spares, and names that nginx looks up once."""
        values = self.make(HealthTable(fall=2, eject=1.5))
        self.value(values, name="~.+", target="h.test:1 weight=0", balance="least_connections")
        self.assertEqual(
            values.blocks,
            ["upstream to_1 {\n    least_conn;\n    server h.test:1 max_fails=2 fail_timeout=1500ms;\n}"],
        )
        self.assertIn("looks the name up once, and does not start", self.notes())

    def test_placeholders(self) -> None:
        """Placeholders are variables; a wildcard's capture needs a map of its own."""
        values = self.make()
        self.assertEqual(self.value(values, target="{server_name}"), "$ssl_preread_server_name:6651")
        self.assertEqual(self.value(values, name="~(.)", target="pulsar+ssl://x{1}:{port}/"), "x$1:$server_port")
        self.assertEqual(values.blocks, [])
        self.assertEqual(self.value(values, name="*.w.test", target="{1}.i:7"), "$below_1.i:7")
        self.assertEqual(self.value(values, name="*.w.test", target="{1}.j:7"), "$below_1.j:7")
        self.assertEqual(
            values.blocks, ['map $ssl_preread_server_name $below_1 {\n    "~*^(.+)\\\\.w\\\\.test\\\\.?$" $1;\n}']
        )
        self.assertTrue(values.needs_resolver)
        self.assertEqual(self.value(values, target=["{server_name}:1", "10.0.0.7"]), "$ssl_preread_server_name:1")
        self.assertIn("takes one only: the first !", self.notes())

    def test_clients(self) -> None:
        """Lists of clients are a geo block; ids of endpoints decide."""
        values = self.make()
        value = self.value(values, target="10.0.0.7", only_from=["10.0.0.0/8", "vpce-1"])
        self.assertEqual(value, "$for_client_3")
        self.assertEqual(
            values.blocks[1:],
            [
                "geo $is_client_2 {\n    default 0;\n    10.0.0.0/8 1;\n}",
                "map $is_client_2 $for_client_3 {\n    1 to_1_a_test;\n}",
            ],
        )
        self.assertEqual(self.notes(), "only_from vpce-1: nginx reads no such field of the header !")

    def test_resolvers(self) -> None:
        """Resolvers that refuse or query name servers; others decide."""
        values = self.make(
            no={"type": "refuse"}, dns={"type": "dns", "servers": "10.0.0.53"}, http={"type": "http"},
            two={"type": "dns", "target": "h:1", "servers": ["10.0.0.53", "[::1]:54"]}, srv={"type": "dns", "srv": "x"},
        )  # fmt: skip
        self.assertEqual(self.value(values, resolver="no"), "")
        self.assertEqual(self.value(values, resolver="dns"), "$ssl_preread_server_name:6651")
        self.assertEqual(self.value(values, resolver=["two", "no"]), "h:1")
        self.assertEqual(values.name_servers, ["10.0.0.53", "[::1]:54"])
        for name in ("http", "srv", "nowhere"):
            self.assertEqual(self.value(values, resolver=name), "")
        self.assertEqual(
            self.notes().splitlines(),
            [
                "resolver: nginx has one; two is taken !", "resolver http: nginx has none; the names are refused !",
                "resolver dns: nginx has none; the names are refused !",
                "resolver nowhere: nginx has none; the names are refused !",
            ],
        )  # fmt: skip

    def test_other_keys(self) -> None:
        """Limits and fields of the header are left out."""
        self.value(self.make(), target="10.0.0.7", max_connections=3, proxy_tlvs=["authority"])
        self.assertIn("max_connections", self.notes())
        self.assertIn("proxy_tlvs", self.notes())


class TextTests(SynchronousTestCase):
    """Words of the file."""

    def test_keys(self) -> None:
        """Patterns as keys of a map."""
        for pattern, key in (
            ("A.test.", "a.test"), ("*.A.test", "*.a.test"), ("default", "\\default"), ("10.0.0.7", "10.0.0.7"),
            ("[::1]", "::1"), (r'~a\.b"', r'"~*^(?:a\\.b\")$"'), ("a b", None),
        ):  # fmt: skip
            self.assertEqual(map_key(pattern), key, pattern)

    def test_words(self) -> None:
        """Words are quoted where they need it."""
        for text, word in (("a$b.c:1", "a$b.c:1"), ("", '""'), ('a b\\"', '"a b\\\\\\""')):
            self.assertEqual(quoted(text), word)
        self.assertEqual((time_of(5), time_of(0.25)), ("5s", "250ms"))
