"""Measures what the real Java, Python and Go clients do at each fault: `python -m tests.peers.faulttable`.

It runs each client with each fault of `flowfaults` behind the proxy, several times, and prints what the clients did.
`--write` writes the rows of the table in docs/reference/client-faults.md; those of faults that were not run stay. It
needs `make peers`. Run it on an idle machine: a busy one adds to the seconds.
"""

from __future__ import annotations

import argparse
import datetime
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from bench.table import write_into
from tests.peers import flowfaults, provide
from tests.peers.children import ChildError
from tests.peers.flowfacts import Fact, describe
from tests.peers.flowfaults import FlowFault
from tests.peers.flowrun import FlowClient, FlowError, all_clients, run_flow

PAGE = provide.HERE.parents[1] / "docs" / "reference" / "client-faults.md"
#: The name of the table in the page.
TABLE = "client-faults"


def table(clients: Iterable[str], rows: Mapping[str, Sequence[str]]) -> str:
    """The table: `rows` has the cells of a fault by its title. Faults without a row are left out."""
    heads = ["fault", *clients]
    lines = [heads, ["---"] * len(heads)]
    lines += [[fault.title, *rows[fault.title]] for fault in flowfaults.ALL if fault.title in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def rows_of(text: str) -> dict[str, list[str]]:
    """The rows of the table in a page, by their first cells."""
    rows = [line.strip("| \n").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {cells[0]: cells[1:] for cells in rows if cells[0] in {fault.title for fault in flowfaults.ALL}}


def measure(faults: Sequence[FlowFault], clients: Sequence[FlowClient], runs: int, jobs: int) -> dict[str, list[str]]:
    """Run the clients with the faults, several at once. Returns the rows, and prints each.

    A fault of which a run failed has no row.
    """

    def one(fault: FlowFault, client: FlowClient) -> list[Fact]:
        with tempfile.TemporaryDirectory() as folder:
            return run_flow(fault, client, Path(folder))

    rows = {}
    with ThreadPoolExecutor(jobs) as pool:
        # The long ones first: they wait most of the time.
        found: dict[tuple[str, str], list[Future[list[Fact]]]] = {}
        for fault in sorted(faults, key=lambda fault: not fault.long):
            for client in clients:
                found[fault.name, client.name] = [pool.submit(one, fault, client) for _ in range(runs)]
        for fault in faults:
            print(f"{fault.name}:", flush=True)
            try:
                cells = [describe([future.result() for future in found[fault.name, client.name]]) for client in clients]
            except (FlowError, ChildError) as failure:
                print(f"    a run failed: {failure}", flush=True)
                continue
            rows[fault.title] = cells
            print("\n".join(map("    {}".format, cells)), flush=True)
    return rows


def main(arguments: Sequence[str]) -> int:
    """Measure, and write what is asked for. Returns the exit status: 69: a client is missing; 1: a run failed."""
    parser = argparse.ArgumentParser("python -m tests.peers.faulttable", description=__doc__)
    parser.add_argument("--fault", action="append", choices=[fault.name for fault in flowfaults.ALL], help="only this")
    parser.add_argument("--runs", type=int, default=3, help="runs of each client with each fault; default: 3")
    parser.add_argument("--jobs", type=int, default=3 * (os.cpu_count() or 1), help="runs at once")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.name}")
    chosen = parser.parse_args(arguments)
    clients = all_clients()
    if absent := [part for client in clients for part in client.absent]:
        print(f"not provided: {', '.join(absent)}; make peers")
        return 69
    faults = [flowfaults.find(name) for name in chosen.fault] if chosen.fault else flowfaults.ALL
    rows = measure(faults, clients, chosen.runs, chosen.jobs)
    if chosen.write:
        known = rows_of(PAGE.read_text())
        text = table([client.name for client in clients], {**known, **rows})
        text += f"\nWritten on {datetime.date.today()}; {chosen.runs} runs of each client with each fault.\n"
        write_into(PAGE, TABLE, text)
    return 0 if len(rows) == len(faults) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
