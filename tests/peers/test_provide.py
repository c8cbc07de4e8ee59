"""What `make peers` makes is whole or not there, and a failed download is told from any other failure."""

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
    """A test with a cache of its own, whose standard output is caught."""

    def setUp(self) -> None:
        """An empty cache."""
        self.cache = Path(self.mktemp()).resolve()
        self.enterContext(mock.patch.dict(os.environ, XDG_CACHE_HOME=str(self.cache)))
        provide.cache_folder().mkdir(parents=True)
        self.said = io.StringIO()
        self.patch(sys, "stdout", self.said)
        self.made: list[str] = []

    def part(self, name: str, failure: Exception | None = None, programs: tuple[str, ...] = ()) -> Part:
        """A part that is made by writing one file, and then fails if it shall."""

        def make(folder: Path) -> None:
            self.made.append(name)
            (folder / "file").write_text(name)
            if failure is not None:
                raise failure

        return Part(name, programs, "0123", make)

    def left(self) -> list[str]:
        """What is in the cache, but for the lock."""
        return sorted(path.name for path in provide.cache_folder().iterdir() if path.name != "lock")


class KeyTests(ProvideCase):
    """The key of a part."""

    def test_content(self) -> None:
        """It changes with a file's content and name, and with a text, and with nothing else."""
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
        """Text that moves from one ingredient to its neighbour changes it."""
        self.assertNotEqual(provide.key("ab", "c"), provide.key("a", "bc"))

    def test_cache_is_outside_the_checkout(self) -> None:
        """Without XDG_CACHE_HOME it is in the home folder."""
        with mock.patch.dict(os.environ, HOME="/home/somebody"):
            del os.environ["XDG_CACHE_HOME"]
            self.assertEqual(provide.cache_folder(), Path("/home/somebody/.cache/sniproxy-peers"))

    def test_parts(self) -> None:
        """All parts have names and keys of their own."""
        parts = provide.parts()
        self.assertEqual([part.name for part in parts], ["jars", "classes", "python", "go"])
        self.assertEqual(len({part.key for part in parts}), len(parts))
        self.assertEqual(provide.part("go").path.parent, provide.cache_folder())


class MakeTests(ProvideCase):
    """Making one part."""

    def test_once(self) -> None:
        """A part that is there is not made again."""
        part = self.part("a")
        provide.make(part)
        provide.make(part)
        self.assertEqual(self.made, ["a"])
        self.assertEqual((part.path / "file").read_text(), "a")
        self.assertEqual(self.left(), ["a-0123"])

    def test_whole_or_not_at_all(self) -> None:
        """A part that could not be made leaves nothing, and is tried again by the next run."""
        self.assertRaises(CommandError, provide.make, self.part("a", CommandError("broken")))
        self.assertEqual(self.left(), [])
        provide.make(self.part("a"))
        self.assertEqual(self.left(), ["a-0123"])

    def test_killed_run(self) -> None:
        """What a killed run had begun is removed, and is not taken for the part."""
        left = provide.cache_folder() / ".a-0123-killed"
        left.mkdir()
        provide.make(self.part("a"))
        self.assertEqual(self.left(), ["a-0123"])

    def test_lock(self) -> None:
        """While somebody holds the lock nobody else gets it; afterwards it is free."""
        file = provide.cache_folder() / "lock"
        with file.open("a") as other:
            with provide.locked(file):
                self.assertRaises(BlockingIOError, fcntl.flock, other, fcntl.LOCK_EX | fcntl.LOCK_NB)
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


class CommandTests(ProvideCase):
    """Running other programs."""

    def setUp(self) -> None:
        """No pauses."""
        super().setUp()
        self.tries: list[Sequence[str]] = []
        self.pauses: list[float] = []

    def download(self, failures: int) -> None:
        """A download whose first tries fail."""

        def runner(command: Sequence[str], cwd: Path | None) -> None:
            self.tries.append(command)
            if len(self.tries) <= failures:
                raise CommandError("no answer")

        provide.download(["fetch"], runner=runner, pause=self.pauses.append)

    def test_download_is_tried_again(self) -> None:
        """After a failure and a pause it is tried again, until it is done."""
        self.download(failures=2)
        self.assertEqual((len(self.tries), self.pauses), (3, list(provide.PAUSES)))

    def test_download_fails(self) -> None:
        """After the last try it has failed, with what the command said."""
        failure = self.assertRaises(DownloadError, self.download, failures=3)
        self.assertIn("no answer", str(failure))
        self.assertEqual(len(self.tries), 3)

    def test_failed_command(self) -> None:
        """The end of what a failed command said is in the error."""
        command = [sys.executable, "-c", "print('this went wrong'); raise SystemExit(4)"]
        failure = self.assertRaises(CommandError, provide.run, command)
        self.assertIn("status 4\nthis went wrong", str(failure))


class MainTests(ProvideCase):
    """The command as a whole: its exit status and its last line."""

    def main(self, *parts: Part, missing: Sequence[str] = ()) -> tuple[int, str]:
        """Exit status and last line."""
        self.patch(provide, "parts", lambda: list(parts))
        self.patch(needs, "missing", lambda programs: list(missing))
        return provide.main(), self.said.getvalue().splitlines()[-1]

    def test_done(self) -> None:
        """All parts were made: 0."""
        status, last = self.main(self.part("a"), self.part("b"))
        self.assertEqual((status, self.made), (0, ["a", "b"]))
        self.assertIn("all there", last)

    def test_download_failed(self) -> None:
        """75, and a line that says so."""
        status, last = self.main(self.part("a", DownloadError("no answer")))
        self.assertEqual((status, last), (75, "DOWNLOAD FAILED: no answer"))

    def test_other_failure(self) -> None:
        """Another failure does not read like a failed download."""
        status, last = self.main(self.part("a", CommandError("does not compile")))
        self.assertEqual((status, last), (1, "peers: does not compile"))

    def test_missing_program(self) -> None:
        """What needs no missing program is made; the program is named, with the command that installs it: 69."""
        status, last = self.main(self.part("a", programs=("mvn",)), self.part("b"), missing=["mvn"])
        self.assertEqual((status, self.made), (69, ["b"]))
        self.assertIn("missing here: mvn. As root: apt-get install -y --no-install-recommends maven", last)
