"""Tests for the simulated world: seeds hold, and each repeats itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.events import Result
from tests.simulation.plan import Client, Plan, draw
from tests.simulation.running import run_plan, run_seed
from tests.simulation.story import tell

SEEDS = 40
"""Seeds that each run of the tests takes: a few seconds. C{make simulate} runs more."""

REPEATED = 8

PROGRAM_LIMIT_S = 120

ROOT = Path(__file__).resolve().parents[2]


def one_client(plan: Plan, client: Client) -> Plan:
    """A plan with this client alone, and without faults."""
    return attrs.evolve(plan, clients=(client,), faults=(), outages=(), acts=())


def quiet_client() -> Client:
    """A client whose connection is good, and whose tunnel ends in order."""
    steps = (("send", 3000), ("wait", 0.1), ("fin",))
    return Client(
        0, 0.5, "192.0.2.1", "tls", "one.test", "whole", ((5, 0.1),), steps, steps, 1 << 16, 0.0, 1 << 16, 0.0
    )


class SeedTests(SynchronousTestCase):
    """Worlds of seeds."""

    def test_seeds(self) -> None:
        """All invariants hold in the worlds of the first seeds."""
        for seed in range(SEEDS):
            world = run_seed(seed)
            self.assertEqual("", world.violation, "\n".join(tell(world)))
        self.flushLoggedErrors()  # faulty resolvers raise what the world expects

    def test_corpus(self) -> None:
        """Seeds that once failed hold."""
        for line in (Path(__file__).parent / "corpus.txt").read_text().splitlines():
            seed = line.partition(" ")[0]
            if seed != "#":
                world = run_seed(seed)
                self.assertEqual("", world.violation, "\n".join(tell(world)))
        self.flushLoggedErrors()

    def test_repeats(self) -> None:
        """A seed repeats its world bit by bit, in another process too, whatever the seed of Python's hashes."""
        program = (
            "from tests.simulation.running import quiet_log, run_seed\nquiet_log()\n"
            f"print([run_seed(seed).digest for seed in range({REPEATED})])"
        )
        here = [run_seed(seed).digest for seed in range(REPEATED)]
        self.flushLoggedErrors()
        self.assertEqual(REPEATED, len(set(here)))
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": "77", "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
            timeout=PROGRAM_LIMIT_S,
        )
        self.assertEqual((f"{here}\n", 0), (ran.stdout, ran.returncode), ran.stderr)


class PlanTests(SynchronousTestCase):
    """Worlds of a plan that a test writes."""

    def test_good_connection(self) -> None:
        """A client without faults gets its tunnel, and the record says ok."""
        world = run_plan(one_client(draw(4), quiet_client()))
        self.assertEqual(("", [Result.OK]), (world.violation, [client.result for client in world.clients]))
        story = "\n".join(tell(world))
        self.assertIn("client 0 has a tunnel to target 10.1.0.1 (dial ", story)
        self.assertIn("record of client 0: ok (", story)
        self.assertIn("all invariants hold", story)

    def test_reset(self) -> None:
        """A target that resets makes the record say so, and the client sees a reset."""
        client = attrs.evolve(quiet_client(), target_steps=(("wait", 0.05), ("reset",)), steps=(("wait", 3.0),))
        world = run_plan(one_client(draw(4), client))
        self.assertEqual(("", Result.RESET), (world.violation, world.clients[0].result))
        self.assertNotEqual("end", world.clients[0].peer.saw)

    def test_draw(self) -> None:
        """A plan is the same each time, and plans differ."""
        self.assertEqual(draw(7), draw("7"))
        self.assertEqual(50, len({str(draw(seed).lines()) for seed in range(50)}))
