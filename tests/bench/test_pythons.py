"""The Python of the measured proxy."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import ROOT
from bench.pythons import CHOICE, Python, asked, best, chosen, environment
from tests.support import programs

PLAIN = Python("/a", "CPython 3.11.7", ("--enable-shared",))
PACKAGED = Python("/b", "CPython 3.11.2", ("--prefix=/usr", "CC=gcc"))
OPTIMISED = Python("/c", "CPython 3.11.9", ("--enable-optimizations", "--with-lto=thin", "--prefix=/x"))


class PythonTests(SynchronousTestCase):
    """How it was built, and which one is chosen."""

    def test_said(self) -> None:
        """The build is named with its optimisations, or with their absence."""
        self.assertEqual(str(PLAIN), "CPython 3.11.7 (not optimised)")
        self.assertEqual(str(PACKAGED), "CPython 3.11.2 (built by the distribution)")
        self.assertEqual(str(OPTIMISED), "CPython 3.11.9 (--enable-optimizations, --with-lto=thin)")

    def test_best(self) -> None:
        """An optimised one comes before the distribution's, then before the first one."""
        self.assertEqual(best([PLAIN, PACKAGED, OPTIMISED]), OPTIMISED)
        self.assertEqual(best([PLAIN, PACKAGED]), PACKAGED)
        self.assertEqual(best([PLAIN, Python("/d", "", ())]), PLAIN)
        self.assertRaises(ValueError, best, [])

    def test_asked(self) -> None:
        """An interpreter that can run the proxy says its version and options; others are not used."""
        found = asked(sys.executable)
        assert found is not None
        self.assertIn(sys.version.split()[0], found.version)
        self.assertIsNone(asked("/no/such/python"))
        self.assertIsNone(asked("/bin/false"))

    def test_chosen(self) -> None:
        """The chosen one runs the code of this checkout. An environment variable overrides the choice."""
        command = [chosen().program, "-c", "import sniproxy; print(sniproxy.__file__)"]
        said = programs.run(command, env=environment(ROOT), cwd="/", capture_output=True, text=True, check=True)
        self.assertEqual(Path(said.stdout.strip()).parent, ROOT / "sniproxy")
        self.patch(os, "environ", {**os.environ, CHOICE: sys.executable})
        chosen.cache_clear()
        self.addCleanup(chosen.cache_clear)
        self.assertEqual(chosen().program, sys.executable)
