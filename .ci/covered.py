#!/usr/bin/env python3
"""Runs tests as trial does, and checks that each test file covers its own source file: `tests/a/test_b.py`, with
`test_b_more.py` beside it, takes 90 % of the branches of `sniproxy/a/b.py`.

    .venv/bin/python .ci/covered.py [-j PROCESSES] [TEST ...]

TEST: modules; without one, all but those of peers and bench. Each of the processes runs a share of them. Their output
follows at the end.

The suite runs once. Code that other test files or child processes run does not count; what importing runs counts. In a
file without branches, the figure counts statements. Prints the files below the bound. The status is 1 if a test fails,
if a file below the bound is not in EXCEPTIONS or is below its floor there, or if an exception is no longer needed.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

os.environ["COVERAGE_CORE"] = "ctrace"  # sys.monitoring, the default from Python 3.14 on, cannot tell contexts apart

from coverage import Coverage
from twisted.trial.reporter import TreeReporter
from twisted.trial.runner import TestLoader, TrialRunner

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "sniproxy"

MIN_PERCENT = 90.0

EXCEPTIONS: dict[str, tuple[float, str]] = {
    "sniproxy/connection/handler.py": (
        70,
        "test_termination runs end_tls, with a broker that speaks TLS",
    ),
}
"""Files below the bound: the least percentage of each, and the reason."""


def default_tests() -> list[str]:
    """All test modules but those of peers and benches."""
    paths = sorted(path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py"))
    return [".".join(path.with_suffix("").parts) for path in paths if path.parts[1] not in ("peers", "bench")]


def sources() -> list[Path]:
    """The source files that define a function or a class. tests/test_architecture.py asks for a test file of each."""
    code = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    paths = [path for path in sorted(SOURCE.rglob("*.py")) if not path.name.endswith("_pb2.py")]
    return [path for path in paths if any(isinstance(node, code) for node in ast.parse(path.read_text()).body)]


def own_module(path: Path) -> str:
    """The test module of a source file."""
    inner = path.relative_to(SOURCE)
    return ".".join(["tests", *inner.parent.parts, f"test_{inner.stem.strip('_')}"])


def own_contexts(path: Path) -> str:
    """A pattern of the contexts that count for a source file: its test modules, and imports, whose context is empty."""
    return rf"^({re.escape(own_module(path))}(_\w+)?)?$"


def module_of(test) -> str:
    """The module of a test. Trial wraps synchronous tests, so that the class of the object does not say it."""
    return test.id().rsplit(".", 2)[0]


def start(data: str) -> Coverage:
    """The measurement of one process, into a file."""
    return Coverage(data_file=data, config_file=False, branch=True, source=[str(SOURCE)], messages=False)


def run(data: str, tests: list[str]) -> bool:
    """Run tests in this process, with the module of each as the context. @return: whether all passed."""
    coverage = start(data)

    class Reporter(TreeReporter):
        context = ""

        def startTest(self, method):
            module = module_of(method)
            if module != self.context:
                self.context = module
                coverage.switch_context(module)
            super().startTest(method)

    coverage.start()
    try:
        result = TrialRunner(Reporter).run(TestLoader().loadByNames(tests, recurse=True))
    finally:
        coverage.stop()
        coverage.save()
    return result.wasSuccessful()


def run_shares(processes: int, tests: list[str], scratch: str) -> tuple[bool, Coverage]:
    """Run a share of the tests in each process. @return: whether all passed, and what they covered."""
    children, files = [], []
    for number in range(min(processes, len(tests))):
        files.append(os.path.join(scratch, f"data-{number}"))
        command = [sys.executable, __file__, "--share", files[-1], *tests[number::processes]]
        # Into a file, because a process stops at a full pipe.
        with open(f"{files[-1]}.log", "w") as output:
            children.append(subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT))
    passed = True
    for child, file in zip(children, files, strict=True):
        passed = child.wait() == 0 and passed
        print(Path(f"{file}.log").read_text(errors="replace"), flush=True)
    coverage = start(os.path.join(scratch, "data"))
    coverage.combine(files)
    return passed, coverage


def percentage(coverage: Coverage, path: Path, scratch: str) -> float:
    """What the tests of a source file cover of it."""
    report = os.path.join(scratch, "report.json")
    coverage.json_report(morfs=[str(path)], outfile=report, contexts=[own_contexts(path)])
    with open(report) as file:
        totals = json.load(file)["totals"]
    kind = "branches" if totals["num_branches"] else "lines"
    return 100.0 * totals[f"covered_{kind}"] / (totals["num_branches"] or totals["num_statements"] or 1)


def main() -> int:
    os.chdir(ROOT)
    sys.path[0] = str(ROOT)
    parser = argparse.ArgumentParser()
    parser.add_argument("tests", nargs="*")
    parser.add_argument("-j", type=int, default=1, dest="processes")
    parser.add_argument("--share", help="the file for what this process covers; it judges nothing")
    chosen = parser.parse_args()
    if chosen.share:
        return 0 if run(chosen.share, chosen.tests) else 1
    tests = chosen.tests or default_tests()
    with tempfile.TemporaryDirectory() as scratch:
        passed, coverage = run_shares(chosen.processes, tests, scratch)
        judged = [path for path in sources() if own_module(path) in tests]
        figures = {path: percentage(coverage, path, scratch) for path in judged}
    bad = 0
    print(f"\nbranches that a test file covers of its own source file, below {MIN_PERCENT:.0f} % or wrong:")
    for path, percent in figures.items():
        name = str(path.relative_to(ROOT))
        floor, why = EXCEPTIONS.get(name, (MIN_PERCENT, ""))
        if percent < floor:
            note, wrong = f"WRONG: below {floor:.0f} %", True
        elif why and percent >= MIN_PERCENT:
            note, wrong = "WRONG: no longer an exception", True
        elif why:
            note, wrong = f"exception, at least {floor:.0f} %: {why}", False
        else:
            continue
        bad += wrong
        print(f"  {percent:5.1f} %  {name}  {note}")
    gone = [name for name in EXCEPTIONS if not (ROOT / name).exists()]
    for name in gone:
        print(f"          {name}  WRONG: there is no such file")
    print(f"{len(figures)} files, {bad + len(gone)} wrong")
    return 0 if passed and not bad and not gone else 1


if __name__ == "__main__":
    sys.exit(main())
