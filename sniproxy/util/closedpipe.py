"""Ends a program silently when its output pipe is closed. Python ignores SIGPIPE, which ends other programs."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn, TextIO

STATUS = 128 + signal.SIGPIPE
"""A shell's exit status for a program that SIGPIPE ended."""


@contextmanager
def exit_on_broken_pipe(*streams: TextIO) -> Iterator[None]:
    """Raise `SystemExit` with L{STATUS} if a write in the body fails because the reader has closed the pipe.

    @param streams: the streams that the body writes to; they are flushed at its end.
    """
    try:
        try:
            yield
        finally:
            for stream in streams:
                stream.flush()
    except BrokenPipeError:
        # Keeps the interpreter from reporting the unwritten data when it exits.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in streams:
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        raise SystemExit(STATUS) from None


def say(text: str) -> NoReturn:
    """Print a text, and exit with status 0."""
    with exit_on_broken_pipe(sys.stdout):
        print(text)
    sys.exit(0)


def fail(message: str) -> NoReturn:
    """Print an error to the real standard error, each line behind the program's name, and exit with status 1."""
    with exit_on_broken_pipe(*(() if sys.__stderr__ is None else (sys.__stderr__,))):
        for line in message.split("\n"):
            print(f"sniproxy: {line}", file=sys.__stderr__)
    sys.exit(1)
