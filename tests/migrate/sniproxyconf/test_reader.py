"""Tests for listeners and rules of a sniproxy.conf."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import PolicyTable
from sniproxy.migrate.formed import PRIVATE
from sniproxy.migrate.model import ANY, NAMELESS, Imported, MigrateError, Rule, SourceFile
from sniproxy.migrate.report import decides
from sniproxy.migrate.sniproxyconf import read


def imported(text: str) -> Imported:
    return read([SourceFile("s.conf", text)])


def shown(rules: list[Rule]) -> list[tuple[str, str]]:
    return [(rule.pattern, ", ".join(rule.targets) or rule.resolver or "") for rule in rules]


def texts(found: Imported) -> str:
    return "\n".join(
        f"{note.kind} {note.place} {note.text}{' !' if note.decides else ''}" for note in found.report.notes
    )


class ReaderTests(SynchronousTestCase):
    """Parts of a sniproxy.conf."""

    def table(self, lines: str, more: str = "", listener: str = "") -> Imported:
        return imported(f"listen 10.0.0.1:4443 {{\n{listener}\n}}\n{more}\ntable {{\n{lines}\n}}")

    def test_patterns_in_order(self) -> None:
        """Each pattern is a rule, in the order of the table; all names are ANY."""
        found = self.table("^a\\\\.test$ 10.0.0.7:6651\n.*\\\\.b\\\\.test$ [::1]:7\nc ::1\n.* h.test")
        self.assertEqual(
            shown(found.rules),
            [
                ("a.test", "10.0.0.7:6651"), ("*.b.test", "[::1]:7"),
                ("~.*c.*", "[::1]:{port}"), (ANY, "h.test:{port}"),
            ],
        )  # fmt: skip
        self.assertEqual(str(found.rules[0].place), "s.conf:6 ^a\\.test$")
        self.assertFalse(decides(found.report.notes))
        self.assertIn("1 pattern without", texts(found))

    def test_targets_of_the_name(self) -> None:
        """A star is the client's name, under a policy with the ports."""
        found = self.table("^a$ *:6651\n^b$ *")
        self.assertEqual(shown(found.rules), [("a", "{server_name}:6651"), ("b", "{server_name}:{port}")])
        self.assertEqual(found.policy, PolicyTable(allow_cidrs=list(PRIVATE), allow_ports=[4443, 6651]))

    def test_what_is_no_rule(self) -> None:
        """Patterns and targets that cannot be had are reported, and decide; names of such targets are refused."""
        found = self.table("^a$ unix:/x\n^b$ 10.0.0.7:99999\nc\n(?R) 1.2.3.4:5\n^D$ 1.2.3.4:5\n^e$ 1.2.3.4:5 foo")
        self.assertEqual(shown(found.rules), [("a", ""), ("b", ""), ("e", "1.2.3.4:5")])
        report = texts(found)
        for text in (
            "unix sockets are no targets here; the names are refused !", "10.0.0.7:99999: it is no target",
            "a pattern without a target !", "(?R) has no equal here !", "only names in upper case",
            "unknown argument foo !",
        ):  # fmt: skip
            self.assertIn(text, report)

    def test_header_and_source(self) -> None:
        """proxy_protocol and the client's address as source."""
        found = self.table("^a$ 1.2.3.4:5 proxy_protocol\n^b$ unix:x", listener="source client\nreuseport yes")
        self.assertEqual([rule.send_proxy for rule in found.rules], ["v1", None])
        self.assertEqual([rule.target_source for rule in found.rules], ["client", None])
        self.assertIn("reuse_port = true", texts(found))
        self.assertIn("own address", texts(self.table("a 1.2.3.4:5", listener="source 1.2.3.4")))

    def test_fallback(self) -> None:
        """The fallback takes other names and hellos without one."""
        found = self.table("^a$ 1.2.3.4:5", listener="fall 10.0.0.9:1\nfallback_use_proxy_header on")
        self.assertEqual(shown(found.rules[1:]), [(ANY, "10.0.0.9:1"), (NAMELESS, "10.0.0.9:1")])
        self.assertEqual([rule.send_proxy for rule in found.rules], [None, "v1", "v1"])
        self.assertEqual(len(self.table("^a$ 1.2.3.4:5", listener="fallback").rules), 1)

    def test_hellos_without_a_name(self) -> None:
        """Where there is a fallback, a hello without a name is looked up as an empty name."""
        found = self.table("^a$ 1.2.3.4:5\n.* *:7\n|b 1.2.3.4:6", listener="fallback 10.0.0.9:1")
        self.assertEqual(
            [one for one in shown(found.rules) if one[0] == NAMELESS],
            [(NAMELESS, ""), (NAMELESS, "1.2.3.4:6"), (NAMELESS, "10.0.0.9:1")],
        )
        self.assertEqual(len(self.table(".* 1.2.3.4:5").rules), 1)

    def test_resolver(self) -> None:
        """Name servers of the file are those of a resolver here, for names only."""
        lines = "^a$ h.test:1\n^b$ h.test:1\n^c$ *:1\n^d$ 1.2.3.4:5"
        found = self.table(lines, "resolver {\nnameserver [::1]\nnameserver 10.0.0.53\nmode ipv4_only\n}")
        self.assertEqual(shown(found.rules), [("a", "dns"), ("b", "dns"), ("c", "dns-2"), ("d", "1.2.3.4:5")])
        servers = {"type": "dns", "servers": ["::1", "10.0.0.53"], "ipv6": False}
        self.assertEqual(
            found.resolvers,
            {"dns": {**servers, "target": "h.test:1"}, "dns-2": {**servers, "target": "{server_name}:1"}},
        )
        found = self.table(lines, "resolver {\nmode ipv6_first\nsearch x\n}")
        self.assertEqual(found.resolvers, {})
        self.assertIn("addresses of both families", texts(found))
        self.assertIn("are absolute", texts(found))

    def test_listeners(self) -> None:
        """Addresses of listeners, each with the rules of its table."""
        found = imported(
            "listen 443 {\nipv6_v6only yes\n}\nlistener [::1]:44 {\ntable t\n}\n"
            "listen unix:/run/s.sock {\n}\nlisten 10.0.0.1 {\n}\n"
            "table {\n^a$ 1.2.3.4:5\n}\ntable t {\n^b$ 1.2.3.4:5\n}\n"
        )
        self.assertEqual(
            [(table.endpoint, table.name) for _, table in found.listeners],
            [
                ("tcp6:443", "default-1"), ("tcp6:44:interface=\\:\\:1", "t-2"), ("unix:/run/s.sock", "default-3"),
                ("tcp:443:interface=10.0.0.1", "default-4"),
            ],
        )  # fmt: skip
        self.assertEqual(
            [(rule.pattern, rule.listener) for rule in found.rules],
            [("a", "default-1"), ("b", "t-2"), ("a", "default-3"), ("a", "default-4")],
        )
        self.assertIn("takes IPv4 connections, too", texts(found))

    def test_no_port(self) -> None:
        """A target without a port has none behind a unix socket."""
        found = imported("listen unix:/s {\n}\ntable {\n^a$ 1.2.3.4\n^b$ *\n^c$ 1.2.3.4:5\n}")
        self.assertEqual(shown(found.rules), [("a", ""), ("b", ""), ("c", "1.2.3.4:5")])
        self.assertIsNone(found.policy)

    def test_listeners_that_are_left_out(self) -> None:
        """HTTP, names as addresses and tables that are not there are reported, and decide."""
        found = imported(
            "listen 80 {\nproto http\n}\nlisten h.test:1 {\n}\nlisten {\n}\nlisten 1 {\ntable x\nfoo\n}\nbar\n"
        )
        self.assertEqual([table.endpoint for _, table in found.listeners], ["tcp6:1"])
        report = texts(found)
        for text in (
            "protocol http: only TLS has server names here !", "h.test:1 is no address to listen on !",
            "(nothing) is no address", "the table x is not there !", "s.conf:10 foo unknown keyword !",
            "s.conf:12 bar unknown",
        ):  # fmt: skip
            self.assertIn(text, report)

    def test_other_settings(self) -> None:
        """Options of the program and logs."""
        found = imported(
            "user a\ngroup b\npidfile c\nerror_log {\n}\naccess_log {\nfilename /a\npriority x\nsyslog daemon\n}\n"
            "listen 1 {\nbad_requests log\naccess_log {\nfilename /b\n}\naccess_log {\nfilename /a\n}\n}\n"
            "table {\n^a$ 1.2.3.4:5\n}\ntable {\n^b$ 1.2.3.4:5\n}\ntable other {\n}\n"
        )
        self.assertEqual(found.access_log, "/a")
        self.assertEqual(shown(found.rules), [("b", "1.2.3.4:5")])
        report = texts(found)
        for text in (
            "twistd --uid a", "--gid b", "--pidfile c", "twistd -l FILE", "a JSON object for each",
            "one access log for all",
            "the system's logger", "each refused connection", "is defined again", "no listener here uses this table",
        ):  # fmt: skip
            self.assertIn(text, report)

    @given(
        st.lists(st.sampled_from(["listen", "table", "443", "{", "}", "\n", "a", "*", "fallback", "resolver", "x:1"]))
    )
    def test_any_words(self, words: list[str]) -> None:
        """Any words are a configuration, or a MigrateError."""
        try:
            imported(" ".join(words))
        except MigrateError:
            pass
