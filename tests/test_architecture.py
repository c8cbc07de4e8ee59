"""Tests for the layout of the package: which room imports which (docs/architecture.md), and file sizes."""

from __future__ import annotations

import ast
import functools
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import sniproxy
from tests.support import programs

SOURCE = Path(sniproxy.__file__).parent
ROOT = SOURCE.parent
TESTS = Path(__file__).parent
GENERATED = "_pb2.py"

MAX_TOP_FILES = 8
MAX_LINES = 349

IMPURE_STDLIB = {
    "asyncio", "concurrent", "io", "multiprocessing", "os", "select", "selectors", "shutil", "signal", "socket",
    "socketserver", "ssl", "subprocess", "tempfile", "threading", "time",
}  # fmt: skip

PURE_FOREIGN = {
    "attrs",
    "cryptography",
    "dns",
    "dpkt",
    "google",
    "msgspec",
    "prometheus_client",
    "tomli",
    "tomlkit",
    "yaml",
    "zope",
}
"""Packages without sockets, clock or threads in what we use of them."""

PRIVATE = {
    "sniproxy.resolvers.cache": {"sniproxy.server.resolverset", "sniproxy.cli.explain.resolvers", "sniproxy.testing"},
    "sniproxy.resolvers.dns": set(),
    "sniproxy.resolvers.http": {"sniproxy.resolvers.kubernetes", "sniproxy.resolvers.pulsar"},
    "sniproxy.resolvers.kubernetes": set(),
    "sniproxy.resolvers.pulsar": {"sniproxy.resolvers.kubernetes", "sniproxy.resolvers.zookeeper"},
    "sniproxy.resolvers.zookeeper": set(),
    "sniproxy.inspector.capture": {"sniproxy.ctl", "sniproxy.cli"},
    "sniproxy.server.workers": {"sniproxy.tap"},
    "sniproxy.tap": set(),
    "sniproxy.ctl": set(),
    "sniproxy.demo": set(),
    "sniproxy.testing": {"sniproxy.demo"},
}
"""Rooms inside rooms, and entry points, with the only modules outside them that may import them."""

REACTOR = "twisted.internet.reactor"
ACCESSOR = "sniproxy.util.reactor.global_reactor"
PROGRAMS = (
    "sniproxy.tap",
    "sniproxy.demo.tour",
    "sniproxy.cli.reactor",
    "sniproxy.testing.resolvers",
    "sniproxy.server.workers.lines",  # twistd calls its observer without arguments
)
"""Only these call L{sniproxy.util.reactor.global_reactor}. Everything else gets the reactor by constructor."""


