"""What HAProxy does with names, the proxy does on the import; and what the proxy does, HAProxy does on the export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.peers import haproxyrun
from tests.peers.cluster import free_ports
from tests.peers.haproxygenerated import NAMES as GENERATED_NAMES
from tests.peers.haproxygenerated import generate
from tests.peers.haproxysamples import FILES, OURS, SAMPLES, names, odd_names
from tests.peers.needs import require
from tests.support.differential import Backends

BACKENDS = ("one", "two", "three", "four", "five", "six")
LISTENERS = ("a", "b", "c")
GENERATED = 12
"""Configurations made at random."""

NAMES_OF_OURS = (
    "broker-1.pulsar.test.",
    "VIP.w.test.",
    "127.0.0.9",
    "127.0.0.10",
    "300.1.1.1",
    "in-1.none",
    "a b",
    "a..test",
)
"""With a trailing dot, IP literals and what is no name."""


class HaproxyTestCase(TestCase):
    """A test with the installed HAProxy."""

    def setUp(self) -> None:
        """Skip the tests without HAProxy."""
        require("haproxy", "setpriv")
        self.folder = haproxyrun.folder(self)
        self.backends = Backends(self, BACKENDS)
        ports = free_ports(2 * len(LISTENERS))
        self.theirs = dict(zip(LISTENERS, ports[:3], strict=True))
        self.ours = dict(zip(LISTENERS, ports[3:], strict=True))

    @property
    def moved(self) -> dict[int, int]:
        """The ports of the proxy's listeners instead of HAProxy's."""
        return {self.theirs[key]: self.ours[key] for key in LISTENERS}

    def fill(self, text: str) -> str:
        """A configuration with the ports of this test."""
        targets = {name: self.backends.port(name) for name in BACKENDS}
        return text.format(**self.theirs, **targets, folder=self.folder)

    def write(self, text: str, more: Mapping[str, str] = FILES) -> list[Path]:
        """Write a configuration of HAProxy and its maps and lists."""
        for name, content in more.items():
            (self.folder / name).write_text(content)
        (self.folder / "haproxy.cfg").write_text(text)
        return [self.folder / "haproxy.cfg", *(self.folder / name for name in more)]

    def compare(
        self, tried: Sequence[str | None], keys: Sequence[str], sources: Sequence[str | None] = (None,)
    ) -> dict[str, int]:
        """Both proxies must lead each name to the same backend. @return: how many names each backend got."""
        counts: dict[str, int] = {}
        wrong = []
        for key in keys:
            for source in sources:
                for name in tried:
                    theirs = haproxyrun.where(self.theirs[key], name, source)
                    ours = haproxyrun.where(self.ours[key], name, source)
                    counts[theirs] = counts.get(theirs, 0) + 1
                    if theirs != ours:
                        wrong.append(f"{name!r} from {source} at {key}: HAProxy {theirs}, ours {ours}")
        self.assertEqual(wrong, [])
        return counts


class ImportTests(HaproxyTestCase):
    """The import of configurations in different styles."""

    def start(self, sample: str, more: Mapping[str, str] = FILES) -> None:
        """Run HAProxy on a configuration, and the proxy on its import."""
        files = self.write(self.fill(sample), more)
        self.assertEqual(haproxyrun.check(files[0]), "")
        text, self.report = haproxyrun.imported(files)
        self.assertEqual([str(note) for note in self.report.notes if note.decides], [])
        haproxyrun.start_haproxy(self, files[0])
        haproxyrun.start_ours(self, text, self.moved, self.folder / "ours.toml")

    def check(self, sample: str, keys: Sequence[str], expected: Mapping[str, int], *sources: str) -> None:
        """Compare at least 200 names; each of the backends expected gets at least as many."""
        self.start(SAMPLES[sample])
        tried = [*names(), *odd_names()]
        self.assertGreaterEqual(len(tried), 200)
        counts = self.compare(tried, keys, sources or (None,))
        for backend, least in expected.items():
            self.assertGreaterEqual(counts.get(backend, 0), least, f"{backend}: {counts}")

    def test_acls(self) -> None:
        """Named ACLs of several lines, negated and combined, lead names alike."""
        self.check("acls", ["a"], dict.fromkeys((*BACKENDS, haproxyrun.REFUSED), 1))

    def test_maps(self) -> None:
        """Maps of all kinds and lists lead names alike."""
        self.check("maps", LISTENERS, dict.fromkeys((*BACKENDS, haproxyrun.REFUSED), 1))

    def test_inline_conditions(self) -> None:
        """Inline conditions, clients' networks and use-server lead names of several clients alike."""
        sources = ("127.0.0.1", "127.0.0.12", "127.0.0.20", "127.0.0.66")
        self.check("inline", ["a"], dict.fromkeys((*BACKENDS[:5], haproxyrun.REFUSED), 1), *sources)

    def test_sections(self) -> None:
        """Listen sections and several frontends lead names alike, each on its port."""
        self.check("sections", LISTENERS, dict.fromkeys(("one", "three", "four", "five", "six"), 2))

    def test_variables(self) -> None:
        """Variables, ports and backends that are named after names lead names alike."""
        self.check("variables", ["a", "b"], dict.fromkeys(BACKENDS, 1))

    def test_proxy_protocol(self) -> None:
        """Listeners read headers of the same peers, and rules are on the clients in them."""
        self.start(SAMPLES["headers"])
        answers = []
        for source in ("127.0.0.1", "127.0.0.9"):
            for client in (None, "10.1.2.3", "10.2.2.3"):
                # Where headers are optional, HAProxy wants one of each peer that may send it: the report says so.
                for key in ("a",) if client is None and source == "127.0.0.1" else ("a", "b"):
                    for name in ("a.w.test", "broker-1.pulsar.test"):
                        theirs, ours = (
                            haproxyrun.where(ports[key], name, source, client) for ports in (self.theirs, self.ours)
                        )
                        self.assertEqual(theirs, ours, (source, client, key, name))
                        answers.append(ours)
        self.assertEqual(set(answers), {"one", "two", "three", haproxyrun.REFUSED})

    def test_differences(self) -> None:
        """Case and a trailing dot matter to HAProxy only, as the report and the manual say."""
        self.start(SAMPLES["sensitive"])
        for name, theirs, ours in (
            ("a.w.test", "one", "one"),
            ("A.w.test", "two", "one"),
            ("a.w.test.", "two", "one"),
            ("other.test", "two", "two"),
        ):
            found = [haproxyrun.where(ports["a"], name) for ports in (self.theirs, self.ours)]
            self.assertEqual(found, [theirs, ours], name)
        self.assertIn("names match in any case here", "".join(note.text for note in self.report.notes))

    def test_generated(self) -> None:
        """Configurations that are made at random, the same in each run, lead names alike."""
        for seed in range(GENERATED):
            files = generate(seed, self.folder)
            self.start(files.pop("haproxy.cfg"), files)
            self.compare(GENERATED_NAMES, ["a"])
            self.ours["a"], self.theirs["a"] = free_ports(2)


