"""Tests for sniproxy.admin.page."""

from __future__ import annotations

import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import sniproxy.admin
from sniproxy.admin.page import PAGE, page_file

LINKED = ("/status", "/tunnels", "/history", "/topics", "/metrics", "/ready")
STATIC = Path(sniproxy.admin.__file__).parent / "static"


class PageFileTests(SynchronousTestCase):
    """page_file, and the files themselves."""

    def test_all_files(self) -> None:
        """Every file of the page has a path, and a path gives its type and content."""
        names = {path.name for path in STATIC.iterdir() if path.is_file()} - {"__init__.py"}
        self.assertEqual(names, {name for name, _ in PAGE.values()})
        for path, (name, kind) in PAGE.items():
            self.assertEqual((kind, (STATIC / name).read_bytes()), page_file(path))

    def test_unknown(self) -> None:
        """A path that is no key is a KeyError, so a caller cannot read another file."""
        self.assertRaises(KeyError, page_file, "/../site.py")

    def test_own_files_only(self) -> None:
        """The page refers to its own files only: it works without a network, and its policy allows nothing else."""
        for name, kind in PAGE.values():
            text = (STATIC / name).read_text()
            found = re.findall(r"""(?:src|href)="([^"#]+)"|from "([^"]+)"|url\\(([^)]+)\\)""", text)
            for used in ("".join(one) for one in found if kind != "image/svg+xml"):
                self.assertIn(
                    used.removeprefix("."), [*PAGE, "/status", "/tunnels", "/history", "/topics", "/metrics", "/ready"]
                )

    def test_file_sizes(self) -> None:
        """No file of the page is longer than a file of the proxy may be."""
        long = [name for name, _ in PAGE.values() if len((STATIC / name).read_text().splitlines()) >= 350]
        self.assertEqual([], long)
