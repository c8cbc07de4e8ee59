"""Objects of which each reactor has exactly one. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar
from weakref import WeakKeyDictionary, ref

T = TypeVar("T")


class PerReactor(Generic[T]):
    """Returns the object of a reactor or a clock, and makes it at the first call.

    @param make: makes the object for a reactor.
    """

    def __init__(self, make: Callable[[Any], T]) -> None:
        self._make = make
        self._found: WeakKeyDictionary[Any, T] = WeakKeyDictionary()
        self._last: tuple[ref[Any], T] | None = None  # nearly always the one: a program has one reactor

    def __call__(self, reactor: object) -> T:
        last = self._last
        if last is not None and last[0]() is reactor:
            return last[1]
        found = self._found.get(reactor)
        if found is None:
            found = self._found[reactor] = self._make(reactor)
        self._last = ref(reactor), found
        return found

    def set(self, reactor: object, value: T) -> None:
        """Set the object of a reactor that made it itself."""
        self._found[reactor] = value
        self._last = None
