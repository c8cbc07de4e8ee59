#!/usr/bin/env python3
"""Checks that each source file is covered by its own tests: `tests/a/test_b.py` runs 90 % of `sniproxy/a/b.py`.

    .venv/bin/python .ci/coverage.py [PATH ...]     PATH: files or folders below sniproxy; all without one

`tests/a/test_b_*.py`, parts of a long test file, count with it. The figure counts branches; in a file without branches,
statements. Code that other test files or child processes run does not count. Prints the files below the bound. The
status is 1 if one of them is not in EXCEPTIONS, if an exception is no longer needed, or if a test fails.
"""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "sniproxy"

MIN_PERCENT = 90.0

TIMEOUT_S = 600.0
"""Seconds for one test file."""

_CHILD = "its tests run it in a child process"

EXCEPTIONS = {
    "sniproxy/server/workers/entrance.py": _CHILD,
    "sniproxy/server/workers/process.py": "the supervisor's tests start workers with kept and passed sockets",
    "sniproxy/server/workers/supervisor.py": _CHILD,
}
"""Files below the bound, each with the reason."""


def sources(arguments: list[str]) -> list[Path]:
    """The source files that have code, below these paths."""
    found = []
    for start in [Path(each).resolve() for each in arguments] or [SOURCE]:
        paths = sorted(start.rglob("*.py")) if start.is_dir() else [start]
        found += [path for path in paths if not path.name.endswith("_pb2.py") and has_code(path)]
    return found


def has_code(path: Path) -> bool:
    """Whether a file defines a function or a class. tests/test_architecture.py asks for a test file then."""
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        for node in ast.parse(path.read_text()).body
    )


def test_modules(path: Path) -> list[str]:
    """The test modules of a source file: ``test_b``, and ``test_b_subject`` where a long one is split."""
    inner = path.relative_to(SOURCE)
    folder, name = ROOT / "tests" / inner.parent, f"test_{inner.stem.strip('_')}"
    files = [folder / f"{name}.py", *sorted(folder.glob(f"{name}_*.py"))]
    return [".".join(file.relative_to(ROOT).with_suffix("").parts) for file in files]


def measure(path: Path, scratch: str) -> tuple[float, str]:
    """Run a file's own tests. @return: the percentage, and the last line of trial, empty if the tests passed."""
    data = {**os.environ, "COVERAGE_FILE": os.path.join(scratch, "data")}
    coverage = [sys.executable, "-m", "coverage"]
    trial = ["-m", "twisted.trial", f"--temp-directory={scratch}/trial", *test_modules(path)]
    ran = subprocess.run(
        [*coverage, "run", "--branch", f"--include={path}", *trial],
        cwd=ROOT, env=data, capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    report = os.path.join(scratch, "report.json")
    subprocess.run([*coverage, "json", "-q", "-o", report], cwd=ROOT, env=data, capture_output=True, check=False)
    try:
        with open(report) as file:
            totals = json.load(file)["totals"]
    except FileNotFoundError:  # no line of the file was run
        return 0.0, ran.stdout.strip().rpartition("\n")[2]
    kind = "branches" if totals["num_branches"] else "lines"
    done, everything = totals[f"covered_{kind}"], totals["num_branches"] or totals["num_statements"]
    return 100.0 * done / (everything or 1), "" if ran.returncode == 0 else ran.stdout.strip().rpartition("\n")[2]


def main() -> int:
    began, bad = time.monotonic(), 0
    paths = sources(sys.argv[1:])
    for path in paths:
        name = str(path.relative_to(ROOT))
        before = time.monotonic()
        with tempfile.TemporaryDirectory() as scratch:
            percent, failure = measure(path, scratch)
        why = EXCEPTIONS.get(name)
        short, took = percent < MIN_PERCENT, time.monotonic() - before
        if failure:
            note = f"tests failed: {failure}"
        elif short != (why is not None):
            note = "below the bound" if short else "no longer an exception"
        else:
            note = f"exception: {why}" if short else ""
        wrong = bool(failure) or short != (why is not None)
        bad += wrong
        if note:
            print(f"{percent:5.1f} %  {took:5.1f} s  {name}  {note}", flush=True)
    print(f"{len(paths)} files in {time.monotonic() - began:.0f} s, {bad} wrong")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
