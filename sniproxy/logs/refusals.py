"""Log lines about connections refused at accept: the first at once, the rest in a summary."""

from __future__ import annotations

from collections import Counter

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from sniproxy.util.text import counted

log = Logger()

SUMMARY_INTERVAL_S = 10
"""Seconds between the first refusal and the summary, which has one line for each limit."""

MAX_CLIENTS = 1000
"""Clients counted separately in one interval; further ones are counted as ``others``."""

MAX_NAMED = 3
"""Clients named in one line, those with the most refusals."""


class RefusalLog:
    """Writes one line for the first refusal and one for each limit after `SUMMARY_INTERVAL_S`, however many follow."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._timer: IDelayedCall | None = None
        self._sums: dict[str, Counter[str]] = {}
        self._clients = 0

    def add_refusal(self, limit: str, client: str) -> None:
        """Log or count one refused connection.

        @param limit: the key in C{[limits]}. @param client: the client's address or network.
        """
        if self._timer is None:
            log.warn("connection from {client} refused: [limits] {limit} exceeded", client=client, limit=limit)
            self._timer = self._reactor.callLater(SUMMARY_INTERVAL_S, self._write_summary)
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
        """Write the pending summary."""
        if self._timer is not None:
            self._timer.cancel()
            self._write_summary()

    def _write_summary(self) -> None:
        self._timer, sums, self._sums, self._clients = None, self._sums, {}, 0
        for limit, clients in sums.items():
            most = [f"{client} x {count}" for client, count in clients.most_common(MAX_NAMED)]
            more = len(clients) - len(most)
            log.warn(
                "{count} refused in {seconds} s: [limits] {limit} exceeded: {clients}",
                count=counted(clients.total(), "more connection"),
                seconds=SUMMARY_INTERVAL_S,
                limit=limit,
                clients=", ".join(most) + (f", and {counted(more, 'other')}" if more else ""),
            )
