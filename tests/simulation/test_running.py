"""Tests for the program of the simulation, for plans that get shorter, and for mutations."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from unittest.mock import patch

from twisted.trial.unittest import SynchronousTestCase

from tests.simulation import __main__ as program
from tests.simulation import mutate
from tests.simulation.mutations import MUTATIONS
from tests.simulation.plan import Plan, draw
from tests.simulation.running import shrink
from tests.support import programs

ROOT = Path(__file__).resolve().parents[2]

MUTATION_LIMIT_S = 300


class ShrinkTests(SynchronousTestCase):
    """L{shrink}."""

    def test_shrink(self) -> None:
        """What is left of a plan is what the fault needs."""
        plan = next(plan for plan in map(draw, range(100)) if len(plan.clients) > 5 and plan.faults and plan.acts)

        def broken(one: Plan) -> bool:
            return any(client.number == 3 for client in one.clients) and plan.faults[0] in one.faults

        found = shrink(plan, broken)
        self.assertEqual(([3], plan.faults[:1], ()), ([c.number for c in found.clients], found.faults, found.acts))
        self.assertEqual(((), ()), (found.clients[0].steps, found.outages))


class MutationTests(SynchronousTestCase):
    """Deliberate breaks of the code."""

    def test_texts(self) -> None:
        """The text of each mutation is in its file once, the mutated file compiles, and there are twenty at least."""
        for one in MUTATIONS:
            compile(mutate.mutated(one), one.path, "exec")
        self.assertGreater(len(MUTATIONS), 20)
        self.assertEqual(len(MUTATIONS), len({one.what for one in MUTATIONS}))

    def test_found(self) -> None:
        """A mutation is found, in a process of its own, and the program says at which seed."""
        ran = subprocess.run(
            [sys.executable, "-m", "tests.simulation.mutate", "--seeds", "20", "--jobs", "1", "short write"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=MUTATION_LIMIT_S,
        )
        self.assertEqual(0, ran.returncode, ran.stdout + ran.stderr)
        self.assertRegex(ran.stdout, r"^\d+: the relay loses the byte behind a short write, in relay/direction.py: ")
        self.assertIn("1 of 1 found", ran.stdout)

    def test_table(self) -> None:
        """The page has all mutations in its table, and whether each is found."""
        document = Path(self.mktemp())
        document.write_text("before\n<!-- bench:mutations -->\n<!-- end -->\nafter\n")
        self.patch(mutate, "DOCUMENT", document)
        self.patch(mutate, "MUTATIONS", MUTATIONS[:2])
        self.patch(mutate, "report", lambda number, seeds: ((None, "", 0.1), (1234, "why", 0.2))[number])
        with redirect_stdout(io.StringIO()):
            self.assertEqual(1, mutate.main(["--write"]))
        text = document.read_text()
        self.assertIn("1 of 2 are found.", text)
        self.assertRegex(text, rf"\| {MUTATIONS[0].what} +\| +`\S+` \| +not in 10,000 \|")
        self.assertRegex(text, rf"\| {MUTATIONS[1].what} +\| +`\S+` \| +1,234 \|")
        with redirect_stderr(io.StringIO()):
            self.assertRaises(SystemExit, mutate.main, ["--write", "word"])

    def test_page(self) -> None:
        """The table in the documentation has the mutations that there are, and says of each that it is found."""
        rows = re.findall(r"^\| (.+?) +\| +`(\S+)` \| +([\d,]+) \|$", mutate.DOCUMENT.read_text(), re.MULTILINE)
        self.assertEqual([(one.what, one.path) for one in MUTATIONS], [row[:2] for row in rows])


class ProgramTests(SynchronousTestCase):
    """C{python -m tests.simulation}."""

    def run_program(self, *arguments: str) -> tuple[int, str]:
        out = io.StringIO()
        # Trial has begun to log.
        with redirect_stdout(out), patch.object(program, "quiet_log", lambda: None):
            status = program.main(arguments)
        self.flushLoggedErrors()
        return status, out.getvalue()

    def test_one_seed(self) -> None:
        """The story of a seed."""
        status, text = self.run_program("--seed", "3")
        self.assertEqual(0, status, text)
        self.assertIn("all invariants hold", text)
        self.assertIn("make simulate SEED=3 repeats it", text)

    def test_failure(self) -> None:
        """A seed that fails is told with the shortest plan."""

        def record(world: object, record: object) -> list[str]:
            return ["a record"]

        with patch("tests.simulation.checks.of_record", record):
            status, text = self.run_program("--seed", "1")
        self.assertEqual(1, status, text)
        self.assertIn("at first: a record", text)
        self.assertIn("broken: a record", text)
        self.assertEqual(1, text.count("\n  client "), text)

    def test_usage(self) -> None:
        """What is no number of seeds, of a seed or of processes is wrong usage: nothing runs."""
        for arguments in (
            ["--seeds", "0"],
            ["--seeds", "-1"],
            ["--seeds", "many"],
            ["--seed", "abc"],
            ["--seed", "07"],
            ["--from", "-1"],
            ["--jobs", "0"],
        ):
            shown = io.StringIO()
            with redirect_stderr(shown):
                error = self.assertRaises(SystemExit, self.run_program, *arguments)
            self.assertEqual(2, error.code, arguments)
            self.assertIn(f"argument {arguments[0]}: ", shown.getvalue())

    def test_many(self) -> None:
        """Some seeds, with their number a second."""
        # In a process of its own: a forked child of trial's worker would send what it logs in the worker's place.
        ran = programs.run(
            [sys.executable, "-m", "tests.simulation", "--seeds", "4", "--jobs", "1"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        self.assertEqual(0, ran.returncode, ran.stdout + ran.stderr)
        self.assertRegex(ran.stdout, r"4 seeds in [0-9.]+ s, [0-9.]+ a second: all invariants hold")
