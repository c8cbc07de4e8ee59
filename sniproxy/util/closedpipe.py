"""A program whose output nobody reads any more ends without a word, as others do by SIGPIPE, which Python ignores."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

STATUS = 128 + signal.SIGPIPE
"""What a shell says of a program that SIGPIPE has ended."""


@contextmanager
def exit_on_broken_pipe(*streams: TextIO) -> Iterator[None]:
    """Whoever reads what is written in here may have seen enough: then `SystemExit` is raised, with L{STATUS}.

    @param streams: what is written to; what waits is written at the end.
    """
    try:
        try:
            yield
        finally:
            for stream in streams:
                stream.flush()
    except BrokenPipeError:
        # The interpreter is not to complain, at its end, about what it could not write.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in streams:
            os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        raise SystemExit(STATUS) from None
