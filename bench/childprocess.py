"""Runs a function in a process of its own and returns its result."""

from __future__ import annotations

from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from typing import Any

SKIPPED = "skipped: "
"""The start of the reason of a `LoadError` if something is missing here, and nothing went wrong."""


_END_TIMEOUT_S = 60.0
"""Seconds for a process to exit after its result."""


class LoadError(Exception):
    """A run failed, or was skipped. The message gives the reason."""


def run_in_process(context: BaseContext, who: str, work: Callable[[], object]) -> object:
    """The result of ``work``, run in a new process. ``who``: its name in error messages. Raises `LoadError`."""
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(theirs, who, work), daemon=True)  # type: ignore[attr-defined]
    process.start()
    theirs.close()
    try:
        told = ours.recv()
    except EOFError:
        raise LoadError(f"the {who} exited without a result") from None
    finally:
        process.join(_END_TIMEOUT_S)
        process.kill()
        ours.close()
    if isinstance(told, str):
        raise LoadError(told)
    return told


def _tell(pipe: Connection[Any, Any], who: str, work: Callable[[], object]) -> None:
    try:
        pipe.send(work())
    except (OSError, LoadError) as error:
        pipe.send(f"the {who} failed: {error}")
