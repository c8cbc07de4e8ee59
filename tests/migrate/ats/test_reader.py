"""Tests for sniproxy.migrate.ats.reader."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.model import Configuration, Route
from sniproxy.config.parser import parse
from sniproxy.interfaces import Request
from sniproxy.migrate.ats.reader import read
from sniproxy.migrate.document import to_toml
from sniproxy.migrate.model import Imported, Kind, MigrateError, SourceFile
from sniproxy.migrate.ordering import ordered
from sniproxy.routing.patterns import captured
from sniproxy.routing.table import RouteTable
from sniproxy.routing.targets import BadTarget

RECORDS = "CONFIG proxy.config.http.server_ports STRING 443:ssl 444:ssl\n"
NAMES = ("a.test", "b.test", "x.a.test", "y.x.a.test", "test", "ab.test", "a", None)

fqdns = st.sampled_from(
    ["a.test", "B.Test", "*.a.test", "*.test", "*", "", "a*.test", "x.a.test", "[ab].test", "*.x.a.test"]
)
ranges = st.sampled_from([None, "443", "444", "[443, 444]", "1-443", "1"])
routes = st.sampled_from(["one:1", "two:2", "$1.three:3", "four", ""])
entry_lists = st.lists(st.tuples(fqdns, ranges, routes), min_size=1, max_size=7)


def sni_yaml(entries: Sequence[tuple[str, str | None, str]]) -> str:
    lines = ["sni:"]
    for fqdn, ports, route in entries:
        lines.append(f"- fqdn: '{fqdn}'")
        lines += [f"  inbound_port_ranges: {ports}"] if ports else []
        lines += [f"  tunnel_route: {route}"] if route else []
    return "\n".join(lines)


def expected(entries: Sequence[tuple[str, str | None, str]], name: str | None, port: int) -> str | None:
    """What Traffic Server does: the first entry that matches name and port. None: there is no tunnel.

    Its documentation of fqdn, and of tunnel_route; a capture without a value stays as it is, and no such host exists.
    """
    for fqdn, ports, route in entries:
        if ports is not None and str(port) not in ports and not (ports == "1-443" and port == 443):
            continue
        text = name or ""
        match = re.fullmatch(fqdn.replace(".", r"\.").replace("*", "(.*)"), text, re.IGNORECASE)
        if match is None:
            continue
        if "$1" in route:
            if not match.groups() or not match[1]:
                return None
            route = route.replace("$1", match[1].lower())
        return (route if ":" in route else f"{route}:{port}") if route else None
    return None


def configured(found: Imported) -> Configuration:
    """Our configuration of an import."""
    names = [table.name or f"listener-{number}" for number, (_, table) in enumerate(found.listeners)]
    return parse(to_toml(found, ordered(found.rules, names, found.report), ["sni.yaml"]), "x.toml")


def reached(configuration: Configuration, name: str | None, listener: int) -> str | None:
    """The target of a name. None: it is refused."""
    where = configuration.listeners[listener]
    table: RouteTable[Route] = RouteTable(configuration.routes)
    if name is None:
        route = table.nameless(where.name) or configuration.no_server_name
    else:
        route = table.match(name, where.name) or configuration.default
    if route is None or not route.resolver.templates:
        return None
    parts = captured(route.server_name, name)
    request = Request(name, (), "", where.name, parts, where.endpoint.port)
    try:
        return str(route.resolver.templates[0].fill(request))
    except BadTarget:
        return None


class ReadTests(SynchronousTestCase):
    """read."""

    def test_pip60(self) -> None:
        """The files of PIP-60 become its map, and a listener."""
        lines = "".join(f"{{fqdn='{name}',\n#c\ntunnel_route='{name}:6651'}},\n" for name in ("vip", "b1"))
        records = (
            "CONFIG proxy.config.http.connect_ports STRING 4443 6651\n"
            "CONFIG proxy.config.http.server_ports STRING 4443:ssl 4080\n"
        )
        found = read([
            SourceFile("ssl_server_name.config", f"server_config = {{\n{lines}}}"),
            SourceFile("records.config", records),
        ])  # fmt: skip
        configuration = configured(found)
        self.assertEqual(["tcp:4443:backlog=1024"], [one.endpoint.text for one in configuration.listeners])
        self.assertEqual(
            ["vip:6651", "b1:6651", None], [reached(configuration, name, 0) for name in ("vip", "b1", "x")]
        )
        self.assertFalse(any(note.decides for note in found.report.notes))
        self.assertIsNone(found.policy)

    def test_both_forms(self) -> None:
        """The older form is the same as sni.yaml."""
        one = read([SourceFile("x", "server_config={{fqdn='a' tunnel_route='b:1'}}")])
        other = read([SourceFile("x", "sni:\n- fqdn: a\n  tunnel_route: b:1")])
        self.assertEqual(
            [(rule.pattern, rule.targets) for rule in one.rules], [(rule.pattern, rule.targets) for rule in other.rules]
        )

    def test_lists(self) -> None:
        """A list of addresses that an entry names is read; other files are not."""
        sni = "sni:\n- {fqdn: a, tunnel_route: 'b:1', ip_allow: '@ips/a.txt'}\n"
        found = read([SourceFile("sni.yaml", sni), SourceFile("ips/a.txt", "10.0.0.0/8"), SourceFile("x", "y")])
        self.assertEqual(["10.0.0.0/8"], found.rules[0].only_from)
        self.assertEqual(["x"], [note.place.file for note in found.report.notes if "not read" in note.text])

    def test_differences(self) -> None:
        """What differs in general is said once, where it matters."""
        for fqdn, said in (("a", [True, False, False]), ("*.a", [True, True, False]), ("*", [False, False, True])):
            found = read([SourceFile("sni.yaml", f"sni:\n- fqdn: '{fqdn}'\n  tunnel_route: b:1\n")])
            texts = [note.text for note in found.report.notes if note.kind == Kind.DIFFERENT]
            for text, is_said in zip(("without an entry", "only the beginning", "IP address"), said, strict=True):
                self.assertEqual(is_said, any(text in one for one in texts), (fqdn, text))

    def test_nothing(self) -> None:
        """Without routes nothing is routed; without routes and records nothing is read."""
        for files in (
            [("records.config", RECORDS)],
            [("sni.yaml", "# none"), ("r", RECORDS)],
            [("sni.yaml", "sni: []")],
        ):
            found = read([SourceFile(*file) for file in files])
            self.assertTrue(any(note.decides for note in found.report.notes))
            self.assertTrue(found.listeners)
        self.assertRaises(MigrateError, read, [SourceFile("x", "y")])

    @given(entry_lists)
    @example([("*", None, "$1.three:3"), ("", None, "one:1")])
    def test_first_match(self, entries: list[tuple[str, str | None, str]]) -> None:
        """For any entries, each name reaches at each port what the first entry that matches says."""
        configuration = configured(read([SourceFile("sni.yaml", sni_yaml(entries)), SourceFile("r", RECORDS)]))
        for name in NAMES:
            for number, port in enumerate((443, 444)):
                self.assertEqual(
                    expected(entries, name, port),
                    reached(configuration, name, number),
                    (name, port, configuration.text),
                )

    @given(st.text("snifqdr:-' \n#{}*.$1tunelo_", max_size=80))
    def test_any(self, text: str) -> None:
        """Any text is read, or is an error of the import."""
        try:
            read([SourceFile("sni.yaml", text), SourceFile("r", RECORDS + text)])
        except MigrateError:
            pass
