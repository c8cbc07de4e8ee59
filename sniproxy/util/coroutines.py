"""Continues coroutines that were started by hand, so that those which never wait cost no Deferred. Pure."""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


def resume(begun: Coroutine[Any, Any, T], waits_for: Any) -> Generator[Any, Any, T]:
    """Run the rest of a started coroutine. @param waits_for: what it awaits. @return: its result."""
    try:
        while True:
            try:
                came = yield waits_for
            except Exception as error:
                waits_for = begun.throw(error)
            else:
                waits_for = begun.send(came)
    except StopIteration as done:
        value: T = done.value
        return value
