"""Who was refused lately, and why: the first question of a person whose client does not connect."""

from __future__ import annotations

import attrs

from sniproxy.admin.metrics import REFUSALS
from sniproxy.events import Connection, Result
from sniproxy.util.text import bounded

MAX_REFUSALS = 100
"""Refusals that are told apart; beyond, the one that was seen longest ago is forgotten."""


@attrs.define
class RecentRefusal:
    """What was refused once or more often.

    @ivar server_name: None: the hello had none, or was not read. @ivar count: how often.
    @ivar time: when last, in seconds since 1970. @ivar client: who was last. @ivar reason: what was said last.
    """

    listener: str
    server_name: str | None
    result: Result
    count: int = 0
    time: float = 0.0
    client: str = ""
    reason: str = ""


class RecentRefusals:
    """An observer of connections (C{sniproxy.events.Observer}) that remembers refused ones."""

    def __init__(self) -> None:
        self._refusals: dict[tuple[str, str | None, Result], RecentRefusal] = {}

    def __call__(self, connection: Connection) -> None:
        if connection.result not in REFUSALS:
            return
        key = connection.listener, connection.server_name, connection.result
        refusal = self._refusals.pop(key, None) or RecentRefusal(*key)
        self._refusals[key] = refusal  # the last one is the newest
        refusal.count += 1
        refusal.time = connection.time + connection.total_s
        refusal.client = connection.client
        refusal.reason = bounded(connection.reason)
        if len(self._refusals) > MAX_REFUSALS:
            del self._refusals[next(iter(self._refusals))]

    def latest(self) -> list[RecentRefusal]:
        """All that are remembered, the newest first."""
        return list(reversed(self._refusals.values()))
