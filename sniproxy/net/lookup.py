"""Host names to addresses, by the system's resolver (getaddrinfo), which blocks and so runs in threads."""

from __future__ import annotations

import socket
import threading
from collections import deque
from typing import Any

from twisted.internet.defer import Deferred

MOST_THREADS = 32
"""Lookups at once; further names wait, as long as somebody waits for them."""


class Lookups:
    """Looks host names up; who asks for a name that is being looked up gets the same answer.

    Twisted's own resolver uses the reactor's pool of ten threads: ten lookups of a name whose server is silent would
    keep every other name waiting, and the program from ending. Here one name has one thread at most, and no end waits
    for it. Who no longer waits cancels: clients of a forward proxy choose the names, and could fill the queue.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._asked: dict[str, list[Deferred[list[str]]]] = {}
        self._queue: deque[str] = deque()
        self._threads = 0

    def addresses(self, host: str) -> Deferred[list[str]]:
        """The host's addresses in the system's order (RFC 6724), each once; empty: none was found."""
        answer: Deferred[list[str]] = Deferred()
        if host in self._asked:
            self._asked[host].append(answer)
            return answer
        self._asked[host] = [answer]
        self._queue.append(host)
        self._next()
        return answer

    def _next(self) -> None:
        while self._queue and self._threads < MOST_THREADS:
            host = self._queue.popleft()
            if all(answer.called for answer in self._asked[host]):  # all of them cancelled
                del self._asked[host]
                continue
            self._threads += 1
            threading.Thread(target=self._look_up, args=(host,), daemon=True).start()

    def _look_up(self, host: str) -> None:
        """In a thread."""
        try:
            found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            found = []
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
        self._reactor.callFromThread(self._answer, host, addresses)

    def _answer(self, host: str, addresses: list[str]) -> None:
        self._threads -= 1
        for answer in self._asked.pop(host):
            if not answer.called:  # cancelled meanwhile
                answer.callback(list(addresses))
        self._next()