def modules() -> dict[str, Path]:
    """All modules of the package that people wrote, by full name."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        if not path.name.endswith(GENERATED):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(part for part in parts if part != "__init__")] = path
    return found


MODULES = modules()


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of all imports; for a name that is imported from a package, the module if it is one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute here"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in MODULES or whole in (REACTOR, ACCESSOR) else str(node.module)


def imported_for_types(tree: ast.AST) -> set[str]:
    """What only a type checker imports."""
    blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {name for block in blocks for name in imported(block)}


def at_loading(tree: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a module outside functions."""
    for node in ast.iter_child_nodes(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield node
            yield from at_loading(node)


def untyped_reactors(tree: ast.AST) -> list[str]:
    """The parameters, attributes and variables that are called reactor or clock, and whose type is or contains Any."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.arg | ast.AnnAssign) and node.annotation is not None:
            name = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target).rpartition(".")[2]
            is_any = any(isinstance(part, ast.Name) and part.id == "Any" for part in ast.walk(node.annotation))
            if name.strip("_") in ("reactor", "clock") and is_any:
                found.append(name)
    return found


@dataclass(frozen=True)
class Source:
    """What the tests ask of a module. All syntax trees at once would slow down each garbage collection of the run."""

    docstring: str
    defines: bool
    """Whether it defines functions or classes."""
    imports: set[str]
    for_types: set[str]
    imported_at_loading: set[str]
    called_at_loading: set[str]
    untyped_reactors: list[str]

    @classmethod
    def read(cls, path: Path) -> Source:
        tree = ast.parse(path.read_text())
        loading = list(at_loading(tree))
        return cls(
            docstring=ast.get_docstring(tree) or "",
            defines=any(isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) for node in tree.body),
            imports=set(imported(tree)),
            for_types=imported_for_types(tree),
            imported_at_loading={
                name for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom) for name in imported(node)
            },
            called_at_loading={ast.unparse(node.func) for node in loading if isinstance(node, ast.Call)},
            untyped_reactors=untyped_reactors(tree),
        )


@functools.cache
def sources() -> dict[str, Source]:
    """All of L{MODULES}."""
    return {name: Source.read(path) for name, path in MODULES.items()}


def imports() -> dict[str, set[str]]:
    """What each module imports."""
    return {name: source.imports for name, source in sources().items()}


def room(name: str) -> str:
    """The first folder or file below the package: ``net`` of ``sniproxy.net.hello``."""
    return name.split(".")[1] if "." in name else ""


def inside(name: str, *rooms: str) -> bool:
    """Whether a module is one of these, or in one of these packages."""
    return any(name == each or name.startswith(f"{each}.") for each in rooms)


def is_pure(name: str) -> bool:
    """Whether the docstring of a module, or of a package above it, has the word "Pure.". Generated code is pure."""
    parts = name.split(".")
    above = [".".join(parts[:count]) for count in range(2, len(parts) + 1)]
    if name.endswith("_pb2"):
        return True
    return any("Pure." in sources()[each].docstring for each in above if each in MODULES)


def table(text: str) -> dict[str, set[str]]:
    """The rooms of docs/architecture.md, lowest first, each with the rooms that it may import."""
    rows = re.findall(r"^\| `([a-z]+)` \| [^|]+ \| ([^|]*) \|$", text, re.MULTILINE)
    return {name: set(re.findall(r"`([a-z]+)`", others)) for name, others in rows}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of a circle of imports; empty if there is none."""
    left = {name: {other for other in others if other in graph and other != name} for name, others in graph.items()}
    while free := [name for name, others in left.items() if not others]:
        for name in free:
            del left[name]
        for others in left.values():
            others.difference_update(free)
    return sorted(left)


class RoomTests(SynchronousTestCase):
    """Which module may import which."""

    def test_read_imports(self) -> None:
        """The test sees imports of all forms, and inside functions."""
        text = "import a.b, c\ndef f():\n    from sniproxy import tap, no\n    from twisted.internet import reactor"
        found = ["a.b", "c", "sniproxy", "sniproxy.tap", REACTOR]
        self.assertEqual(sorted(imported(ast.parse(text))), found)

    def test_read_table(self) -> None:
        """The test reads the rows of the table of rooms."""
        text = "| room | what | imports |\n|---|---|---|\n| `a` | x, `y` | |\n| `b` | z | `a`, `c` |\n"
        self.assertEqual({"a": set(), "b": {"a", "c"}}, table(text.replace("| |", "|  |")))

    def test_find_circle(self) -> None:
        """The test finds circles of imports."""
        self.assertEqual([], circle({"a": {"b"}, "b": {"os"}}))
        self.assertEqual(["a", "b", "c"], circle({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": set()}))

    def test_rooms(self) -> None:
        """The manual lists every room, and exactly the rooms that each one imports, all of them lower."""
        rooms = table((ROOT / "docs" / "architecture.md").read_text())
        self.assertEqual({room(name) for name in MODULES} - {""}, set(rooms))
        found: dict[str, set[str]] = {name: set() for name in rooms}
        for name, others in imports().items():
            if name != "sniproxy":
                found[room(name)] |= {room(other) for other in others if inside(other, "sniproxy")}
        order = list(rooms)
        for name, others in found.items():
            others -= {"", name}
            self.assertEqual(sorted(rooms[name]), sorted(others), f"what {name} imports")
            higher = [other for other in others if order.index(other) > order.index(name)]
            self.assertEqual([], higher, f"{name} imports rooms above it")

    def test_no_circle(self) -> None:
        """No module imports itself through others."""
        self.assertEqual([], circle({name: others for name, others in imports().items() if name != "sniproxy"}))

    def test_private(self) -> None:
        """Private rooms are imported only by the listed modules."""
        for private, allowed in PRIVATE.items():
            self.assertTrue(any(inside(name, private) for name in MODULES), private)
            importers = {
                name
                for name, others in imports().items()
                if not inside(name, private) and any(inside(other, private) for other in others)
            }
            self.assertEqual([], sorted(name for name in importers if not inside(name, *allowed)), private)

    def test_pure(self) -> None:
        """Modules that call themselves pure import no sockets, clock, files or Twisted, and only each other."""
        bad = []
        pure = [name for name in MODULES if is_pure(name)]
        self.assertGreater(len(pure), 60)
        for name in pure:
            for other in sources()[name].imports - sources()[name].for_types:
                top = other.partition(".")[0]
                if top == "sniproxy":
                    good = other == "sniproxy" or is_pure(other)
                else:
                    good = top in PURE_FOREIGN or (top in sys.stdlib_module_names and top not in IMPURE_STDLIB)
                if not good:
                    bad.append(f"{name} imports {other}")
        self.assertEqual([], bad)

    def test_reactor_comes_by_constructor(self) -> None:
        """Only programs get the global reactor, and never when a module is loaded."""
        self.assertEqual(["sniproxy.util.reactor"], [name for name, others in imports().items() if REACTOR in others])
        importers = [name for name, others in imports().items() if ACCESSOR in others and not inside(name, *PROGRAMS)]
        self.assertEqual([], importers)
        for name, source in sources().items():
            self.assertNotIn(REACTOR, source.imported_at_loading, name)
            self.assertNotIn("global_reactor", source.called_at_loading, name)

    def test_reactor_is_typed(self) -> None:
        """mypy checks the use of the reactor: no parameter, attribute or variable of this name is C{Any}."""
        text = "class A:\n    reactor: Any\ndef f(clock: Any | None, a: Any, *, reactor: IReactor): pass\n"
        self.assertEqual(["reactor", "clock"], untyped_reactors(ast.parse(text)))
        untyped = {name for name, source in sources().items() if source.untyped_reactors}
        self.assertEqual(set(), untyped)

    def test_plugins(self) -> None:
        """Twisted finds our plugins without importing a reactor, or the proxy behind the names."""
        program = (
            "import sys, twisted.plugins.sniproxy_plugins\n"
            "bad = {'twisted.internet.reactor', 'sniproxy.tap', 'sniproxy.service', 'sniproxy.resolvers.static'}\n"
            "print(sorted(bad & set(sys.modules)))"
        )
        ran = programs.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
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
            "       'sniproxy.admin.site', 'sniproxy.inspector.live', 'sniproxy.bridge.runtime',\n"
            "       'sniproxy.bridge.handler', 'sniproxy.server.workers.supervisor',\n"
            "       'sniproxy.config.bridges', 'sniproxy.config.allowed', 'sniproxy.resolvers.cache.cache'}\n"
            "print(sorted(bad & set(sys.modules)), list(options.proxy.addresses))"
        )
        ran = programs.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
        self.assertEqual(("[] ['tcp:0:interface=127.0.0.1']\n", 0), (ran.stdout, ran.returncode), ran.stderr)


class FileTests(SynchronousTestCase):
    """Rules for every file."""

    def test_top(self) -> None:
        """The top of the package has entry points and public modules only."""
        self.assertLessEqual(len(list(SOURCE.glob("*.py"))), MAX_TOP_FILES)

    def test_test_files(self) -> None:
        """Every source file with code has a test file of its name, at the same place under tests."""
        missing = []
        for name, path in MODULES.items():
            inner = path.relative_to(SOURCE)
            test = TESTS / inner.parent / f"test_{inner.stem.strip('_')}.py"
            if sources()[name].defines and not test.exists():
                missing.append(str(test.relative_to(ROOT)))
        self.assertEqual([], missing)

    def test_no_test_imports_another(self) -> None:
        """No test module imports another: helpers are in modules of their own."""
        bad = [
            f"{path.relative_to(ROOT)} imports {other}"
            for path in sorted(TESTS.rglob("*.py"))
            for other in imported(ast.parse(path.read_text()))
            if other.startswith("tests.") and other.rpartition(".")[2].startswith("test_")
        ]
        self.assertEqual([], bad)

    def test_docstrings(self) -> None:
        """Every module has a docstring."""
        self.assertEqual([], [name for name, source in sources().items() if not source.docstring])

    def test_size(self) -> None:
        """A file has fewer than 350 lines."""
        counts = {name: len(path.read_text().splitlines()) for name, path in MODULES.items()}
        self.assertEqual({}, {name: count for name, count in counts.items() if count > MAX_LINES})

    def test_no_sleep(self) -> None:
        """Neither the proxy nor its tests wait by sleeping."""
        sleeping = re.compile(r"\btime\.sleep\b|\bfrom time import .*\bsleep\b")
        paths = [*SOURCE.rglob("*.py"), *TESTS.rglob("*.py")]
        self.assertEqual(
            [str(path) for path in paths if path != Path(__file__) and sleeping.search(path.read_text())], []
        )
