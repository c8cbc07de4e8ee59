"""The admin endpoint's connections: few, and none that only waits.

They take descriptors from tunnels, and any host that reaches the endpoint can open them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from sniproxy.admin.slices import Slices, Steps

log = Logger()

MAX_CONNECTIONS = 64
"""Connections at once. One more ends the one that has waited longest without a request in work, else one that pipelines
requests."""

REQUEST_TIMEOUT_S = 10.0
"""Seconds for a whole request, headers and body, from the accept or from the end of the last answer."""

SLICE_BYTES = 1024
"""Bytes of a request that are parsed in one step."""

_END_OF_HEADERS = b"\r\n\r\n"


class AdminChannel(HTTPChannel):
    """One connection. It ends L{REQUEST_TIMEOUT_S} after it began to wait for a request, even if a part has arrived.

    The channel parses what it receives in steps, and a pipelined request (RFC 9112, section 9.3.2) waits until the
    client has read the answers before it: one connection costs one step at a time, and memory for two answers.

    @ivar channels: all connections of the endpoint.
    """

    channels: AdminConnections
    maxHeaders = 100
    _deadline: Any = None
    _unparsed = b""
    _parsing: Deferred[None] | None = None
    _answering = False
    _full = False

    def connectionMade(self) -> None:
        HTTPChannel.connectionMade(self)
        self.setTimeout(None)  # type: ignore[no-untyped-call]  # Twisted's begins again with each line
        self.channels.opened(self)
        self.wait()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._stop()
        self._unparsed = b""
        if self._parsing is not None:
            self._parsing.cancel()
        self.channels.closed(self)
        HTTPChannel.connectionLost(self, reason)

    def dataReceived(self, data: bytes) -> None:
        """Parse this when the channel's turn comes; until then the transport reads no more."""
        self._unparsed += data
        self._go_on()

    def pauseProducing(self) -> None:
        """The transport holds bytes that the client has not read."""
        self._full = True
        HTTPChannel.pauseProducing(self)

    def resumeProducing(self) -> None:
        """The client has read."""
        self._full = False
        HTTPChannel.resumeProducing(self)
        self._go_on()

    def allContentReceived(self) -> None:
        """A request is whole."""
        self._stop()
        self._answering = True
        self.channels.works(self)
        HTTPChannel.allContentReceived(self)

    def requestDone(self, request: Any) -> None:
        """It is answered; the client has as long for reading the answer as for its next request."""
        self.channels.waits(self)
        self.wait()
        self._answering = False
        HTTPChannel.requestDone(self, request)
        self._go_on()

    def resetTimeout(self) -> None:
        """Nothing: the deadline does not move."""

    def wait(self) -> None:
        """Begin to wait for a request."""
        self._stop()
        self._deadline = cast(Any, self.channels.reactor).callLater(REQUEST_TIMEOUT_S, self._late)

    def abort(self) -> None:
        """End it at once."""
        if self.transport is not None:
            cast(Any, self.transport).abortConnection()

    def _go_on(self) -> None:
        """Parse what has come, if the channel may."""
        if not self._unparsed or self._ends():
            return
        cast(Any, self.transport).pauseProducing()
        if self._parsing is None and not self._answering and not self._full:
            self._parsing = self.channels.slices.run(self._parse())
            self._parsing.addBoth(self._parsed)

    def _parse(self) -> Steps[None]:
        """Give the parser one piece in a step, which ends where a request's headers do."""
        while self._unparsed and not self._answering and not self._full and not self._ends():
            end = self._unparsed.find(_END_OF_HEADERS, 0, SLICE_BYTES)
            size = SLICE_BYTES if end < 0 else end + len(_END_OF_HEADERS)
            piece, self._unparsed = self._unparsed[:size], self._unparsed[size:]
            HTTPChannel.dataReceived(self, piece)
            yield

    def _parsed(self, result: Failure | None) -> None:
        self._parsing = None
        if self._unparsed:
            self._go_on()
        elif not self._full and not self._ends():
            cast(Any, self.transport).resumeProducing()
        if result is not None and not result.check(CancelledError):
            log.failure("admin: a request could not be read: a fault of the proxy", result)
            self.abort()

    @property
    def pipelines(self) -> bool:
        """Whether more has come behind the request in work."""
        return bool(self._unparsed)

    def _ends(self) -> bool:
        """Whether the connection is closed, or will be when the last answer is sent."""
        return self.transport is None or bool(cast(Any, self.transport).disconnecting)

    def _late(self) -> None:
        self._deadline = None
        self.channels.refused("slow")
        self.abort()

    def _stop(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class AdminConnections:
    """All connections of the endpoint.

    @param holds: called with 1 for each descriptor that they take, and with -1 for each that is free again.
    @param slices: runs the steps of all connections in turn.
    @param refused: called with C{slow} or C{crowded} for each connection that is ended for that.
    """

    def __init__(
        self, reactor: Any, holds: Callable[[int], None], refused: Callable[[str], None], slices: Slices
    ) -> None:
        self.reactor = reactor
        self.slices = slices
        self.refused = refused
        self._holds = holds
        self._port: Any = None
        self._waiting: dict[AdminChannel, None] = {}
        self._working: dict[AdminChannel, None] = {}

    def __len__(self) -> int:
        return len(self._waiting) + len(self._working)

    def accept_at(self, port: Any) -> None:
        """Let a listening port of Twisted's accept one connection in each round of the reactor.

        By itself it accepts more in a round as more connections come.
        """
        self._port = port
        port.numberAccepts = 1

    def make_room(self) -> bool:
        """End a connection if there are L{MAX_CONNECTIONS}. @return: whether one more may come."""
        if self._port is not None:
            self._port.numberAccepts = 0  # Twisted sets it to what it accepted, unless that is what it wanted
        if len(self) < MAX_CONNECTIONS:
            return True
        self.refused("crowded")
        oldest = next(iter(self._waiting), None) or next((one for one in self._working if one.pipelines), None)
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
            self._working[channel] = None

    def waits(self, channel: AdminChannel) -> None:
        """Its request is answered."""
        if channel in self._working:
            del self._working[channel]
            self._waiting[channel] = None

    def closed(self, channel: AdminChannel) -> None:
        """One less."""
        if channel in self._waiting or channel in self._working:
            self._waiting.pop(channel, None)
            self._working.pop(channel, None)
            self._holds(-1)

    def stop(self) -> None:
        """End all of them."""
        for channel in [*self._waiting, *self._working]:
            channel.abort()
