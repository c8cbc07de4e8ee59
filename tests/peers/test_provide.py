"""Tests for tests.peers.provide."""

from __future__ import annotations

import fcntl
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from tests.peers import needs, provide
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
        """Names and keys of parts are unique."""
        parts = provide.parts()
        self.assertEqual([part.name for part in parts], ["jars", "classes", "python", "go"])
        self.assertEqual(len({part.key for part in parts}), len(parts))
        self.assertEqual(provide.part("go").path.parent, provide.cache_folder())


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
        self.assertEqual((status, self.made), (0, ["a", "b"]))
        self.assertIn("all there", last)

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
