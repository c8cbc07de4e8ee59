"""Tests for sniproxy.tls.reloaded."""

from __future__ import annotations

import os
from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.pem import BadPem
from sniproxy.tls.pemfiles import read
from sniproxy.tls.reloaded import Reloaded
from sniproxy.util.files import WATCH_INTERVAL_S


class ReloadedTests(SynchronousTestCase):
    """Reloaded: a value that is made from files."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.path = Path(self.mktemp())
        self.path.write_text("one")
        self.made = 0

    def make(self) -> str:
        self.made += 1
        text = self.path.read_text()
        if text.startswith("bad"):
            raise BadPem(f"{self.path}: bad")
        return text

    def reloaded(self, path: Path | None = None) -> Reloaded[str]:
        return Reloaded([str(path or self.path)], self.make, self.clock.seconds)

    def test_change(self) -> None:
        """A change is noticed by one check a second; without a change nothing is read."""
        value = self.reloaded()
        self.path.write_text("two!")
        self.assertEqual("one", value())
        self.clock.advance(WATCH_INTERVAL_S)
        self.assertEqual(("two!", 2), (value(), self.made))
        self.clock.advance(WATCH_INTERVAL_S)
        self.assertEqual(("two!", 2), (value(), self.made))

    def test_replaced(self) -> None:
        """A renamed replacement is a change, even with the same size and time."""
        value = self.reloaded()
        status = self.path.stat()
        other = Path(self.mktemp())
        other.write_text("two")
        os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
        other.rename(self.path)
        self.clock.advance(WATCH_INTERVAL_S)
        self.assertEqual("two", value())

    def test_bad(self) -> None:
        """An invalid new version is logged once and ignored; a valid one is used."""
        value = self.reloaded()
        self.path.write_text("bad one")
        for _ in range(3):
            self.clock.advance(WATCH_INTERVAL_S)
            self.assertEqual("one", value())
        self.assertEqual(2, self.made)
        self.path.write_text("good again")
        self.clock.advance(WATCH_INTERVAL_S)
        self.assertEqual("good again", value())

    def test_gone(self) -> None:
        """If the file is removed, the value stays."""
        value = Reloaded([str(self.path)], lambda: read(str(self.path))[0][1].decode(), self.clock.seconds)
        self.path.unlink()
        self.clock.advance(WATCH_INTERVAL_S)
        self.assertEqual("one", value())

    def test_folder_and_links(self) -> None:
        """A new file in a folder, and a changed symbolic link, are changes."""
        folder = Path(self.mktemp())
        folder.mkdir()
        value = self.reloaded(folder)
        (folder / "link").symlink_to(self.path.resolve())
        self.clock.advance(WATCH_INTERVAL_S)
        value()
        self.assertEqual(2, self.made)
        other = Path(self.mktemp()).resolve()
        other.write_text("elsewhere")
        (folder / "link").unlink()
        (folder / "link").symlink_to(other)
        self.clock.advance(WATCH_INTERVAL_S)
        value()
        self.assertEqual(3, self.made)

    def test_at_first(self) -> None:
        """An invalid first version is an error."""
        self.path.write_text("bad")
        self.assertRaises(BadPem, self.reloaded)
