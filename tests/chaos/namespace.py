"""Runs a module in a user and network namespace of its own, and ends all its processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import suppress
from pathlib import Path
from threading import Event

from tests.support.twistdprocess import ENVIRONMENT

_MARK = "CHAOS_RUN"
_KILL_S = 10.0
_POLL_S = 0.02


def run_inside(module: str, argument: str, limit_s: float) -> tuple[int, str]:
    """Run ``python -m MODULE ARGUMENT``. @return: its exit status and output; status 1 if it takes too long.

    All its processes have ended then, even if it was interrupted.
    """
    mark = uuid.uuid4().hex
    command = ["unshare", "-rn", sys.executable, "-m", module, argument]
    environment = {**ENVIRONMENT, _MARK: mark}
    # A file, and not a pipe, which a process that is left would keep open.
    with tempfile.TemporaryFile("w+", errors="replace") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment, start_new_session=True)
        late = ""
        try:
            process.wait(limit_s)
        except subprocess.TimeoutExpired:
            late = f"{module} did not end in {limit_s:g} s\n"
        finally:
            kill_all(mark)
            process.wait(_KILL_S)
        said.seek(0)
        return 1 if late else process.returncode, said.read() + late


def marked(mark: str) -> list[int]:
    """The processes of a run. They have inherited its mark, workers in sessions of their own, too."""
    wanted = f"{_MARK}={mark}".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return found


def kill_all(mark: str) -> None:
    """Kill all processes of a run, stopped ones, too."""
    until = time.monotonic() + _KILL_S
    while (found := marked(mark)) and time.monotonic() < until:
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        Event().wait(_POLL_S)  # until they have ended
