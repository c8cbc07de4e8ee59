"""The connections that have not ended: each begins here, as the entrance that it came in by says."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

from sniproxy.bridge.crossing import Crossing
from sniproxy.bridge.spans import LiveSpan
from sniproxy.build import Built
from sniproxy.conversation import Conversation
from sniproxy.events import Connection
from sniproxy.inspector import Inspector, Watch
from sniproxy.life import House, Life
from sniproxy.net import copying
from sniproxy.net.linger import Closer
from sniproxy.net.listener import Accepted
from sniproxy.net.tapping import tapped
from sniproxy.settings import Bridge, Listener

RESERVE = 64
"""Descriptors that connections leave to the reactor, the log and the pipes between sockets."""


class Lives:
    """Begins them, and knows them until they have ended.

    @param closer: what it has not closed yet counts as open.
    @param inspector: gives the one that there is now, if any. @param ended: called when one has ended.
    @ivar live: those that have not ended, the oldest first.
    @ivar descriptors: how many the process may have.
    """

    def __init__(self, closer: Closer, inspector: Callable[[], Inspector | None], ended: Callable[[], None]) -> None:
        self.live: dict[Life, None] = {}
        self.descriptors = 0
        self._closer = closer
        self._inspector = inspector
        self._ended = ended
        self._count = 0
        # Unique among restarts and processes that write to one log.
        self._id_prefix = os.urandom(4).hex()

    def accepting(self, house: House, bridge_house: House, built: Built, entrance: Listener | Bridge) -> Accepted:
        """What takes the connections of a listener or bridge."""
        if isinstance(entrance, Bridge):
            return self._crossing(bridge_house, entrance, built.spans[entrance.name][1])
        listener = entrance
        plaintext = built.routing.plaintext.get(listener.name)
        terminator = built.terminators.get(listener.name)
        # splice moves bytes as they are: it cannot encrypt them.
        way = None if terminator is None else copying.CopyDirection

        def accepted(sock: socket.socket, client: str) -> None:
            inspector = self._inspector() if listener.inspect else None
            record = self._record(listener.name, client)
            watch = inspector.watch(record) if inspector is not None else None
            tapping = way if watch is None else tapped(watch)
            self._begin(Conversation(house, sock, record, plaintext, terminator, tapping), watch)

        return accepted

    def room(self) -> bool:
        """Whether the descriptors suffice for one more connection and its dial; pipes make do with what is left."""
        reserve = min(RESERVE, self.descriptors // 4)
        return 2 * (len(self.live) + 1) + len(self._closer) <= self.descriptors - reserve

    def _crossing(self, house: House, bridge: Bridge, span: LiveSpan) -> Accepted:
        def accepted(sock: socket.socket, client: str) -> None:
            inspector = self._inspector() if bridge.inspect else None
            record = self._record(bridge.name, client)
            watch = inspector.watch(record) if inspector is not None else None
            heard = None if inspector is None else inspector.aside(record)
            self._begin(Crossing(house, sock, record, span, watch, heard), watch)

        return accepted

    def _record(self, listener: str, client: str) -> Connection:
        self._count += 1
        return Connection(f"{self._id_prefix}-{self._count}", time.time(), listener, client)

    def _begin(self, life: Life, watch: Watch | None) -> None:
        self.live[life] = None

        def ended(life: Life) -> None:
            if watch is not None:
                watch.end()
            self.live.pop(life, None)
            self._ended()

        life.begin(ended)
