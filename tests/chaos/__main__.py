"""Runs chaos: ``python -m tests.chaos [--seconds 60] [--seed 1] [--way engine ...]``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from attrs import asdict

from sniproxy.relay.engine import EngineUnavailable, load
from tests.chaos import wire
from tests.chaos.document import only_table, write
from tests.chaos.inside import Options
from tests.chaos.namespace import run_inside
from tests.chaos.proxies import ENGINE, HAPROXY, WAYS, haproxy_program

SKIPPED = 75
"""The exit status where there can be no namespaces."""

_AFTER_S = 180.0
"""Seconds that a run may take beyond those in which it opens tunnels: its start, the last tunnels and its end."""


def available(ways: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of the ways that can be had here, and why others cannot."""
    why: dict[str, str] = {}
    try:
        load()
    except EngineUnavailable as error:
        why[ENGINE] = str(error)
    if haproxy_program() is None:
        why[HAPROXY] = "not installed"
    return [way for way in ways if way not in why], [f"{way}: {why[way]}" for way in ways if way in why]


def run(options: Options) -> tuple[int, str]:
    """Run it in namespaces of its own. @return: the exit status and the output."""
    limit = options.seconds + options.limit_s + _AFTER_S
    return run_inside("tests.chaos.inside", json.dumps(asdict(options)), limit)


def main(arguments: Sequence[str]) -> int:
    """The program. @return: the exit status."""
    parser = argparse.ArgumentParser("python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="open tunnels for so long; default: 60")
    parser.add_argument("--seed", type=int, default=1, help="of the line, the tunnels and the kills; default: 1")
    parser.add_argument("--way", action="append", choices=WAYS, help="through this proxy only; default: all")
    parser.add_argument("--at-once", type=int, default=40, help="concurrent tunnels; default: 40")
    parser.add_argument("--write", action="store_true", help="write the table into docs/explanation/chaos.md")
    chosen = parser.parse_args(arguments)
    if why := wire.why_not():
        print(f"skipped: {why}")
        return SKIPPED
    ways, missing = available(chosen.way or WAYS)
    for one in missing:
        print(f"without {one}")
    if not ways:
        return SKIPPED
    print(f"{', '.join(ways)}: {chosen.seconds:g} s of tunnels, seed {chosen.seed}", flush=True)
    status, said = run(Options(ways, chosen.seed, chosen.seconds, at_once=chosen.at_once))
    print(said, end="")
    if chosen.write:
        packets = [line for line in said.splitlines() if line.startswith(("packets", "workers"))]
        write(
            "chaos",
            [f"{chosen.seconds:g} s, seed {chosen.seed}, {chosen.at_once} tunnels at once", *packets, only_table(said)],
        )
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
