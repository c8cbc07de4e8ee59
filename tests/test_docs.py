"""Tests for the manual: its keys match the schema, its links resolve, its programs run."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import ssl
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path

import msgspec
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.config.schema import File
from sniproxy.ctl import parse
from sniproxy.interfaces import Refused, Request, Target
from sniproxy.testing import question
from tests.support import programs
from tests.support.sockets import TIMEOUT_S, in_thread

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
if not DOCS.exists():
    skip = "docs/ is not here: the tests run apart from the sources"

MAX_README_LINES = 150
GLOSSARY_WORDS = 30
RESOLVER_KEYS = {"type", "deadline", "stale", "others"}


def pages() -> list[Path]:
    """All pages for readers."""
    return [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), ROOT / "bench" / "RESULTS.md", *(ROOT / "examples").rglob("*.md")]


def without_code(text: str) -> str:
    """A page without its code blocks."""
    return re.sub(r"^( *)```.*?^\1```$", "", text, flags=re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and MyST make them."""
    heads = re.findall(r"^#{1,4} (.*)$", without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def links(text: str) -> Iterator[str]:
    """The targets of a page's links and pictures, without those of other sites."""
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(text)):
        if not re.match(r"[a-z]+:", link):
            yield link


class LinkTests(SynchronousTestCase):
    """Links inside the repository."""

    def test_anchors(self) -> None:
        """The anchors of headings are computed as expected."""
        self.assertEqual(
            {"a-b", "default-and-no_name", "its"}, anchors("# A b\n## `[default]` and `[no_name]`\n### It's\n")
        )

    maxDiff = None

    def test_links(self) -> None:
        """Each link leads to an existing file and heading."""
        broken = []
        for page in pages():
            for link in links(page.read_text()):
                name, _, anchor = link.partition("#")
                target = (page.parent / name).resolve() if name else page
                if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
                    broken.append(f"{page.relative_to(ROOT)}: {link}")
        self.assertEqual([], broken)

    def test_index(self) -> None:
        """The index lists every page once for readers and once for the site."""
        index = (DOCS / "index.md").read_text()
        for page in DOCS.rglob("*.md"):
            name = str(page.relative_to(DOCS).with_suffix(""))
            if name != "index":
                self.assertIn(f"]({name}.md)", index)
                self.assertIn(f"\n{name}\n", index)


