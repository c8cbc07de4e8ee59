"""Instructions by callgrind."""

from __future__ import annotations

import shutil
from contextlib import ExitStack
from unittest import skipIf

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench.cases import QUICK, TestBed
from bench.childprocess import LoadError
from bench.instructions import instructions, total
from bench.peers import PEERS


class InstructionTests(SynchronousTestCase):
    """Counting."""

    def test_total(self) -> None:
        """The total of a file is its summary."""
        self.assertEqual(total("# callgrind format\nevents: Ir\nsummary: 12345\nfn=(1)\n16 400\n"), 12345)
        self.assertEqual(total("events: Ir\n\ntotals: 17\n"), 17)
        self.assertRaises(ValueError, total, "events: Ir\n")

    def test_missing(self) -> None:
        """Without valgrind it is skipped, and says so."""
        self.patch(shutil, "which", lambda program: None)
        with ExitStack() as stack:
            error = self.assertRaises(LoadError, instructions, TestBed(stack), PEERS["ours"], QUICK)
        self.assertEqual(str(error), "skipped: no valgrind")

    @skipIf(shutil.which("valgrind") is None or PEERS["haproxy"].program() is None, "needs valgrind and haproxy")
    def test_counts(self) -> None:
        """A proxy needs more instructions for a tunnel than for a message."""
        with ExitStack() as stack:
            found = instructions(TestBed(stack), PEERS["haproxy"], evolve(QUICK, calls=16))
        self.assertGreater(found["a message"], 100)
        self.assertGreater(found["a tunnel"], found["a message"])
