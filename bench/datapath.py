"""Benchmark of the data path against other proxies: ``python -m bench.datapath``. See ``--help``."""

from __future__ import annotations

import argparse
import compileall
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import evolve

from bench import ROOT, goals, results
from bench.cases import CASES, FULL, QUICK, Case, Lengths, TestBed
from bench.childprocess import LoadError
from bench.clients import raise_limit
from bench.measure import environment, pinned
from bench.peer import DIRECT
from bench.peers import PEERS, said_versions
from bench.report import table
from bench.results import Result, Runs
from bench.table import markdown


def measure(case: Case, names: Sequence[str], lengths: Lengths, rounds: int) -> Result:
    """Measure the peers in turn, round by round. A peer that fails is not measured again."""
    how = f"{rounds} runs, {lengths.seconds:g} s of load each{', all on one CPU' if case.pinned else ''}"
    result = Result(environment(), how, {name: Runs() for name in names})
    with ExitStack() as stack:
        if case.pinned:
            stack.enter_context(pinned())
        bed = TestBed(stack)
        for number in range(rounds):
            # Every second round in reverse, so that no peer always follows the same one.
            turns = list(result.peers.items())
            for name, runs in turns if number % 2 == 0 else reversed(turns):
                if runs.failed is None:
                    try:
                        runs.add(case.run(bed, None if name == DIRECT else PEERS[name], lengths))
                    except LoadError as error:
                        runs.failed = str(error)
        result.relays = {name: relay for name, relay in bed.relays.items() if name in result.peers}
    return result


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench.datapath", description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), help=f"some of {', '.join(CASES)} (default: all)")
    parser.add_argument("--peers", help=f"some of {', '.join((*PEERS, DIRECT))} (default: those of each case)")
    parser.add_argument("--repeat", type=int, help="runs of each (default: 1 to 5, by case; 1 with --quick)")
    parser.add_argument("--seconds", type=float, help="seconds of load in a run (default: 2; 0.25 with --quick)")
    parser.add_argument("--quick", action="store_true", help="short runs that show whether everything works")
    parser.add_argument("--write", type=Path, help="store the measured cases in this results file")
    found = parser.parse_args(arguments)
    found.cases = found.cases.split(",")
    found.peers = found.peers.split(",") if found.peers else None
    for name, known in ((found.cases, CASES), (found.peers or [], (*PEERS, DIRECT))):
        if unknown := [one for one in name if one not in known]:
            parser.error(f"no such name: {', '.join(unknown)}; choose from {', '.join(known)}")
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure and print, with ``--write`` store the results."""
    chosen = _arguments(arguments)
    lengths = QUICK if chosen.quick else FULL
    lengths = evolve(lengths, seconds=chosen.seconds or lengths.seconds)
    raise_limit()
    # As pip does on installation. With PYTHONDONTWRITEBYTECODE every start would compile its modules otherwise.
    compileall.compile_dir(ROOT / "sniproxy", quiet=1)
    print(environment())
    cases = [CASES[name] for name in chosen.cases]
    peers = {case.name: chosen.peers or (case.quick_peers() if chosen.quick else case.peers) for case in cases}
    names = dict.fromkeys(name for found in peers.values() for name in found if name != DIRECT)
    versions = said_versions(names)
    for name in names:
        print(f"{name}: {versions.get(name) or f'not installed; provided by {PEERS[name].needs}'}")
    measured = {}
    for case in cases:
        began = time.monotonic()
        rounds = chosen.repeat or (1 if chosen.quick else case.rounds)
        result = measured[case.name] = measure(case, peers[case.name], lengths, rounds)
        result.versions = {name: versions[name] for name in result.peers if name in versions}
        print(f"\n{table(case, result)}({case.name}: {result.how}; in {time.monotonic() - began:.0f} s)", flush=True)
        if chosen.write:
            results.write(chosen.write, {**results.read(chosen.write), case.name: result})
    print(f"\n{markdown(goals.HEADS, goals.rows(measured))}")


if __name__ == "__main__":
    main(sys.argv[1:])
