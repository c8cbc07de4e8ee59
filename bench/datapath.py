"""The data path, beside the proxies that people use: ``python -m bench.datapath``, whose ``--help`` says the rest."""

from __future__ import annotations

import argparse
import compileall
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import evolve

from bench import ROOT, results
from bench.apart import LoadError
from bench.cases import CASES, FULL, QUICK, Case, Grounds, Lengths
from bench.clients import raise_limit
from bench.measure import environment
from bench.peers import DIRECT, PEERS, said_versions
from bench.report import table
from bench.results import Result, Runs


def measure(case: Case, names: Sequence[str], lengths: Lengths, rounds: int) -> Result:
    """Peers in turn, round by round. Who fails is not asked again."""
    how = f"{rounds} runs, {lengths.seconds:g} s of load each"
    result = Result(environment(), how, {name: Runs() for name in names})
    with ExitStack() as stack:
        grounds = Grounds(stack)
        for _ in range(rounds):
            for name, runs in result.peers.items():
                if runs.failed is None:
                    try:
                        runs.add(case.run(grounds, None if name == DIRECT else PEERS[name], lengths))
                    except LoadError as error:
                        runs.failed = str(error)
    return result


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m bench.datapath", description=__doc__)
    parser.add_argument("--cases", default=",".join(CASES), help=f"of: {', '.join(CASES)} (all)")
    parser.add_argument("--peers", help=f"of: {', '.join((*PEERS, DIRECT))} (each case's own)")
    parser.add_argument("--repeat", type=int, help="runs of each (5; 1 with --quick)")
    parser.add_argument("--seconds", type=float, help="of load in a run (2; 0.25 with --quick)")
    parser.add_argument("--quick", action="store_true", help="runs of little worth, to see that all of it works")
    parser.add_argument("--write", type=Path, help="put the cases that are measured into this file of results")
    found = parser.parse_args(arguments)
    found.cases = found.cases.split(",")
    found.peers = found.peers.split(",") if found.peers else None
    for name, known in ((found.cases, CASES), (found.peers or [], (*PEERS, DIRECT))):
        if unknown := [one for one in name if one not in known]:
            parser.error(f"{', '.join(unknown)}: there is none of that name, but {', '.join(known)}")
    return found


def main(arguments: Sequence[str]) -> None:
    """Measure, print, and write when asked to."""
    chosen = _arguments(arguments)
    lengths = QUICK if chosen.quick else FULL
    lengths = evolve(lengths, seconds=chosen.seconds or lengths.seconds)
    rounds = chosen.repeat or (1 if chosen.quick else 5)
    raise_limit()
    # As pip does with what it installs. In a checkout Python does it, unless PYTHONDONTWRITEBYTECODE forbids that: then
    # every start would compile all that it loads.
    compileall.compile_dir(ROOT / "sniproxy", quiet=1)
    print(environment())
    cases = [CASES[name] for name in chosen.cases]
    names = dict.fromkeys(name for case in cases for name in chosen.peers or case.peers if name != DIRECT)
    versions = said_versions(names)
    for name in names:
        print(f"{name}: {versions.get(name) or f'not here; {PEERS[name].needs} has it'}")
    for case in cases:
        began = time.monotonic()
        result = measure(case, chosen.peers or case.peers, lengths, rounds)
        result.versions = {name: versions[name] for name in result.peers if name in versions}
        print(f"\n{table(case, result)}({case.name}: {result.how}; in {time.monotonic() - began:.0f} s)", flush=True)
        if chosen.write:
            results.write(chosen.write, {**results.read(chosen.write), case.name: result})


if __name__ == "__main__":
    main(sys.argv[1:])
