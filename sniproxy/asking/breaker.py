"""A circuit breaker: a resolver that fails for one name after another is left alone for a while. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum

TRIPS_AT = 5
"""Names that fail, one after another and none in between that does not, until it opens. One bad name never opens it."""

FIRST_REST = 1.0
LONGEST_REST = 30.0
"""Seconds of rest: each that ends in another failure is twice as long as the one before."""


class State(StrEnum):
    """Whether questions are let through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class Breaker:
    """Closed: all questions pass. Open: none. After its rest one passes, half open, whose end decides."""

    def __init__(self) -> None:
        self.state = State.CLOSED
        self._failing: set[Hashable] = set()
        self._rest = FIRST_REST
        self._until = 0.0

    def lets(self, now: float) -> bool:
        """Whether a question may be asked now; when it is half open, only the first one may."""
        if self.state is State.OPEN and now >= self._until:
            self.state = State.HALF_OPEN
            return True
        return self.state is State.CLOSED

    def rest(self, now: float) -> float:
        """Seconds until a question may pass again."""
        return max(0.0, self._until - now)

    def succeeded(self) -> None:
        """A question was answered, if only by a refusal."""
        self.state = State.CLOSED
        self._failing.clear()
        self._rest = FIRST_REST

    def failed(self, name: Hashable, now: float) -> None:
        """A question about this name was not answered."""
        if self.state is State.OPEN:  # asked before it opened
            return
        if self.state is State.CLOSED:
            self._failing.add(name)
            if len(self._failing) < TRIPS_AT:
                return
        self.state = State.OPEN
        self._failing.clear()
        self._until = now + self._rest
        self._rest = min(2 * self._rest, LONGEST_REST)

    def given_up(self, now: float) -> None:
        """The question ended without an answer because nobody waits for it any more: another one decides."""
        if self.state is State.HALF_OPEN:
            self.state, self._until = State.OPEN, now