class ExportTests(HaproxyTestCase):
    """The export of configurations, and the import of what was exported."""

    def export(self, text: str) -> Path:
        """Run the proxy on a configuration and HAProxy on its export. @return: the export."""
        made = haproxyrun.exported(self.fill(text))
        self.assertEqual([str(note) for note in made.report.notes if note.decides], [])
        path = self.write(made.text)[0]
        self.assertEqual(haproxyrun.check(path), "", made.text)
        haproxyrun.start_haproxy(self, path)
        haproxyrun.start_ours(self, self.fill(text), self.moved, self.folder / "ours.toml")
        return path

    def check(self, sample: str, keys: Sequence[str], expected: Sequence[str], *sources: str) -> None:
        """Compare the proxy with HAProxy, and then with the proxy on the import of the export."""
        path = self.export(OURS[sample])
        tried = [*names(), *odd_names(), *NAMES_OF_OURS]
        counts = self.compare(tried, keys, sources or (None,))
        self.assertEqual(set(expected) - set(counts), set(), str(counts))
        text, report = haproxyrun.imported([path])
        self.assertEqual([str(note) for note in report.notes if note.decides], [])
        (again, *others) = free_ports(len(LISTENERS))
        ports = dict(zip(LISTENERS, [again, *others], strict=True))
        haproxyrun.start_ours(
            self, text, {self.theirs[key]: ports[key] for key in LISTENERS}, self.folder / "again.toml"
        )
        self.theirs = ports
        self.assertEqual(self.compare(tried, keys, sources or (None,)), counts)

    def test_wildcards(self) -> None:
        """Exact names, the longest wildcards, expressions in order and the default lead names alike."""
        self.check("wildcards", ["a"], ("one", "two", "three", "four", "five", "six", haproxyrun.REFUSED))

    def test_clients(self) -> None:
        """Routes of listeners and of clients lead names alike."""
        sources = ("127.0.0.1", "127.0.0.20")
        self.check("clients", LISTENERS, (*BACKENDS, haproxyrun.REFUSED), *sources)

    def test_inverted(self) -> None:
        """Routes whose order in the file is not that of their precedence lead names alike."""
        self.check("inverted", ["a"], ("one", "two", "three", "four", "five", haproxyrun.REFUSED))
