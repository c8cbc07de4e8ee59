"""The command line of the data path benchmark."""

from __future__ import annotations

import os
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from bench import results
from bench.cases import CASES, Lengths, TestBed
from bench.childprocess import LoadError
from bench.clients import Sample
from bench.datapath import main, measure
from bench.peer import Peer
from bench.peers import PEERS
from bench.relays import note
from bench.results import Result, Runs


class DatapathTests(SynchronousTestCase):
    """Measuring, printing and storing."""

    def test_main(self) -> None:
        """A case is measured with the chosen peers, printed, and added to the stored results."""
        path = Path(self.mktemp())
        results.write(path, {"older": Result("here", "", {})})
        words = ["--quick", "--seconds", "0.05", "--cases", "echo1", "--peers", "direct", "--write", str(path)]
        with redirect_stdout(out := StringIO()):
            main(words)
        self.assertIn("| direct ", out.getvalue())
        found = results.read(path)
        self.assertEqual(list(found), ["older", "echo1"])
        self.assertEqual(list(found["echo1"].peers), ["direct"])
        self.assertEqual(found["echo1"].versions, {})

    def test_versions(self) -> None:
        """Versions of peers are printed, and stored with the results."""
        path = Path(self.mktemp())
        with redirect_stdout(out := StringIO()):
            main(["--quick", "--seconds", "0.05", "--cases", "check", "--peers", "ours", "--write", str(path)])
        version = PEERS["ours"].said_version()
        self.assertIn(f"ours: {version}\n", out.getvalue())
        self.assertEqual(results.read(path)["check"].versions, {"ours": version})

    def test_unknown(self) -> None:
        """An unknown case or peer is refused with the known names."""
        for words in (["--cases", "x"], ["--peers", "ours,x"]):
            with redirect_stderr(err := StringIO()):
                self.assertRaises(SystemExit, main, words)
            self.assertIn("no such name: x", err.getvalue())

    def test_failing(self) -> None:
        """A failed peer is not measured again, and has the reason; the others continue."""
        asked = []

        def run(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
            name = "direct" if peer is None else peer.name
            asked.append(name)
            if name == "nginx":
                raise LoadError("it lost 3 bytes")
            return {"MB/s": 2.0 if name == "ours" else 1.0}

        case = evolve(CASES["bulk1"], run=run)
        found = measure(case, ("ours", "haproxy", "nginx", "direct"), Lengths(0, 0, 0, (), (), (), 0, 0), 2)
        self.assertEqual(asked, ["ours", "haproxy", "nginx", "direct", "direct", "haproxy", "ours"])
        self.assertEqual(found.peers["nginx"], Runs({}, "it lost 3 bytes"))
        self.assertEqual(found.peers["ours"], Runs({"MB/s": [2.0, 2.0]}))

    def test_relays(self) -> None:
        """The relays that served are stored; one that changes between runs fails."""
        served = iter(("engine", "engine", "python"))

        def run(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
            note(bed.relays, "ours", next(served))
            return {"MB/s": 1.0}

        case, lengths = evolve(CASES["bulk1"], run=run), Lengths(0, 0, 0, (), (), (), 0, 0)
        self.assertEqual(measure(case, ["ours"], lengths, 2).relays, {"ours": "engine"})
        served = iter(("engine", "python"))
        failed = measure(case, ["ours"], lengths, 2).peers["ours"].failed or ""
        self.assertIn("the engine relay served one run of ours", failed)

    def test_pinned(self) -> None:
        """A pinned case runs on one CPU, and says so."""
        seen = []

        def run(bed: TestBed, peer: Peer | None, lengths: Lengths) -> Sample:
            seen.append(len(os.sched_getaffinity(0)))
            return {"MB/s": 1.0}

        case = evolve(CASES["bulk1-pinned"], run=run)
        result = measure(case, ["ours"], Lengths(0, 0, 0, (), (), (), 0, 0), 1)
        self.assertEqual(seen, [1])
        self.assertIn("all on one CPU", result.how)
