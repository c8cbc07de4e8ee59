"""Tests for the house itself: which room may import which (docs/architecture.md), and that every file has its tests."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import sniproxy

SOURCE = Path(sniproxy.__file__).parent
ROOT = SOURCE.parent
GENERATED = "_pb2.py"

PURE = (
    "sniproxy.resolvers.cache.breaker",
    "sniproxy.util.lru",
    "sniproxy.resolvers.cache.outcomes",
    "sniproxy.resolvers.dns.wire",
    "sniproxy.resolvers.dns.resolvconf",
    "sniproxy.resolvers.dns.servers",
    "sniproxy.resolvers.pulsar.advertised",
    "sniproxy.resolvers.pulsar.options",
    "sniproxy.resolvers.http.answer",
    "sniproxy.resolvers.http.question",
    "sniproxy.resolvers.pulsar.brokers",
    "sniproxy.resolvers.namefile",
    "sniproxy.util.names",
    "sniproxy.routing.policy",
    "sniproxy.config.warnings",
    "sniproxy.wire",
    "sniproxy.routing",
    "sniproxy.net.endpoints",
    "sniproxy.config.health",
    "sniproxy.config.dump",
    "sniproxy.config.inspectlog",
    "sniproxy.config.limits",
    "sniproxy.connection.admission",
    "sniproxy.util.buffered",
    "sniproxy.config.bridges",
    "sniproxy.config.parser",
    "sniproxy.config.resolvers",
    "sniproxy.config.model",
    "sniproxy.config.schema",
    "sniproxy.pulsar.serviceurl",
    "sniproxy.util.text",
    "sniproxy.config.describe",
    "sniproxy.events",
    "sniproxy.interfaces",
    "sniproxy.pulsar",
    "sniproxy.inspector.capture",
    "sniproxy.cli.tables",
    "sniproxy.cli.merge",
    "sniproxy.cli.explain.why",
    "sniproxy.cli.explain.report",
    "sniproxy.cli.explain.options",
    "sniproxy.client.failures",
    "sniproxy.client.logins",
    "sniproxy.client.redirects",
    "sniproxy.client.topics",
    "sniproxy.relay.kernel.assembly",
    "sniproxy.relay.kernel.program",
    "sniproxy.config.allowed",
    "sniproxy.bridge.answers",
    "sniproxy.bridge.asked",
    "sniproxy.bridge.stream",
    "sniproxy.config.workers",
    "sniproxy.configtables",
    "sniproxy.config.diagnostics.collecting",
    "sniproxy.config.diagnostics.cures",
    "sniproxy.config.diagnostics.lines",
    "sniproxy.config.diagnostics.repair",
    "sniproxy.config.diagnostics.syntax",
    "sniproxy.config.diagnostics.units",
)
"""Rooms without sockets, clock or Twisted."""

IMPURE_STDLIB = {
    "asyncio", "concurrent", "io", "multiprocessing", "os", "select", "selectors", "shutil", "signal", "socket",
    "socketserver", "ssl", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip

PURE_FOREIGN = {
    "sniproxy.inspector.capture.packets": {"attrs", "dpkt"},
    "sniproxy.resolvers.dns.wire": {"attrs", "dns"},
    "sniproxy.config.parser": {"attrs", "msgspec", "tomli"},
    "sniproxy.routing.templates": {"attrs", "msgspec"},
    "sniproxy.config.dump": {"attrs", "msgspec"},
    "sniproxy.config.inspectlog": {"msgspec"},
    "sniproxy.config.model": {"msgspec"},
    "sniproxy.config.workers": {"attrs", "msgspec"},
    "sniproxy.resolvers.namefile": {"attrs", "tomli"},
    "sniproxy.config.schema": {"msgspec"},
    "sniproxy.interfaces": {"attrs", "zope"},
    "sniproxy.pulsar.commands": {"google"},
    "sniproxy.bridge.asked": {"attrs", "google"},
    "sniproxy.config.listeners": {"msgspec"},
    "sniproxy.config.diagnostics.lines": {"tomli"},
    "sniproxy.config.diagnostics.syntax": {"attrs", "tomli"},
}
"""Packages beyond the standard library and attrs that a pure module may import."""

TOP = (
    "sniproxy.server.build",
    "sniproxy.server.routecheck",
    "sniproxy.server.drain",
    "sniproxy.cli.explain.asking",
    "sniproxy.cli.explain.leading",
    "sniproxy.cli.explain.looking",
    "sniproxy.cli.explain.command",
    "sniproxy.server.listeners",
    "sniproxy.server.connections",
    "sniproxy.server.reloader",
    "sniproxy.server.resolverset",
    "sniproxy.server.observers",
    "sniproxy.service",
    "sniproxy.tap",
    "sniproxy.server.workers",
)
"""They build and wire; nobody else knows all."""

HOST_ENDPOINT = "sniproxy.net.hostendpoint"
LOOKUPS = (HOST_ENDPOINT, "sniproxy.net.daemonthread")
"""What looks names up, without Twisted's threads: for resolvers and clients, too."""

