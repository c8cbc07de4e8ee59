"""A circuit breaker: a resolver that answers no client is asked only a few questions a second. Pure.

It is about the server behind a resolver, not about names: strangers choose names, and some have a name server of their
own that fails. So it counts clients, each once, and any answer to any name shows that the server works.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum

MAX_FAILURES = 5
"""Clients, and names, whose questions fail without an answer to any name in between, until it opens. One client never
opens it, and neither does one name."""

CALM_S = 5.0
"""Seconds after an answer in which it does not open: a server that has just answered works."""

PASSES = 3
"""Questions a second that pass while it is open, of clients whose questions failed; and as many of other clients, so
that those that fail cannot take the places of all. Each client has one a second."""

MAX_COUNTED = 1000
"""Clients, and names, that are remembered: more make no difference."""


class State(StrEnum):
    """Whether questions are let through."""

    CLOSED = "closed"
    OPEN = "open"


class Breaker:
    """Closed: all questions pass. Open: a few a second; the first answer closes it."""

    def __init__(self) -> None:
        self.state = State.CLOSED
        self._clients: set[Hashable] = set()
        self._names: set[Hashable] = set()
        self._answered: float | None = None
        self._second = 0.0
        self._passed: set[Hashable] = set()
        self._passes = {True: 0, False: 0}

    @property
    def clients(self) -> int:
        """Clients whose questions failed since the last answer, up to L{MAX_COUNTED}."""
        return len(self._clients)

    def lets(self, client: Hashable, now: float) -> bool:
        """Whether a question of this client may be asked now."""
        if self.state is State.CLOSED:
            return True
        if now >= self._second + 1.0:
            self._second = now
            self._passed.clear()
            self._passes = {True: 0, False: 0}
        failed_before = client in self._clients
        if client in self._passed or self._passes[failed_before] >= PASSES:
            return False
        self._passed.add(client)
        self._passes[failed_before] += 1
        return True

    def succeeded(self, now: float) -> None:
        """A question was answered, if only by a refusal."""
        self.state = State.CLOSED
        self._answered = now
        self._clients.clear()
        self._names.clear()

    def failed(self, client: Hashable, name: Hashable, now: float) -> None:
        """A question of this client about this name was not answered."""
        for value, known in ((client, self._clients), (name, self._names)):
            if len(known) < MAX_COUNTED:
                known.add(value)
        calm = self._answered is not None and now < self._answered + CALM_S
        if not calm and min(len(self._clients), len(self._names)) >= MAX_FAILURES:
            self.state = State.OPEN
