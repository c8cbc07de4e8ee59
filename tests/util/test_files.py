"""Detection of changed files."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.util.files import WATCH_INTERVAL_S, FileWatch, signature


class SignatureTests(SynchronousTestCase):
    """The signature of a path."""

    def test_changes(self) -> None:
        """The signature changes if a file, a folder's file or a link's target is written, replaced or removed."""
        folder = Path(self.mktemp())
        folder.mkdir()
        file, link = folder / "file", folder / "link"
        seen = [signature(str(file))]
        file.write_text("one")
        seen.append(signature(str(file)))
        (folder / "new").write_text("two")
        os.replace(folder / "new", file)
        seen.append(signature(str(file)))
        self.assertEqual(3, len({repr(one) for one in seen}))
        link.symlink_to("file")
        self.assertEqual(signature(str(file)), signature(str(link)))
        before = signature(str(folder))
        (folder / "other").write_text("three")
        self.assertNotEqual(before, signature(str(folder)))
        link.unlink()
        link.symlink_to("nowhere")
        self.assertEqual((0, 0, 0), signature(str(link)))


class WatchTests(SynchronousTestCase):
    """Watching a path."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.path.write_text("one")
        self.told = 0
        self.watch = FileWatch(self.clock, str(self.path), self.changed)
        self.addCleanup(self.watch.stop)
        self.watch.note()
        self.watch.start()
        self.watch.start()

    def changed(self) -> None:
        self.told += 1
        self.watch.note()

    def looks(self, count: int) -> int:
        """The number of calls after a number of checks."""
        for _ in range(count):
            self.clock.advance(WATCH_INTERVAL_S)
        return self.told

    def test_no_change(self) -> None:
        """An unchanged file is not reported."""
        self.assertEqual(0, self.looks(3))

    def test_change(self) -> None:
        """A change is reported once, when two checks found the same file."""
        self.path.write_text("two!")
        self.assertEqual(0, self.looks(1))
        self.path.write_text("two and a half")
        self.assertEqual(0, self.looks(1))
        self.assertEqual(1, self.looks(1))
        self.assertEqual(1, self.looks(3))

    def test_removed(self) -> None:
        """A removal is a change, and so is a return."""
        self.path.unlink()
        self.assertEqual(1, self.looks(2))
        self.path.write_text("one")
        self.assertEqual(2, self.looks(2))

    def test_stop(self) -> None:
        """A stopped watch does not check; it can be started again."""
        self.watch.stop()
        self.watch.stop()
        self.assertFalse(self.watch.running)
        self.path.write_text("two!")
        self.assertEqual(0, self.looks(3))
        self.watch.start()
        self.assertEqual(1, self.looks(2))
