"""Programs that tests start: each waits and ends within a bound, with all processes of its group."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.sockets import TIMEOUT_S

DEFAULT_SIGINT = ("env", "--default-signal=INT")
"""Before a command that gets SIGINT: a shell makes its background jobs ignore it, and their child processes inherit
that."""

START_TIMEOUT_S = 2 * TIMEOUT_S
"""Seconds until a program has said what a test waits for."""


def start(case: SynchronousTestCase, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
    """Start a program in a process group of its own, which is killed at the end of the test.

    @param options: of L{subprocess.Popen}.
    """
    program = subprocess.Popen(command, start_new_session=True, **options)
    case.addCleanup(kill, program)
    return program


def kill(program: subprocess.Popen[Any]) -> None:
    """Kill a program and its process group, collect its status, and close its pipes."""
    kill_group(program)
    program.wait(TIMEOUT_S)
    for pipe in (program.stdin, program.stdout, program.stderr):
        if pipe is not None:
            with suppress(OSError):  # bytes that were not written
                pipe.close()


def kill_group(program: subprocess.Popen[Any]) -> None:
    """Kill a program and its process group."""
    with suppress(ProcessLookupError):
        os.killpg(program.pid, signal.SIGKILL)
    program.kill()  # it may not lead its group yet


@contextmanager
def killed_after(program: subprocess.Popen[Any], seconds: float = START_TIMEOUT_S) -> Iterator[None]:
    """Kill a program if the body lasts longer, so that a read of its output ends."""
    timer = threading.Timer(seconds, kill_group, (program,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def run(
    command: Sequence[str], timeout: float = START_TIMEOUT_S, check: bool = False, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end. @param options: of L{subprocess.Popen}.

    @raise subprocess.TimeoutExpired: it was killed with its process group after this time.
    @raise subprocess.CalledProcessError: C{check} is set, and its exit status is not 0.
    """
    if options.pop("capture_output", False):
        options.update(stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    program = subprocess.Popen(command, start_new_session=True, **options)
    try:
        out, error = program.communicate(timeout=timeout)
    finally:
        kill(program)
    done = subprocess.CompletedProcess(command, program.returncode, out, error)
    if check:
        done.check_returncode()
    return done


def read_until(program: subprocess.Popen[str], text: str, seconds: float = START_TIMEOUT_S) -> str:
    """Read a program's standard output up to a line with a text. @return: what it said.

    @raise AssertionError: it ended before, or was killed after this time.
    """
    assert program.stdout is not None
    said = ""
    with killed_after(program, seconds):
        for line in program.stdout:
            said += line
            if text in line:
                return said
    raise AssertionError(f"it ended without {text!r}: {said}")


def finish(program: subprocess.Popen[str], number: int, seconds: float = START_TIMEOUT_S) -> tuple[int, str]:
    """Send a signal and wait for the exit. @return: the exit status, and the rest of the standard output.

    C{communicate} with a timeout would lose what the pipe's buffer has.
    """
    assert program.stdout is not None
    program.send_signal(number)
    with killed_after(program, seconds):
        said = program.stdout.read()
    return program.wait(TIMEOUT_S), said
