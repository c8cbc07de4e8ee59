"""The admin endpoint's connections: few, and none that only waits.

They take descriptors from tunnels, and any host that reaches the endpoint can open them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

MOST_CHANNELS = 64
"""Connections at once. One more ends the one that has waited longest without a request in work."""

PATIENCE = 10.0
"""Seconds for a whole request, headers and body, from the accept or from the end of the last answer."""


class AdminChannel(HTTPChannel):
    """One connection. It ends L{PATIENCE} seconds after it began to wait for a request, whatever has come of it.

    @ivar channels: all connections of the endpoint.
    """

    channels: Channels
    _deadline: Any = None

    def connectionMade(self) -> None:
        HTTPChannel.connectionMade(self)
        self.setTimeout(None)  # type: ignore[no-untyped-call]  # Twisted's begins again with each line
        self.channels.opened(self)
        self.wait()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop()
        self.channels.closed(self)
        HTTPChannel.connectionLost(self, reason)

    def allContentReceived(self) -> None:
        """A request is whole."""
        self._stop()
        self.channels.works(self)
        HTTPChannel.allContentReceived(self)

    def requestDone(self, request: Any) -> None:
        """It is answered; the client has as long for reading the answer as for its next request."""
        self.channels.waits(self)
        self.wait()
        HTTPChannel.requestDone(self, request)

    def resetTimeout(self) -> None:
        """Nothing: the deadline does not move."""

    def wait(self) -> None:
        """Begin to wait for a request."""
        self._stop()
        self._deadline = cast(Any, self.channels.reactor).callLater(PATIENCE, self._late)

    def abort(self) -> None:
        """End it at once."""
        if self.transport is not None:
            cast(Any, self.transport).abortConnection()

    def _late(self) -> None:
        self._deadline = None
        self.channels.refused("slow")
        self.abort()

    def _stop(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class Channels:
    """All connections of the endpoint.

    @param holds: called with 1 for each descriptor that they take, and with -1 for each that is free again.
    @param refused: called with C{slow} or C{crowded} for each connection that is ended for that.
    """

    def __init__(self, reactor: Any, holds: Callable[[int], None], refused: Callable[[str], None]) -> None:
        self.reactor = reactor
        self.refused = refused
        self._holds = holds
        self._waiting: dict[AdminChannel, None] = {}
        self._working: set[AdminChannel] = set()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._working)

    def make_room(self) -> bool:
        """End a connection if there are L{MOST_CHANNELS}. @return: whether one more may come."""
        if len(self) < MOST_CHANNELS:
            return True
        self.refused("crowded")
        oldest = next(iter(self._waiting), None)
        if oldest is None:
            return False
        self.closed(oldest)
        oldest.abort()
        return True

    def opened(self, channel: AdminChannel) -> None:
        """One more, which waits for a request."""
        self._waiting[channel] = None
        self._holds(1)

    def works(self, channel: AdminChannel) -> None:
        """Its request has come."""
        if channel in self._waiting:
            del self._waiting[channel]
            self._working.add(channel)

    def waits(self, channel: AdminChannel) -> None:
        """Its request is answered."""
        if channel in self._working:
            self._working.remove(channel)
            self._waiting[channel] = None

    def closed(self, channel: AdminChannel) -> None:
        """One less."""
        if channel in self._waiting or channel in self._working:
            self._waiting.pop(channel, None)
            self._working.discard(channel)
            self._holds(-1)

    def stop(self) -> None:
        """End all of them."""
        for channel in [*self._waiting, *self._working]:
            channel.abort()
