"""The cases of the data path benchmark."""

from __future__ import annotations

from contextlib import ExitStack

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench.cases import CASES, QUICK, TestBed
from bench.childprocess import LoadError
from bench.peer import DIRECT
from bench.peers import PEERS

SHORT = evolve(QUICK, seconds=0.05, check=100_000, idle=20, scale=(10,), starts=(10,), names=(10,))


class CaseTests(SynchronousTestCase):
    """Each case."""

    def test_direct(self) -> None:
        """Each case with a ranking gives its figure without a proxy."""
        with ExitStack() as stack:
            bed = TestBed(stack)
            for case in CASES.values():
                if DIRECT in case.peers and case.best:
                    self.assertIn(case.best, case.run(bed, None, SHORT))

    def test_ours(self) -> None:
        """Cases that vary the start have it in the names of their figures."""
        with ExitStack() as stack:
            bed = TestBed(stack)
            self.assertEqual(sorted(CASES["start"].run(bed, PEERS["ours"], SHORT)), ["10 names: MiB", "10 names: s"])
            self.assertEqual(CASES["check"].run(bed, PEERS["ours"], SHORT), {})

    def test_refusals(self) -> None:
        """Refusals of both kinds have a cost; they are measured for our proxy only."""
        with ExitStack() as stack:
            bed = TestBed(stack)
            found = CASES["refusals"].run(bed, PEERS["ours"], SHORT)
            self.assertEqual(
                sorted(found),
                [f"{way}: {figure}" for way in ("at accept", "no route") for figure in ("proxy CPU, µs", "refusals/s")],
            )
            self.assertGreater(min(found.values()), 0)
            for other in (None, PEERS["haproxy"]):
                error = self.assertRaises(LoadError, CASES["refusals"].run, bed, other, SHORT)
                self.assertIn("for our proxy only", str(error))

    def test_peers(self) -> None:
        """The peers of cases are known, and ours comes first."""
        for case in CASES.values():
            self.assertEqual(case.peers[0], "ours")
            self.assertLessEqual(set(case.peers), {*PEERS, DIRECT})

    def test_quick(self) -> None:
        """A quick run starts each peer once, and measures ours in each case."""
        self.assertEqual(CASES["check"].quick_peers(), CASES["check"].peers)
        for case in CASES.values():
            self.assertEqual(case.quick_peers()[0], "ours")
        self.assertEqual(CASES["tunnels-pinned"].quick_peers(), ["ours", "haproxy", "haproxy-log"])
        self.assertEqual(CASES["workers"].quick_peers(), ["ours"])
        self.assertLessEqual({name for case in CASES.values() for name in case.peers}, {*CASES["check"].peers, DIRECT})
