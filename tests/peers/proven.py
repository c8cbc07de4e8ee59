"""Runs the tests with real peers for each version of Pulsar, and writes what passed into the README.

`python -m tests.peers.proven` is `make peers-long`: all tests, in full length, with each version. A version is proven
when no test fails; tests of what it does not have are skipped. `--tests` runs fewer, and the table says so. `--table`
writes the table alone. CI runs the core (`--core` prints it) with each version but the default one (`--others`), with
which it runs all.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from attrs import asdict, frozen

from bench.table import markdown, write_into
from tests.peers import provide, versions
from tests.peers.versions import Pulsar

README = provide.HERE.parents[1] / "README.md"
RECORDS = provide.HERE / "proven.json"
#: The name of the table in the README.
TABLE = "versions"
ALL_TESTS = ("tests.peers",)
#: What has to work with every version, in about a minute.
CORE = (
    "tests.peers.test_java_client.JavaClientTests.test_both_phases",
    "tests.peers.test_java_client.JavaClientTests.test_redirect",
    "tests.peers.test_java_client.JavaClientTests.test_topic_moves_while_producing",
    "tests.peers.test_java_versions",
    "tests.peers.test_inspector.PlaintextTests.test_java",
    "tests.peers.test_inspector.PlaintextTests.test_move",
    "tests.peers.test_bridge.BridgeTests.test_topics",
    "tests.peers.test_pulsar_resolver.PulsarResolverTests.test_java",
    "tests.peers.test_zookeeper.SessionTests.test_watches",
    "tests.peers.test_secured_brokers.SecuredBrokerTests.test_client_certificate",
    "tests.peers.test_secured_brokers.SecuredBrokerTests.test_token",
    "tests.peers.test_geo_replication.ReplicationTests.test_one_proxy_for_both",
    "tests.peers.test_geo_replication.MistakeTests.test_no_route",
)
#: What can run: its tests, and whether in full length.
SCOPES = {"long": (ALL_TESTS, True), "all": (ALL_TESTS, False), "core": (CORE, False)}
_SHOWN = {"long": "all, in full length", "all": "all", "core": "the core"}
_HEADS = ("Pulsar", "Java", "tests", "passed", "skipped", "Python client", "Go client", "on")


@frozen
class Record:
    """A run without failures."""

    release: str
    #: A key of `SCOPES`.
    tests: str
    passed: int
    skipped: int
    python: str
    go: str
    day: str


def counts(line: str) -> tuple[int, int] | None:
    """The numbers of passed and skipped tests in trial's last line. None: some failed, or none passed."""
    numbers = {name: int(number) for name, number in re.findall(r"(\w+)=(\d+)", line)}
    if not line.startswith("PASSED") or not numbers.get("successes"):
        return None
    return numbers["successes"], numbers.get("skips", 0)


def run(pulsar: Pulsar, tests: Sequence[str], long: bool) -> tuple[int, int] | None:
    """Run tests with a version, and show their output. Returns as `counts`."""
    environment = {**os.environ, "PULSAR": pulsar.name, "REQUIRE_PEERS": "1", "PEERS_LONG": "1" if long else ""}
    command = [sys.executable, "-m", "twisted.trial", *tests]
    last = ""
    with subprocess.Popen(command, env=environment, text=True, errors="replace", stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        for line in child.stdout:
            print(line, end="", flush=True)
            last = line if line.startswith(("PASSED", "FAILED")) else last
    return counts(last) if child.returncode == 0 else None


def clients() -> tuple[str, str]:
    """The versions of the Python and Go clients that the tests use."""
    found = re.search(r"pulsar-client-go v(\S+)", (provide.HERE / "go" / "go.mod").read_text())
    return provide.PYTHON_CLIENT.rpartition("=")[2], found[1] if found else ""


def table(pulsars: Iterable[Pulsar], records: Mapping[str, Record]) -> str:
    """A row for each version. A record of another release counts for nothing."""
    rows = []
    for pulsar in pulsars:
        known = records.get(pulsar.name)
        cells = ["not proven", "", "", "", "", ""]
        if known is not None and known.release == pulsar.release:
            cells = [_SHOWN[known.tests], str(known.passed), str(known.skipped), known.python, known.go, known.day]
        rows.append((pulsar.release, str(pulsar.java), *cells))
    return markdown(_HEADS, rows)


def read_records(path: Path = RECORDS) -> dict[str, Record]:
    """The recorded runs by version."""
    return {name: Record(**fields) for name, fields in json.loads(path.read_text()).items()}


def write_records(records: Mapping[str, Record], path: Path = RECORDS) -> None:
    """Write the recorded runs."""
    path.write_text(json.dumps({name: asdict(records[name]) for name in sorted(records)}, indent=2) + "\n")


def main(arguments: Sequence[str]) -> int:
    """Run what is asked for, and write the records and the table. Returns the exit status: 1 if a test failed."""
    parser = argparse.ArgumentParser("python -m tests.peers.proven", description=__doc__)
    parser.add_argument("version", nargs="*", help="versions to run; default: all")
    parser.add_argument("--tests", choices=SCOPES, default="long", help="default: long")
    parser.add_argument("--core", action="store_true", help="print the names of the core's tests, and run nothing")
    parser.add_argument("--others", action="store_true", help="print the other versions than the default one")
    parser.add_argument("--table", action="store_true", help="write the table of the recorded runs, and run nothing")
    chosen = parser.parse_args(arguments)
    if chosen.core:
        print(" ".join(CORE))
        return 0
    if chosen.others:
        print(" ".join(pulsar.name for pulsar in versions.ALL if pulsar.name != versions.DEFAULT))
        return 0
    records = read_records()
    failed = []
    for pulsar in [] if chosen.table else [versions.find(name) for name in chosen.version] or versions.ALL:
        print(f"\n=== Pulsar {pulsar.release}", flush=True)
        passed = run(pulsar, *SCOPES[chosen.tests])
        records.pop(pulsar.name, None)
        if passed is None:
            failed.append(pulsar.release)
        else:
            today = f"{datetime.date.today()}"
            records[pulsar.name] = Record(pulsar.release, chosen.tests, passed[0], passed[1], *clients(), today)
        write_records(records)
        write_into(README, TABLE, table(versions.ALL, records))
    write_into(README, TABLE, table(versions.ALL, records))
    print(f"\nfailed: {', '.join(failed)}" if failed else "\nno version failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