class CommandTests(SynchronousTestCase):
    """Command lines of the manual; tests.test_examples runs those that need no running proxy."""

    def test_sniproxyctl(self) -> None:
        """Each sniproxyctl command in a code block has a known command and known options."""
        found = 0
        for page in pages():
            for _, block in re.findall(r"^```([^\n`]*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
                for line in re.findall(r"(?:^|\$ |\| )sniproxyctl (.*)$", block.replace("\\\n", " "), re.MULTILINE):
                    found += 1
                    try:
                        parse(shlex.split(line.partition(" > ")[0]))
                    except SystemExit:
                        self.fail(f"{page.relative_to(ROOT)}: sniproxyctl {line}")
        self.assertGreater(found, 8)

    def test_make(self) -> None:
        """Each make target on a page is in the Makefile."""
        text = (ROOT / "Makefile").read_text()
        for page in pages():
            for target in re.findall(r"(?:`|^\s*)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE):
                self.assertRegex(text, rf"(?m)^{target}:", str(page.relative_to(ROOT)))


class KeyTests(SynchronousTestCase):
    """docs/reference/configuration.md."""

    def documented(self) -> dict[str, set[str]]:
        """The keys of each table; top-level keys under an empty name."""
        found: dict[str, set[str]] = {}
        text = (DOCS / "reference" / "configuration.md").read_text()
        for section in text.split("\n## ")[1:]:
            title, _, body = section.partition("\n")
            tables = re.findall(r"\[+([\w.]+)\]+", title) or ([""] if title == "Top of the file" else [])
            rows = re.search(r"^\| key \|.*\n\|[-|]+\n((?:\|.*\n)*)", body, re.MULTILINE)
            for table in tables:
                self.assertIsNotNone(rows, title)
                cells = [line.split("|")[1] for line in rows[1].splitlines()] if rows else []
                found[table] = {key for cell in cells for key in re.findall(r"`(\w+)`", cell)}
        return found

    def test_keys(self) -> None:
        """Every key of the schema is documented in its table, and no other."""
        expected: dict[str, set[str]] = {"": set(), "resolver.NAME": RESOLVER_KEYS - {"others"}}
        for name, kind in typing.get_type_hints(File).items():
            tables = [each for each in (kind, *typing.get_args(kind)) if isinstance(each, type)]
            structs = [each for each in tables if issubclass(each, msgspec.Struct)]
            if structs:
                expected[name] = set(structs[0].__struct_encode_fields__)
            elif name != "resolver":
                expected[""].add(name)
        self.assertEqual(expected, self.documented())


class BrokerTests(SynchronousTestCase):
    """Samples of broker.conf."""

    def samples(self) -> Iterator[tuple[str, dict[str, str]]]:
        """The code blocks with advertised listeners, each with its page."""
        for page in pages():
            for block in re.findall(r"^```\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
                if "advertisedListeners=" in block:
                    yield page.name, dict(line.partition("=")[::2] for line in block.splitlines())

    def test_internal_name(self) -> None:
        """The internal listener has the host of the external one, as stream consumers of Pulsar 5 need it."""
        found = list(self.samples())
        self.assertGreater(len(found), 5)
        for page, settings in found:
            listeners = re.findall(r"(\w+):(pulsar(?:\+ssl)?)://([^:,]+):", settings["advertisedListeners"])
            hosts = {name: host for name, _, host in listeners if name in ("internal", "external")}
            hosts.setdefault("internal", settings.get("advertisedAddress", ""))
            self.assertEqual({"internal", "external"}, set(hosts), page)
            self.assertEqual(hosts["external"], hosts["internal"], page)
            self.assertEqual(hosts["external"], settings.get("advertisedAddress", hosts["external"]), page)

    def test_bound(self) -> None:
        """Each TLS listener that a sample advertises is bound there, too."""
        for page, settings in self.samples():
            if "bindAddresses" in settings:
                secure = r"(\w+:(?:pulsar\+ssl|https)):"
                bound = set(re.findall(secure, settings["bindAddresses"]))
                self.assertEqual(bound, set(re.findall(secure, settings["advertisedListeners"])), page)


class SizeTests(SynchronousTestCase):
    """Lengths of pages."""

    def test_readme(self) -> None:
        """The README has fewer than 150 lines."""
        self.assertLess(len((ROOT / "README.md").read_text().splitlines()), MAX_README_LINES)

    def test_glossary(self) -> None:
        """The glossary has thirty words, in order."""
        words = re.findall(r"^\| ([^|]+) \|", (DOCS / "glossary.md").read_text(), re.MULTILINE)[1:]
        self.assertEqual(GLOSSARY_WORDS, len(words))
        self.assertEqual(sorted(words, key=str.lower), words)


class ProgramTests(TestCase):
    """Programs of the guides."""

    def program(self, page: str, number: int) -> str:
        found = re.findall(r"^```python\n(.*?)^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)
        return str(found[number])

    async def test_embedded(self) -> None:
        """The program of the embedding guide listens, prints an ended connection, and exits on TERM."""
        file = Path(self.mktemp())
        file.write_text(self.program("howto/embed.md", 0))
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
        process: subprocess.Popen[str] = programs.start(
            self, [sys.executable, str(file)], stdout=subprocess.PIPE, env=environment, text=True
        )
        assert process.stdout is not None
        with programs.killed_after(process):
            listening = await in_thread(process.stdout.readline)
            (port,) = re.findall(r"^listening on port (\d+)$", listening, re.MULTILINE)
            await in_thread(self.ask, int(port))
            self.assertEqual("ended: nobody.example.com no_route\n", await in_thread(process.stdout.readline))
        process.send_signal(signal.SIGTERM)
        await in_thread(process.wait, TIMEOUT_S)

    async def test_client_test(self) -> None:
        """The test with trial of the guide for tests of clients passes."""
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "test_guide.py").write_text(self.program("howto/test-a-client.md", 2))
        path = os.pathsep.join(["", *(p or os.getcwd() for p in sys.path)])
        command = [sys.executable, "-m", "twisted.trial", "test_guide"]
        options: dict[str, typing.Any] = {
            "cwd": folder,
            "env": {**os.environ, "PYTHONPATH": path},
            "text": True,
            "capture_output": True,
        }
        ran = await in_thread(lambda: programs.run(command, **options))
        self.assertIn("PASSED (successes=1)", ran.stdout, ran.stderr)

    def ask(self, port: int) -> None:
        address = ("127.0.0.1", port)
        with socket.create_connection(address, timeout=TIMEOUT_S) as plain, self.assertRaises(ssl.SSLError):
            ssl.create_default_context().wrap_socket(plain, server_hostname="nobody.example.com")

    def test_plugin(self) -> None:
        """The resolver plugin of the guide answers and refuses."""
        names: dict[str, typing.Any] = {}
        exec(self.program("howto/write-a-resolver.md", 0), names)
        resolver = names["Pods"]({"domain": "broker.test", "port": 6651}, None)
        known: Request = question("broker-3.pulsar.example.com")
        self.assertEqual((Target("broker-3.broker.test", 6651),), resolver.resolve(known).targets)
        self.assertRaises(Refused, resolver.resolve, question("nobody.pulsar.example.com"))
