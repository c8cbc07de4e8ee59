"""How the targets of a running proxy stand: how many connections each has, and which are drained. Pure.

It outlives a reload: it is about the targets, not about the configuration that names them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import attrs

from sniproxy.interfaces import Target
from sniproxy.names import host_port


def address(target: Target) -> str:
    """What tells targets apart: host and port, whatever their label."""
    return host_port(target.host, target.port)


@attrs.frozen
class Goal:
    """What is drained. @ivar kind: ``route`` or ``target``. @ivar name: a route's, a target's address or its label."""

    kind: str
    name: str

    def has(self, route: str | None, target: Target | None) -> bool:
        """Whether a connection by this route to this target is meant. None: it has none yet."""
        if self.kind == "route":
            return self.name == route
        return target is not None and self.name in (address(target), target.label)

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class Standing:
    """Counts connections, and knows what is drained."""

    def __init__(self) -> None:
        self._connections: Counter[str] = Counter()
        self._drained: dict[Goal, int] = {}

    def came(self, target: Target) -> None:
        """One more connection dials this target, or has it."""
        self._connections[address(target)] += 1

    def left(self, target: Target) -> None:
        """It has it no longer."""
        key = address(target)
        self._connections[key] -= 1
        if self._connections[key] <= 0:
            del self._connections[key]

    def connections(self, target: Target) -> int:
        """How many dial this target, or have it."""
        return self._connections[address(target)]

    def drain(self, goal: Goal) -> None:
        """From now on it gets no new connection."""
        self._drained.setdefault(goal, 0)

    def undrain(self, goal: Goal) -> None:
        """It gets new connections again."""
        self._drained.pop(goal, None)

    def refused(self, goal: Goal) -> int:
        """How many new connections it did not get, though it had been its turn."""
        return self._drained.get(goal, 0)

    def usable(self, route: str | None, targets: Sequence[Target]) -> list[Target]:
        """The targets that a new connection may be led to: none, when its route is drained, or all of them are."""
        if not self._drained:
            return list(targets)
        found = []
        for number, target in enumerate(targets):
            goal = next((goal for goal in self._drained if goal.has(route, target)), None)
            if goal is None:
                found.append(target)
            elif number == 0:  # its turn
                self._drained[goal] += 1
        return found
