"""Tunnels with a PROXY protocol header."""

from __future__ import annotations

import shutil
from contextlib import ExitStack

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench.cases import CASES, QUICK, TestBed
from bench.childprocess import LoadError
from bench.headers import header_instructions, headers
from bench.peers import PEERS

SHORT = evolve(QUICK, seconds=0.05, calls=8)


class HeaderTests(SynchronousTestCase):
    """Both measurements."""

    def test_cost(self) -> None:
        """New tunnels with and without a header have a cost."""
        with ExitStack() as stack:
            found = headers(TestBed(stack), PEERS["ours"], SHORT)
        for figure in ("proxy CPU, µs", "tunnels/s"):
            for what in ("v1", "v2"):
                self.assertLessEqual({f"{what}: {figure}", f"{what}: {figure}, times without"}, found.keys())
            self.assertIn(f"without: {figure}", found)
        self.assertGreater(min(found.values()), 0)

    def test_ours(self) -> None:
        """They are for our proxy only."""
        with ExitStack() as stack:
            bed = TestBed(stack)
            for name in ("proxy-protocol", "header-instructions"):
                for other in (None, PEERS["haproxy"]):
                    error = self.assertRaises(LoadError, CASES[name].run, bed, other, SHORT)
                    self.assertIn("for our proxy only", str(error))

    def test_missing(self) -> None:
        """Without valgrind, instructions are skipped."""
        self.patch(shutil, "which", lambda program: None)
        with ExitStack() as stack:
            error = self.assertRaises(LoadError, header_instructions, TestBed(stack), PEERS["ours"], SHORT)
        self.assertEqual(str(error), "skipped: no valgrind")
