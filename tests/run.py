"""Runs tests by trial: in several processes at once, then those with brokers in one.

    python -m tests.run [-j PROCESSES] [--only {spread,brokers}] [TEST ...]

The tests with brokers share a cluster, and a machine runs one cluster at a time. Other programs are private to a test.

What does not end in time is killed, and it is printed what it waited for.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

PROCESSES = min(12, len(os.sched_getaffinity(0)) + 2)
"""Two more than there are cores, because many tests wait. The bound is for the memory."""

LIMIT_S = 3600
"""The most seconds of a run: about four times what the longest takes in CI, because a machine can be slow."""

PROGRAM_LIMIT_S = 300
"""The most seconds that a program of a test runs, but for brokers."""

NO_BROKERS = re.compile(
    r"tests\.peers\.test_(admin_|dns(\.|$)|embedded|fault|flow|http_resolver|import_|manpages|openssl_curl|prometheus|top)"
)
"""Modules with real peers that are no brokers."""


def names_in(folder: Path) -> list[str]:
    """The test modules and packages right in a folder."""
    modules = [path.with_suffix("") for path in folder.glob("test_*.py")]
    packages = [path.parent for path in folder.glob("*/__init__.py") if any(path.parent.rglob("test_*.py"))]
    return sorted(".".join(path.relative_to(ROOT).parts) for path in [*modules, *packages])


def divide(tests: Iterable[str]) -> tuple[list[str], list[str]]:
    """Divide names of tests into those that run in any process, and those that may need brokers."""
    spread, brokers = [], []
    for name in tests:
        if name in ("tests", "tests.peers"):
            inner = divide(names_in(ROOT.joinpath(*name.split("."))))
            spread += inner[0]
            brokers += inner[1]
        elif name.startswith("tests.peers.") and not NO_BROKERS.match(name):
            brokers.append(name)
        else:
            spread.append(name)
    return spread, brokers


@dataclass(frozen=True)
class Process:
    """A process of a run. AGE_S: seconds since its start."""

    pid: int
    parent: int
    command: str
    age_s: float


def processes_of(folder: str) -> list[Process]:
    """All processes of a run, even orphans. FOLDER: the run's TEST_STACKS, which they inherit."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if f"TEST_STACKS={folder}".encode() in (path / "environ").read_bytes().split(b"\0"):
                command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                age = time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
                found.append(Process(int(path.name), int(fields[1]), command, age))
    return found


def kill(processes: Iterable[Process], folder: str, master: subprocess.Popen[bytes]) -> None:
    """Print what processes do, and kill them."""
    for one in processes:
        with contextlib.suppress(OSError):
            if Path(folder, str(one.pid)).exists():
                os.kill(one.pid, signal.SIGQUIT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    master.wait(1)  # until it has written its stacks
        print(f"\nkilled after {one.age_s:.0f} s: process {one.pid}: {one.command[:300]}")
        with contextlib.suppress(OSError):
            print(Path(folder, str(one.pid)).read_text(), flush=True)
        with contextlib.suppress(ProcessLookupError):
            os.kill(one.pid, signal.SIGKILL)


def trial(arguments: Sequence[str], limit: float, program_limit: float) -> int:
    """Run trial for at most LIMIT seconds. Returns its exit status, or 1 if it did not end.

    PROGRAM_LIMIT: the most seconds that a program of a test may run. A test that waits for it then fails. An orphan
    does not hold up the end of the run, although it has the output of trial's worker.
    """
    command = [sys.executable, "-m", "twisted.trial", *arguments]
    workers = any(argument.startswith("-j") for argument in arguments)
    end = time.monotonic() + limit
    with tempfile.TemporaryDirectory() as folder:
        master = subprocess.Popen(command, env={**os.environ, "TEST_STACKS": folder})
        while True:
            with contextlib.suppress(subprocess.TimeoutExpired):
                return master.wait(min(10, program_limit))
            processes = [one for one in processes_of(folder) if one.pid != master.pid]
            # Python's tracker of shared memory lives as long as a worker.
            programs = [one for one in processes if one.parent != master.pid or not workers]
            programs = [one for one in programs if "multiprocessing.resource_tracker" not in one.command]
            kill([one for one in programs if one.age_s > program_limit], folder, master)
            if time.monotonic() > end:
                break
        print(f"\nThe tests did not end in {limit:g} s.")
        kill(processes, folder, master)
        with contextlib.suppress(subprocess.TimeoutExpired):
            master.wait(60)  # it reports what the workers did until then
        master.kill()
        return 1


def main(arguments: Sequence[str]) -> int:
    """Run tests. Returns the exit status: 1 if a test failed."""
    parser = argparse.ArgumentParser("python -m tests.run", description=__doc__)
    parser.add_argument("tests", nargs="*", metavar="TEST", default=["tests"], help="default: all")
    parser.add_argument("-j", type=int, default=PROCESSES, metavar="PROCESSES", dest="processes")
    parser.add_argument("--only", choices=("spread", "brokers"), help="only those without a cluster, or with one")
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="SECONDS", help=f"default: {LIMIT_S}")
    parser.add_argument(
        "--program-limit", type=float, default=PROGRAM_LIMIT_S, metavar="SECONDS", help=argparse.SUPPRESS
    )
    chosen = parser.parse_args(arguments)
    spread, brokers = divide(chosen.tests)
    statuses = []
    if spread and chosen.only != "brokers":
        processes = [f"-j{chosen.processes}"] if chosen.processes > 1 else []
        statuses.append(trial([*processes, *spread], chosen.limit, chosen.program_limit))
    if brokers and chosen.only != "spread":
        # A directory of its own, so that the first run's log stays.
        statuses.append(trial(["--temp-directory=_trial_temp_brokers", *brokers], chosen.limit, chosen.limit))
    return 1 if any(statuses) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