# Asks for the limit of open files, and shares the loop's rule with the dialer, so that both say the same.
CHECK_MAY = {"sniproxy.net.veto"}


def modules() -> dict[str, Path]:
    """All of the project's modules that people wrote, by full name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if not path.name.endswith(GENERATED):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = modules()


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of all that is imported; of a name from a package, the module, when it is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES or whole == "twisted.internet.reactor" else str(node.module)


IMPORTS = {name: set(imported(ast.parse(path.read_text()))) for name, path in MODULES.items()}


def inside(name: str, *rooms: str) -> bool:
    """Whether a module is one of these, or in one of these packages."""
    return any(name == room or name.startswith(f"{room}.") for room in rooms)


class RoomTests(SynchronousTestCase):
    """Who may import whom."""

    def only(self, importers: Iterator[str], allowed: tuple[str, ...], of: str = "sniproxy") -> None:
        """Of `of`, these modules import only what is allowed."""
        bad = [
            f"{name} imports {other}"
            for name in importers
            for other in sorted(IMPORTS[name])
            if inside(other, of) and not inside(other, *allowed) and other not in ("sniproxy",)
        ]
        self.assertEqual(bad, [])

    def room(self, *rooms: str) -> Iterator[str]:
        found = [name for name in MODULES if inside(name, *rooms)]
        self.assertTrue(found, f"there is no {rooms}")
        return iter(found)

    def outside(self, *rooms: str) -> Iterator[str]:
        return iter([name for name in MODULES if not inside(name, *rooms)])

    def nobody_imports(self, importers: Iterator[str], *rooms: str) -> None:
        bad = [f"{name} imports {other}" for name in importers for other in IMPORTS[name] if inside(other, *rooms)]
        self.assertEqual(bad, [])

    def test_read_imports(self) -> None:
        """This test sees imports of all forms, and inside functions."""
        text = (
            "import a.b, c\ndef f():\n    from sniproxy import check, nothing\n    from twisted.internet import reactor"
        )
        found = ["a.b", "c", "sniproxy", "sniproxy.config.describe", "twisted.internet.reactor"]
        self.assertEqual(sorted(imported(ast.parse(text))), found)

    def test_pure(self) -> None:
        """Pure modules import the standard library without sockets, clock and files, attrs, and each other."""
        bad = []
        for name in self.room(*PURE):
            foreign = PURE_FOREIGN.get(name, {"attrs"})
            for other in IMPORTS[name]:
                top = other.partition(".")[0]
                if top == "sniproxy":
                    ours = other == "sniproxy" or inside(other, *PURE)
                    good = ours or (name == "sniproxy.config.describe" and other in CHECK_MAY)
                else:
                    good = top in foreign or (top in sys.stdlib_module_names and top not in IMPURE_STDLIB)
                if not good:
                    bad.append(f"{name} imports {other}")
        self.assertEqual(bad, [])

    def test_wire(self) -> None:
        """The parsers know names, how texts are quoted, and nothing else of ours; names know nothing."""
        self.only(self.room("sniproxy.wire"), ("sniproxy.util.names", "sniproxy.util.text", "sniproxy.wire"))
        self.only(self.room("sniproxy.util.names", "sniproxy.pulsar.frames", "sniproxy.net.endpoints"), ())

    def test_interfaces(self) -> None:
        """The words for plugins depend on no room of ours, but for how names are written."""
        self.only(self.room("sniproxy.interfaces"), ("sniproxy.util.names",))

    def test_resolvers(self) -> None:
        """Resolvers import the interfaces, pure modules, each other, and Twisted: what a third party's can import."""
        self.only(
            self.room("sniproxy.resolvers"),
            ("sniproxy.resolvers", "sniproxy.util.files", "sniproxy.tls.clientcontext", *LOOKUPS, *PURE),
        )

    def test_asking(self) -> None:
        """What stands around every resolver knows the words for plugins, no plugin; the top alone knows it."""
        self.only(self.room("sniproxy.resolvers.cache"), ("sniproxy.resolvers.cache", *PURE))
        self.nobody_imports(
            self.outside("sniproxy.resolvers.cache", "sniproxy.testing", *TOP), "sniproxy.resolvers.cache"
        )
        self.nobody_imports(self.outside(), "sniproxy.testing")

    def test_net(self) -> None:
        """The room with the sockets knows nothing of those above it."""
        above = {
            "sniproxy.config.parser",
            "sniproxy.config.model",
            "sniproxy.config.describe",
            "sniproxy.config.warnings",
            "sniproxy.pulsar",
            "sniproxy.inspector.capture",
        }
        pure = tuple(set(PURE) - above)
        self.only(self.room("sniproxy.net"), ("sniproxy.net", "sniproxy.tls", *pure))

    def test_kernel(self) -> None:
        """The kernel relay knows sockets and nothing above them; a tunnel's life and the service alone know it."""
        self.only(self.room("sniproxy.relay.kernel"), ("sniproxy.relay.kernel", "sniproxy.net", "sniproxy.events"))
        self.nobody_imports(
            self.outside("sniproxy.relay.kernel", "sniproxy.connection.lifecycle", "sniproxy.service"),
            "sniproxy.relay.kernel",
        )

    def test_tls(self) -> None:
        """What TLS is made of knows no sockets; two of its modules are pure."""
        pure = ("sniproxy.util.names", "sniproxy.util.text")
        self.only(self.room("sniproxy.tls"), ("sniproxy.tls", "sniproxy.util.files", *pure))
        for name in ("sniproxy.tls.pem", "sniproxy.tls.selection"):
            foreign = {other.partition(".")[0] for other in IMPORTS[name]} - set(sys.stdlib_module_names)
            self.assertLessEqual(foreign, {"attrs", "cryptography", "sniproxy"})
            self.assertFalse(IMPURE_STDLIB & IMPORTS[name])
        self.nobody_imports(
            self.outside("sniproxy.connection.handler", "sniproxy.bridge", *TOP), "sniproxy.connection.termination"
        )

    def test_side_rooms(self) -> None:
        """The access log is fed by events; it knows no connection."""
        self.only(
            self.room("sniproxy.logs.access", "sniproxy.logs.writer", "sniproxy.logs.twistd"),
            ("sniproxy.events", "sniproxy.util.text", "sniproxy.logs.writer", "sniproxy.logs.twistd"),
        )

    def test_workers(self) -> None:
        """Workers and their supervisor are the command line's affair; but for what they serve, nobody else knows."""
        for name in MODULES:
            if not inside(name, "sniproxy.server.workers", "sniproxy.tap"):
                known = {other for other in IMPORTS[name] if inside(other, "sniproxy.server.workers")}
                self.assertLessEqual(known, {"sniproxy.config.workers"}, name)

    def test_top(self) -> None:
        """Nobody imports tap; the service is tap's, and the demo's, which embeds it."""
        self.nobody_imports(self.outside(), "sniproxy.tap")
        self.nobody_imports(self.outside("sniproxy.tap", "sniproxy.demo"), "sniproxy.service")
        self.nobody_imports(
            self.outside(*TOP, "sniproxy.demo"),
            "sniproxy.connection.handler",
            "sniproxy.logs.access",
            "sniproxy.inspector.live",
        )

    def test_admin(self) -> None:
        """The admin endpoint is fed by events and asks through protocols; only who wires it knows it."""
        self.only(
            self.room("sniproxy.admin"),
            (
                *("sniproxy.admin", "sniproxy.events", "sniproxy.util.text"),
                *("sniproxy.pulsar.events", "sniproxy.inspector.entries", "sniproxy.inspector.ledger"),
            ),
        )
        self.nobody_imports(self.outside("sniproxy.admin", *TOP), "sniproxy.admin")

    def test_client(self) -> None:
        """The clients' side knows nothing of the proxy, and of each other only what is below."""
        below = (
            "sniproxy.tls.clientcontext",
            "sniproxy.tls.pem",
            "sniproxy.tls.trust",
            "sniproxy.tls.contexts",
            HOST_ENDPOINT,
            *PURE,
        )
        self.only(
            self.room("sniproxy.client.endpoint", "sniproxy.tls.clientcontext", "sniproxy.client.endpointparser"), below
        )
        command = ("sniproxy.cli.lookup", "sniproxy.cli.lookupreport", "sniproxy.cli.lookupoptions")
        self.only(self.room(*command), (*command, "sniproxy.client", "sniproxy.tls.clientcontext", *PURE))
        self.only(
            self.room("sniproxy.client"),
            ("sniproxy.client", "sniproxy.client.endpoint", "sniproxy.tls.clientcontext", HOST_ENDPOINT, *PURE),
        )

    def test_bridge(self) -> None:
        """The bridge is a way of life beside the proxy's own; but for how it is written, only who builds knows it."""
        self.nobody_imports(self.room("sniproxy.bridge"), "sniproxy.connection.handler", *TOP)
        for name in MODULES:
            if not inside(name, "sniproxy.bridge", *TOP):
                bridges = {other for other in IMPORTS[name] if inside(other, "sniproxy.bridge")}
                self.assertLessEqual(bridges, {"sniproxy.config.allowed"}, name)

    def test_demo(self) -> None:
        """Nothing outside the demo imports the demo."""
        self.nobody_imports(self.outside("sniproxy.demo"), "sniproxy.demo")

    def test_pulsar(self) -> None:
        """What is tunnelled is read by the side rooms only; a conversation knows one frame, to be told by it."""
        readers = (
            "sniproxy.connection.handler",
            "sniproxy.inspector.live",
            "sniproxy.config.inspectlog",
            "sniproxy.cli.captureoptions",
            "sniproxy.server.observers",
            "sniproxy.demo",
            "sniproxy.pulsar",
            "sniproxy.admin",
            "sniproxy.inspector.capture",
            "sniproxy.cli.tables",
            "sniproxy.cli.adminclient",
            "sniproxy.cli.admincommands",
            "sniproxy.cli.merge",
            "sniproxy.ctl",
            "sniproxy.client",
            "sniproxy.bridge",
        )
        self.nobody_imports(self.outside(*readers), "sniproxy.pulsar")

    def test_capture(self) -> None:
        """Captures are the command line's affair, and nobody imports that."""
        self.nobody_imports(self.outside("sniproxy.inspector.capture", "sniproxy.ctl"), "sniproxy.inspector.capture")
        self.nobody_imports(self.outside(), "sniproxy.ctl")

    def test_reactor_comes_by_constructor(self) -> None:
        """The global reactor is imported by the programs' entrances alone, and never when a module is loaded."""
        reactor = "twisted.internet.reactor"
        self.nobody_imports(
            self.outside(
                "sniproxy.tap",
                "sniproxy.demo.tour",
                "sniproxy.cli.lookup",
                "sniproxy.cli.explain.command",
                "sniproxy.testing",
                "sniproxy.server.workers.lines",  # twistd calls its observer without arguments
            ),
            reactor,
        )
        for name, path in MODULES.items():
            body = ast.parse(path.read_text()).body
            at_loading = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
            self.assertNotIn(reactor, {other for node in at_loading for other in imported(node)}, name)

    def test_plugins(self) -> None:
        """Twisted finds our plugins without importing a reactor, or the proxy behind the names."""
        program = (
            "import sys, twisted.plugins.sniproxy_plugins\n"
            "bad = {'twisted.internet.reactor', 'sniproxy.tap', 'sniproxy.service', 'sniproxy.resolvers.static'}\n"
            "print(sorted(bad & set(sys.modules)))"
        )
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual((ran.stdout, ran.returncode), ("[]\n", 0), ran.stderr)

    def test_plain_configuration(self) -> None:
        """A proxy that has neither admin endpoint, inspector, bridge nor plugins loads nothing that only they need."""
        program = (
            "import sys\n"
            "from twisted.internet import reactor\n"
            "from sniproxy.tap import Options\n"
            "options = Options()\n"
            "options.parseOptions(['--listen', 'tcp:0:interface=127.0.0.1', '--route', 'a.test=127.0.0.1:1'])\n"
            "options.proxy.startService()\n"
            "bad = {'twisted.web', 'twisted.conch', 'google.protobuf', 'prometheus_client', 'dns', 'kazoo', 'dpkt',\n"
            "       'sniproxy.admin.site', 'sniproxy.inspector.live', 'sniproxy.bridge.spans', 'sniproxy.bridge.crossing',\n"
            "       'sniproxy.relay.kernel.relay', 'sniproxy.server.workers.supervisor', 'sniproxy.config.bridges',\n"
            "       'sniproxy.config.allowed', 'sniproxy.resolvers.cache.cache'}\n"
            "print(sorted(bad & set(sys.modules)), list(options.proxy.addresses))"
        )
        ran = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(("[] ['tcp:0:interface=127.0.0.1']\n", 0), (ran.stdout, ran.returncode), ran.stderr)


