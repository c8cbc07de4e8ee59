"""Recently refused connections, grouped by listener, server name and result."""

from __future__ import annotations

import attrs

from sniproxy.admin.metrics import REFUSALS
from sniproxy.events import Connection, Result
from sniproxy.util.text import bounded

MAX_REFUSALS = 100
"""Maximum of groups. One more evicts the least recent group."""


@attrs.define
class RecentRefusal:
    """A group of refused connections.

    @ivar server_name: None if the ClientHello had no name or was not read. @ivar count: the number of connections.
    @ivar time: the time of the last one, in seconds since 1970. @ivar client: its client. @ivar reason: its reason.
    """

    listener: str
    server_name: str | None
    result: Result
    count: int = 0
    time: float = 0.0
    client: str = ""
    reason: str = ""


class RecentRefusals:
    """An observer of connections (C{sniproxy.events.Observer}) that keeps the refused ones."""

    def __init__(self) -> None:
        self._refusals: dict[tuple[str, str | None, Result], RecentRefusal] = {}

    def __call__(self, connection: Connection) -> None:
        if connection.result not in REFUSALS:
            return
        key = connection.listener, connection.server_name, connection.result
        refusal = self._refusals.pop(key, None) or RecentRefusal(*key)
        self._refusals[key] = refusal  # the newest is last
        refusal.count += 1
        refusal.time = connection.time + connection.total_s
        refusal.client = connection.client
        refusal.reason = bounded(connection.reason)
        if len(self._refusals) > MAX_REFUSALS:
            del self._refusals[next(iter(self._refusals))]

    def latest(self) -> list[RecentRefusal]:
        """All groups, the most recent first."""
        return list(reversed(self._refusals.values()))
