"""The state of the proxy in a few numbers, for the status line of the service manager. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable

import attrs

from sniproxy.util.text import counted


@attrs.frozen
class StateCounts:
    """Of one process, or of all workers.

    @ivar tunnels: open connections. @ivar down: targets that are down. @ivar ejected: targets that are ejected.
    """

    tunnels: int = 0
    down: int = 0
    ejected: int = 0

    def __str__(self) -> str:
        """One line, as in C{1,203 tunnels, 2 targets down}."""
        found = [f"{self.tunnels:,} tunnel{'' if self.tunnels == 1 else 's'}"]
        for count, state in ((self.down, "down"), (self.ejected, "ejected")):
            if count:
                found.append(f"{counted(count, 'target')} {state}")
        return ", ".join(found)

    def encode(self) -> str:
        """As ASCII without a line feed, for L{decode}."""
        return json.dumps(attrs.astuple(self))


def decode(text: str) -> StateCounts | None:
    """The counts of a text. None: it has another form."""
    try:
        found = json.loads(text)
    except ValueError:
        return None
    if isinstance(found, list) and len(found) == 3 and all(type(one) is int and one >= 0 for one in found):
        return StateCounts(*found)
    return None


def merge_workers(counts: Iterable[StateCounts]) -> StateCounts:
    """The tunnels of all workers. Of targets that fail, which each worker counts, the largest number."""
    found = list(counts)
    return StateCounts(
        sum(one.tunnels for one in found),
        max((one.down for one in found), default=0),
        max((one.ejected for one in found), default=0),
    )
