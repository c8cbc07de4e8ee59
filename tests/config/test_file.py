"""Tests for sniproxy.config.file."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.file import read_text
from sniproxy.config.schema import ConfigError


class ReadTests(SynchronousTestCase):
    """read_text."""

    def test_read(self) -> None:
        """UTF-8, without its byte order mark; an error names the file and the reason."""
        path = Path(self.mktemp())
        path.write_bytes(b"\xef\xbb\xbfa = 1\n")
        self.assertEqual("a = 1\n", read_text(str(path)))
        path.write_bytes(b"\xff")
        error = self.assertRaises(ConfigError, read_text, str(path))
        self.assertEqual(f"{path}: cannot be read: it is not UTF-8", str(error))
        path.unlink()
        error = self.assertRaises(ConfigError, read_text, str(path))
        self.assertEqual(f"{path}: cannot be read: No such file or directory", str(error))
