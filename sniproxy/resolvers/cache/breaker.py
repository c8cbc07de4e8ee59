"""Circuit breaker: limits the queries to a resolver that answers no client. Pure.

It judges the server behind a resolver, not single names: clients choose the names, and a name may have a broken name
server. So the breaker counts each failing client and each failing name once, and an answer to any name shows that the
server works.
"""

from __future__ import annotations

from collections.abc import Hashable
from enum import StrEnum

MAX_FAILURES = 5
"""The breaker opens when the queries of this many clients and of this many names have failed without an answer in
between. A single client, or a single name, never opens it."""

SUCCESS_GRACE_S = 5.0
"""Seconds after an answer during which the breaker does not open."""

MAX_PROBES_PER_S = 3
"""Queries a second that an open breaker passes for clients whose queries have failed, and as many for other clients, so
that failing clients cannot use up all probes. Each client gets at most one a second."""

MAX_COUNTED = 1000
"""Clients, and names, that the breaker remembers. More would change nothing."""


class BreakerState(StrEnum):
    """Whether all queries pass."""

    CLOSED = "closed"
    OPEN = "open"


class CircuitBreaker:
    """Closed: all queries pass. Open: a few queries a second pass, and the first answer closes it."""

    def __init__(self) -> None:
        self.state = BreakerState.CLOSED
        self._clients: set[Hashable] = set()
        self._names: set[Hashable] = set()
        self._last_success: float | None = None
        self._second = 0.0
        self._probed: set[Hashable] = set()
        self._probes = {True: 0, False: 0}

    @property
    def failed_clients(self) -> int:
        """Clients whose queries have failed since the last answer, up to L{MAX_COUNTED}."""
        return len(self._clients)

    @property
    def why(self) -> str:
        """Why a query was not sent."""
        limit = f"at most {2 * MAX_PROBES_PER_S} queries/s pass"
        return f"circuit breaker open: queries of {self.failed_clients} clients failed; {limit}"

    def allows(self, client: Hashable, now: float) -> bool:
        """Whether a query of this client may be sent now. An allowed query counts as a probe if the breaker is open."""
        if self.state is BreakerState.CLOSED:
            return True
        if now >= self._second + 1.0:
            self._second = now
            self._probed.clear()
            self._probes = {True: 0, False: 0}
        failed_before = client in self._clients
        if client in self._probed or self._probes[failed_before] >= MAX_PROBES_PER_S:
            return False
        self._probed.add(client)
        self._probes[failed_before] += 1
        return True

    def record_success(self, now: float) -> None:
        """The resolver answered a query. A refusal is an answer, too, and so is an authoritative C{Unavailable}."""
        self.state = BreakerState.CLOSED
        self._last_success = now
        self._clients.clear()
        self._names.clear()

    def record_failure(self, client: Hashable, name: Hashable, now: float) -> None:
        """A query of this client for this name failed."""
        for value, known in ((client, self._clients), (name, self._names)):
            if len(known) < MAX_COUNTED:
                known.add(value)
        in_grace = self._last_success is not None and now < self._last_success + SUCCESS_GRACE_S
        if not in_grace and min(len(self._clients), len(self._names)) >= MAX_FAILURES:
            self.state = BreakerState.OPEN
