"""Runs worlds with mutated code, and reports at which seed each mutation is found.

    python -m tests.simulation.mutate [--seeds 10000] [--jobs 2] [--write] [WORD ...]

A mutation is applied to the source when its module is imported, in a process of its own. WORD selects mutations whose
description has it. --write puts the table of all mutations into docs/explanation/simulation.md.
"""

from __future__ import annotations

import argparse
import importlib.abc
import importlib.machinery
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, ModuleType

from bench.table import markdown, write_into
from tests.simulation.mutations import MUTATIONS, Mutation

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "explanation" / "simulation.md"
HEADS = ("break", "file", "found at seed")
PROCESS_LIMIT_S = 7200.0


class MutatedLoader(importlib.machinery.SourceFileLoader):
    """Compiles the mutated source of one module."""

    def __init__(self, mutation: Mutation) -> None:
        name = "sniproxy." + mutation.path.removesuffix(".py").replace("/", ".")
        super().__init__(name, str(ROOT / "sniproxy" / mutation.path))
        self._mutation = mutation

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(mutated(self._mutation), self.path, "exec", dont_inherit=True)
        return code


class Mutating(importlib.abc.MetaPathFinder):
    """Finds one module, which is mutated."""

    def __init__(self, mutation: Mutation) -> None:
        self._loader = MutatedLoader(mutation)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None, /
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._loader.name:
            return None
        return importlib.machinery.ModuleSpec(fullname, self._loader, origin=self._loader.path)


def mutated(mutation: Mutation) -> str:
    """The mutated source. @raise ValueError: the text is not there exactly once."""
    source = (ROOT / "sniproxy" / mutation.path).read_text()
    if source.count(mutation.old) != 1:
        raise ValueError(f"{mutation.path}: {mutation.old!r} is there {source.count(mutation.old)} times")
    return source.replace(mutation.old, mutation.new)


def find(number: int, seeds: int) -> tuple[int, str] | None:
    """In a process of its own: the first seed at which a mutation is found, and why. None: it is not found."""
    sys.meta_path.insert(0, Mutating(MUTATIONS[number]))
    from tests.simulation.running import quiet_log, violation_of

    quiet_log()
    for seed in range(seeds):
        why = violation_of(seed)
        if why:
            return seed, why
    return None


def report(number: int, seeds: int) -> tuple[int | None, str, float]:
    """Run one mutation. @return: the seed or None, why, and seconds."""
    began = time.monotonic()
    ran = subprocess.run(
        [sys.executable, "-m", "tests.simulation.mutate", "--one", str(number), "--seeds", str(seeds)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=PROCESS_LIMIT_S,
    )
    seconds = time.monotonic() - began
    seed, _, why = ran.stdout.strip().partition(" ")
    if ran.returncode or not seed:
        return None, f"the run fails: {ran.stderr.strip().splitlines()[-1:]}", seconds
    return (None if seed == "none" else int(seed)), why, seconds


def main(arguments: Sequence[str] | None = None) -> int:
    """@return: 0: all were found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--one", type=int)
    parser.add_argument("--write", action="store_true")
    parser.add_argument("words", nargs="*")
    options = parser.parse_args(arguments)
    if options.write and options.words:
        parser.error("--write: the table has all mutations; leave WORD out")
    if options.one is not None:
        found = find(options.one, options.seeds)
        print("none" if found is None else f"{found[0]} {found[1]}")
        return 0
    chosen = [n for n, one in enumerate(MUTATIONS) if all(word in one.what for word in options.words)]
    rows: list[tuple[str, str, str]] = []
    missed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        for number, (seed, why, _) in zip(chosen, pool.map(lambda n: report(n, options.seeds), chosen), strict=True):
            missed += seed is None
            mutation = MUTATIONS[number]
            where = f"not in {options.seeds:,}" if seed is None and not why else "the run failed"
            where = where if seed is None else f"{seed:,}"
            rows.append((mutation.what, f"`{mutation.path}`", where))
            print(f"{where}: {mutation.what}, in {mutation.path}: {why[:100]}", flush=True)
    if options.write:
        write_into(DOCUMENT, "mutations", f"{len(rows) - missed} of {len(rows)} are found.\n\n{markdown(HEADS, rows)}")
    print(f"\n{len(chosen) - missed} of {len(chosen)} found")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
