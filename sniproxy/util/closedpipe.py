"""Ends a program silently when its output pipe is closed. Python ignores SIGPIPE, which ends other programs."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

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