class FileTests(SynchronousTestCase):
    """What every file has."""

    def holds_code(self, path: Path) -> bool:
        body = ast.parse(path.read_text()).body
        return any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in body)

    def test_test_files(self) -> None:
        """Every source file that holds code has a test file of its name, at its place under tests."""
        tests = Path(__file__).parent
        missing = []
        for path in MODULES.values():
            inner = path.relative_to(SOURCE)
            test = tests / inner.parent / f"test_{inner.stem.strip('_')}.py"
            if self.holds_code(path) and not test.exists():
                missing.append(str(test.relative_to(tests.parent)))
        self.assertEqual(missing, [])

    def test_packages(self) -> None:
        """Every folder of code is on the list of what is installed."""
        setup = ConfigParser()
        setup.read(ROOT / "setup.cfg")
        listed = setup["options"]["packages"].split()
        folders = {file.parent.relative_to(ROOT) for file in SOURCE.rglob("__init__.py")}
        self.assertLessEqual({".".join(folder.parts) for folder in folders}, set(listed))

    def test_docstrings(self) -> None:
        """Every module says what it is for."""
        silent = [name for name, path in MODULES.items() if not ast.get_docstring(ast.parse(path.read_text()))]
        self.assertEqual(silent, [])

    def test_size(self) -> None:
        """A file has fewer than 350 lines: it can be read in one go."""
        long = [
            f"{name}: {count}" for name, path in MODULES.items() if (count := len(path.read_text().splitlines())) >= 350
        ]
        self.assertEqual(long, [])

    def test_no_sleep(self) -> None:
        """Nothing waits by sleeping, neither the proxy nor its tests."""
        sleeping = re.compile(r"\btime\.sleep\b|\bfrom time import .*\bsleep\b")
        paths = [*SOURCE.rglob("*.py"), *Path(__file__).parent.rglob("*.py")]
        self.assertEqual(
            [str(path) for path in paths if path != Path(__file__) and sleeping.search(path.read_text())], []
        )

    def test_helpers(self) -> None:
        """No test module is imported: helpers that tests share are in modules of their own."""
        tests = Path(__file__).parent
        modules = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in tests.rglob("test_*.py")}
        bad = []
        for path in tests.rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                found = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
                if isinstance(node, ast.ImportFrom):
                    found = [str(node.module), *(f"{node.module}.{name}" for name in found)]
                bad += [f"{path.relative_to(ROOT)} imports {name}" for name in found if name in modules]
        self.assertEqual(bad, [])
