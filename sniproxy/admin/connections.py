"""Limits the number of HTTP connections to the admin endpoint, and the time they may idle.

These connections use descriptors that tunnels need, and any host that reaches the endpoint can open them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel

from sniproxy.admin.slices import Slices, Steps

log = Logger()

MAX_CONNECTIONS = 64
"""Maximum of open connections. One more closes the oldest idle connection, else one that pipelines requests."""

REQUEST_TIMEOUT_S = 10.0
"""Seconds for a whole request, headers and body, from the accept or from the end of the last answer."""

ANSWER_TIMEOUT_S = 5.0
"""Seconds for which a stopping proxy waits until a client has the answer that it was promised."""

SLICE_BYTES = 1024
"""Bytes of a request parsed in one step."""

_END_OF_HEADERS = b"\r\n\r\n"


class AdminChannel(HTTPChannel):
    """One HTTP connection. It is aborted if no whole request arrives within L{REQUEST_TIMEOUT_S}.

    The channel parses received bytes in steps. A pipelined request (RFC 9112, section 9.3.2) waits until the client
    has read the answers before it. So one connection takes one step at a time, and memory for two answers.

    @ivar connections: all connections of the endpoint.
    """

    connections: AdminConnections
    maxHeaders = 100
    _deadline: Any = None
    _unparsed = b""
    _parsing: Deferred[None] | None = None
    _answering = False
    _full = False

    def connectionMade(self) -> None:
        HTTPChannel.connectionMade(self)
        self.setTimeout(None)  # type: ignore[no-untyped-call]  # Twisted's timeout restarts with each line
        self.connections.opened(self)
        self.start_deadline()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._cancel_deadline()
        self._unparsed = b""
        if self._parsing is not None:
            self._parsing.cancel()
        self.connections.closed(self)
        HTTPChannel.connectionLost(self, reason)

    def dataReceived(self, data: bytes) -> None:
        """Queue the bytes for parsing, and pause the transport until they are parsed."""
        self._unparsed += data
        self._parse_more()

    def pauseProducing(self) -> None:
        """The client does not read: stop parsing requests."""
        self._full = True
        HTTPChannel.pauseProducing(self)

    def resumeProducing(self) -> None:
        """The client has read: parse the next request. Its end is noticed also while an answer has no end."""
        self._full = False
        HTTPChannel.resumeProducing(self)
        if not self._unparsed and self._parsing is None and not self._closing():
            cast(Any, self.transport).resumeProducing()
        self._parse_more()

    def allContentReceived(self) -> None:
        """A whole request has arrived."""
        self._cancel_deadline()
        self._answering = True
        self.connections.mark_busy(self)
        HTTPChannel.allContentReceived(self)

    def requestDone(self, request: Any) -> None:
        """The request is answered. The deadline for the next request also covers reading this answer."""
        self.connections.mark_idle(self)
        self.start_deadline()
        self._answering = False
        HTTPChannel.requestDone(self, request)
        self._parse_more()

    def resetTimeout(self) -> None:
        """Nothing: received bytes do not extend the deadline."""

    def start_deadline(self) -> None:
        """Start the deadline for a request."""
        self._cancel_deadline()
        self._deadline = self.connections.reactor.callLater(REQUEST_TIMEOUT_S, self._time_out)

    def abort(self) -> None:
        """Abort the connection."""
        if self.transport is not None:
            cast(Any, self.transport).abortConnection()

    def _parse_more(self) -> None:
        """Parse the queued bytes, unless a request is being answered or the client does not read."""
        if not self._unparsed or self._closing():
            return
        cast(Any, self.transport).pauseProducing()
        if self._parsing is None and not self._answering and not self._full:
            self._parsing = self.connections.slices.run(self._parse())
            self._parsing.addBoth(self._parsed)

    def _parse(self) -> Steps[None]:
        """Parse one piece in each step. A piece ends where the headers of a request end."""
        while self._unparsed and not self._answering and not self._full and not self._closing():
            end = self._unparsed.find(_END_OF_HEADERS, 0, SLICE_BYTES)
            size = SLICE_BYTES if end < 0 else end + len(_END_OF_HEADERS)
            piece, self._unparsed = self._unparsed[:size], self._unparsed[size:]
            HTTPChannel.dataReceived(self, piece)
            yield

    def _parsed(self, result: Failure | None) -> None:
        self._parsing = None
        if self._unparsed:
            self._parse_more()
        elif not self._full and not self._closing():
            cast(Any, self.transport).resumeProducing()
        if result is not None and not result.check(CancelledError):
            log.failure("admin: cannot parse a request: internal error", result)
            self.abort()

    @property
    def pipelines(self) -> bool:
        """Whether bytes of a further request have arrived."""
        return bool(self._unparsed)

    def _closing(self) -> bool:
        """Whether the connection is closed, or closes after the last answer."""
        return self.transport is None or bool(cast(Any, self.transport).disconnecting)

    def _time_out(self) -> None:
        self._deadline = None
        self.connections.refused("slow")
        self.abort()

    def _cancel_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None


class AdminConnections:
    """All open connections of the endpoint.

    @param holds: called with 1 when a connection takes a descriptor, and with -1 when the descriptor is free again.
    @param refused: called with C{slow} or C{crowded} for each connection that is aborted for that reason.
    @param slices: runs the parsing steps of all connections in turn.
    """

    def __init__(
        self, reactor: IReactorTime, holds: Callable[[int], None], refused: Callable[[str], None], slices: Slices
    ) -> None:
        self.reactor = reactor
        self.slices = slices
        self.refused = refused
        self._holds = holds
        self._port: Any = None
        self._idle: dict[AdminChannel, None] = {}
        self._busy: dict[AdminChannel, None] = {}
        self._kept: set[AdminChannel] = set()
        self._settled: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._idle) + len(self._busy)

    def accept_at(self, port: Any) -> None:
        """Make a listening port of Twisted accept one connection per iteration of the reactor.

        By default it accepts more per iteration as more connections arrive.
        """
        self._port = port
        port.numberAccepts = 1

    def make_room(self) -> bool:
        """Abort a connection if there are L{MAX_CONNECTIONS}. @return: whether a new connection is allowed."""
        if self._port is not None:
            self._port.numberAccepts = 0  # Twisted sets it to the number of connections just accepted
        if len(self) < MAX_CONNECTIONS:
            return True
        self.refused("crowded")
        oldest = next(iter(self._idle), None) or next((one for one in self._busy if one.pipelines), None)
        if oldest is None:
            return False
        self.closed(oldest)
        oldest.abort()
        return True

    def opened(self, channel: AdminChannel) -> None:
        """A connection has been opened. It is idle."""
        self._idle[channel] = None
        self._holds(1)

    def mark_busy(self, channel: AdminChannel) -> None:
        """A request of this connection is being answered."""
        if channel in self._idle:
            del self._idle[channel]
            self._busy[channel] = None

    def mark_idle(self, channel: AdminChannel) -> None:
        """The request of this connection is answered."""
        if channel in self._busy:
            del self._busy[channel]
            self._idle[channel] = None

    def closed(self, channel: AdminChannel) -> None:
        """A connection has been closed."""
        if channel in self._idle or channel in self._busy:
            self._idle.pop(channel, None)
            self._busy.pop(channel, None)
            self._holds(-1)
        self._kept.discard(channel)
        if not self._kept:
            waiting, self._settled = self._settled, []
            for one in waiting:
                one.callback(None)

    def keep(self, channel: AdminChannel) -> None:
        """Let this connection get its answer after L{stop}. It closes behind the answer."""
        channel.persistent = False
        self._kept.add(channel)

    @property
    def busy(self) -> bool:
        """Whether requests are being answered, besides those of L{keep}."""
        return any(channel not in self._kept for channel in self._busy)

    @property
    def promised(self) -> tuple[int, ...]:
        """The descriptors of the connections that are kept."""
        return tuple(cast(Any, one.transport).fileno() for one in self._kept if one.transport is not None)

    def stop(self) -> None:
        """Abort all connections, except those that are kept."""
        for channel in [*self._idle, *self._busy]:
            if channel not in self._kept:
                channel.abort()

    def settled(self) -> Deferred[None]:
        """Wait for the connections that are kept, at most L{ANSWER_TIMEOUT_S}.

        @return: fires when they have closed; those that have not are aborted.
        """
        done: Deferred[None] = Deferred()
        if not self._kept:
            done.callback(None)
            return done
        self._settled.append(done)
        timer = self.reactor.callLater(ANSWER_TIMEOUT_S, self._abort_kept)
        return done.addCallback(lambda _: timer.cancel() if timer.active() else None)

    def _abort_kept(self) -> None:
        for channel in list(self._kept):
            self.closed(channel)
            channel.abort()
