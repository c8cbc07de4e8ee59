"""What the program's log says of connections that were refused as they came: the first at once, the others summed."""

from __future__ import annotations

from collections import Counter
from typing import Any

from twisted.logger import Logger

from sniproxy.util.text import counted

log = Logger()

SUMMARY_INTERVAL_S = 10
"""Seconds in which refusals become one line more for each limit."""

MAX_CLIENTS = 1000
"""Clients that are told apart in these seconds."""

MAX_NAMED = 3
"""Clients that a line names."""


class RefusalLog:
    """Is told of each refusal, attacks included, and writes a line or two in ten seconds."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._timer: Any = None
        self._sums: dict[str, Counter[str]] = {}
        self._clients = 0

    def refused(self, limit: str, client: str) -> None:
        """A connection was refused. @param limit: the key in C{[limits]}. @param client: whose it was."""
        if self._timer is None:
            log.warn("a connection of {client} is refused: [limits] {limit}", client=client, limit=limit)
            self._timer = self._reactor.callLater(SUMMARY_INTERVAL_S, self._tell)
            return
        sums = self._sums.get(limit)
        if sums is None:
            sums = self._sums[limit] = Counter()
        if client not in sums:
            if self._clients >= MAX_CLIENTS:
                client = "others"
            else:
                self._clients += 1
        sums[client] += 1

    def close(self) -> None:
        """Write the sums that wait."""
        if self._timer is not None:
            self._timer.cancel()
            self._tell()

    def _tell(self) -> None:
        self._timer, sums, self._sums, self._clients = None, self._sums, {}, 0
        for limit, clients in sums.items():
            most = [f"{client} x {count}" for client, count in clients.most_common(MAX_NAMED)]
            more = len(clients) - len(most)
            log.warn(
                "{count} refused in {seconds} s: [limits] {limit}: {clients}",
                count=counted(clients.total(), "more connection"),
                seconds=SUMMARY_INTERVAL_S,
                limit=limit,
                clients=", ".join(most) + (f", and {counted(more, 'other')}" if more else ""),
            )
