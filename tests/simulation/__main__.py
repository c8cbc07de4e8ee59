"""The simulation's program: runs many seeds, or tells the story of one.

    python -m tests.simulation [--seeds 1000] [--from 0] [--jobs PROCESSES]
    python -m tests.simulation --seed SEED [--whole]

It prints seeds a second. At the first seed that fails it makes its plan as short as it can, and prints the seed, the
plan and what happened. The status is 1 then, and 2 for wrong usage.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import chain

from tests.simulation.plan import draw
from tests.simulation.running import quiet_log, run_plan, shrink, violation_of
from tests.simulation.story import tell

BATCH = 20
"""Seeds that a process runs at a time."""


def run_batch(seeds: Sequence[object]) -> list[tuple[object, str]]:
    """Run some seeds. @return: those that fail, and why."""
    return [(seed, why) for seed in seeds if (why := violation_of(seed))]


def run_many(first: int, count: int, jobs: int) -> int:
    """Run seeds in processes. @return: the exit status."""
    began = shown = time.monotonic()
    batches = [range(at, min(at + BATCH, first + count)) for at in range(first, first + count, BATCH)]
    done = 0
    with ProcessPoolExecutor(jobs, initializer=quiet_log) as pool:
        for batch, failed in zip(batches, pool.map(run_batch, batches), strict=True):
            done += len(batch)
            if failed:
                pool.shutdown(wait=False, cancel_futures=True)
                seed, why = failed[0]
                print(f"seed {seed} fails: {why}")
                return run_one(seed, whole=False)
            if time.monotonic() - shown > 10:
                shown = time.monotonic()
                print(f"{done:,} of {count:,} seeds, {done / (shown - began):.1f} a second", flush=True)
    seconds = time.monotonic() - began
    print(f"{count:,} seeds in {seconds:.1f} s, {count / seconds:.1f} a second: all invariants hold")
    return 0


def run_one(seed: object, whole: bool) -> int:
    """Run one seed and tell its story. @param whole: do not shorten its plan. @return: the exit status."""
    quiet_log()
    plan = draw(seed)
    world = run_plan(plan)
    if world.violation and not whole:
        first = world.violation
        plan = shrink(plan)
        world = run_plan(plan)
        print(f"at first: {first}")
    print("\n".join(chain(tell(world), ["", f"make simulate SEED={seed} repeats it"])))
    return 1 if world.violation else 0


def at_least(least: int) -> Callable[[str], int]:
    """A type for argparse: a whole number that is not smaller."""

    def number(text: str) -> int:
        # Only this form is a number: the text of a seed is the seed, so 07 would not be 7.
        if not (text.isascii() and text.isdigit()) or str(int(text)) != text or int(text) < least:
            raise argparse.ArgumentTypeError(f"write a whole number from {least} on, not {text!r}")
        return int(text)

    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """@return: the exit status: 0: all invariants hold, 1: one does not. argparse exits with 2 for wrong usage."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=at_least(1), default=1000, help="number of seeds")
    parser.add_argument("--from", type=at_least(0), default=0, dest="first", help="the first seed")
    parser.add_argument("--jobs", type=at_least(1), default=2, help="processes")
    parser.add_argument("--seed", type=at_least(0), help="run this seed alone and tell its story")
    parser.add_argument("--whole", action="store_true", help="with --seed: do not shorten the plan")
    options = parser.parse_args(arguments)
    if options.seed is not None:
        return run_one(options.seed, options.whole)
    return run_many(options.first, options.seeds, options.jobs)


if __name__ == "__main__":
    sys.exit(main())
