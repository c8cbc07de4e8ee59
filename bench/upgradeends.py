"""The two ends of a tunnel of the upgrade's load: what each sends, when it ends, and the check of each received byte.

A seed determines the bytes of both directions, so that each end knows what has to come.
"""

from __future__ import annotations

import ssl
import struct
import time
from collections import deque
from collections.abc import Callable
from socket import socket

from attrs import define, frozen

from bench.soakload import Lost, Source
from bench.upgradetls import BROKEN, Loop, TlsEnd

NOTHING, STREAM, FULL, MESSAGES, LAST, ECHO = "nothing", "stream", "full", "messages", "last", "echo"
"""What an end sends: pieces at a steady rate; as much as the tunnel takes; messages that come back, at a steady rate
or, `LAST`, one at the end; what it receives."""

AT_ONCE, AT_ORDER, AFTER_PEER = "at once", "at order", "after peer"
"""When an end ends its direction. An end whose messages have to come back waits for them first."""


@frozen
class Side:
    """The course of one end. ``slow``: it reads slower than the other sends."""

    sends: str
    ends: str
    slow: bool = False


KINDS: dict[str, tuple[Side, Side]] = {
    "echo": (Side(MESSAGES, AT_ORDER), Side(ECHO, AFTER_PEER)),
    "idle": (Side(LAST, AT_ORDER), Side(ECHO, AFTER_PEER)),
    "up": (Side(STREAM, AT_ORDER), Side(NOTHING, AFTER_PEER)),
    "down": (Side(NOTHING, AT_ORDER), Side(STREAM, AFTER_PEER)),
    "both": (Side(STREAM, AT_ORDER), Side(STREAM, AFTER_PEER)),
    "client ended": (Side(NOTHING, AT_ONCE), Side(STREAM, AT_ORDER)),
    "server ended": (Side(STREAM, AT_ORDER), Side(NOTHING, AT_ONCE)),
    "slow client": (Side(NOTHING, AT_ORDER, slow=True), Side(FULL, AFTER_PEER)),
    "slow server": (Side(FULL, AT_ORDER), Side(NOTHING, AFTER_PEER, slow=True)),
    "new": (Side(LAST, AT_ONCE), Side(ECHO, AFTER_PEER)),
}
"""The kinds of tunnels, the client's side first."""

MIX = (
    *("echo", "up", "echo", "down", "echo", "client ended", "echo", "slow client", "echo", "idle"),
    *("echo", "both", "echo", "server ended", "echo", "slow server", "echo", "idle", "echo", "up"),
    *("down", "client ended", "both", "server ended", "slow client"),
)
"""The kinds of tunnels by turns: of 25, nine exchange messages."""

_PLAN = struct.Struct("!BI")
_MESSAGE_BYTES = 64
_LAST_BYTES = 1024
_SLOW_READ_BYTES = 2048
_FULL_BYTES = 64 * 1024


@frozen
class Paces:
    """Seconds between messages, between pieces of a stream, and between reads of a slow reader; bytes of a piece."""

    message_s: float = 0.025
    stream_s: float = 0.1
    slow_s: float = 0.1
    piece_bytes: int = 16 * 1024


PACES = Paces()
"""For 300 tunnels on two CPUs: both processes of the load take a sixth of a CPU each."""


@define
class Outcome:
    """The outcome of an end. ``fault``: why it did not end as planned, or None. ``wrong``: bytes were wrong.

    ``sent``, ``received``: bytes inside TLS; ``wire``: the same below TLS; ``port``: a client's own.
    """

    number: int
    kind: str
    port: int = 0
    wire: tuple[int, int] = (0, 0)
    sent: int = 0
    received: int = 0
    fault: str | None = None
    wrong: bool = False


class End:
    """One end. ``ended``: called at its end.

    ``kind`` and ``number``: of the client's end; the server's end reads them. ``name``, ``hold_s``: as in `TlsEnd`.
    """

    def __init__(
        self,
        loop: Loop,
        sock: socket,
        context: ssl.SSLContext,
        paces: Paces,
        ended: Callable[[End], None],
        kind: str | None = None,
        number: int = 0,
        name: str | None = None,
        hold_s: float = 0.0,
    ) -> None:
        self._loop, self._paces, self._ended = loop, paces, ended
        self._side: Side | None = None
        self._plan = b""
        self._is_client = kind is not None
        self._ordered = self._peer_has_ended = False
        self._sent_at: deque[tuple[int, float]] = deque()
        self._longest = 0.0
        self.outcome = Outcome(number, kind or "unknown")
        self.open = False
        self.tls = TlsEnd(loop, sock, context, self, name, hold_s)
        if kind is not None:
            self._begin(kind, number)

    def _begin(self, kind: str, number: int) -> None:
        """Know the plan."""
        self.outcome.kind, self.outcome.number = kind, number
        self._side = KINDS[kind][0 if self._is_client else 1]
        echoed = self._side.sends in (MESSAGES, LAST)
        self._out = Source(number, "up" if self._is_client else "down")
        self._in = Source(number, "up" if echoed or not self._is_client else "down")

    def order_end(self) -> None:
        """End in order: the last messages, and a FIN."""
        if self._ordered or not self.tls.alive:
            return
        self._ordered = True
        self.tls.slow_down(0)
        if self.open and self._side is not None:
            if self._side.sends == LAST and self._side.ends == AT_ORDER:
                self._send(_LAST_BYTES)
            self._end_if_due()

    def look(self) -> float:
        """The longest round trip since the last look, in seconds; a message on its way counts with its age."""
        now = time.monotonic()
        found = max(self._longest, now - self._sent_at[0][1]) if self._sent_at else self._longest
        self._longest = 0.0
        return found

    def opened(self) -> None:
        """The handshake is complete: a client sends the plan."""
        if self._is_client:
            assert self._side is not None
            self.tls.write(_PLAN.pack(list(KINDS).index(self.outcome.kind), self.outcome.number))
            self._start(self._side)

    def _start(self, side: Side) -> None:
        self.open = True
        if side.sends == LAST and (side.ends == AT_ONCE or self._ordered):
            self._send(_LAST_BYTES)
        elif side.sends == FULL:
            self.tls.fill(True)
        elif side.sends in (MESSAGES, STREAM):
            self._next()
        if side.slow and not self._ordered:
            self.tls.slow_down(_SLOW_READ_BYTES)
            self._loop.later(self._paces.slow_s, self._read_slowly)
        self._end_if_due()

    def _next(self) -> None:
        """Send the next message or piece, unless the last ones wait in the kernel."""
        assert self._side is not None
        if not self.tls.alive or self._is_due():
            return
        messages = self._side.sends == MESSAGES
        if not self.tls.queued:
            self._send(_MESSAGE_BYTES if messages else self._paces.piece_bytes)
        self._loop.later(self._paces.message_s if messages else self._paces.stream_s, self._next)

    def _send(self, count: int) -> None:
        self.tls.write(self._out.take(count))
        self.outcome.sent += count
        if self._side is not None and self._side.sends in (MESSAGES, LAST):
            self._sent_at.append((self.outcome.sent, time.monotonic()))

    def _read_slowly(self) -> None:
        if self.tls.alive and not self._ordered:
            self.tls.read_slowly()
            self._loop.later(self._paces.slow_s, self._read_slowly)

    def drained(self) -> None:
        """The tunnel takes more of a full stream."""
        if not self._is_due():
            self._send(_FULL_BYTES)

    def received(self, data: bytes) -> None:
        """Check bytes, and send them back if the plan says so."""
        if self._side is None:
            self._plan += data
            if len(self._plan) < _PLAN.size:
                return
            kind, number = _PLAN.unpack_from(self._plan)
            data = self._plan[_PLAN.size :]
            self._begin(list(KINDS)[kind], number)
            assert self._side is not None
            self._start(self._side)
        if not data or not self.tls.alive:
            return
        try:
            self._in.check(memoryview(data))
        except Lost as error:
            self.outcome.wrong = True
            self.tls.abort(str(error))
            return
        self.outcome.received += len(data)
        if self._side.sends == ECHO:
            self.tls.write(data)
            self.outcome.sent += len(data)
        now = time.monotonic()
        while self._sent_at and self._sent_at[0][0] <= self.outcome.received:
            self._longest = max(self._longest, now - self._sent_at.popleft()[1])
        if self._side.sends in (MESSAGES, LAST):
            self._end_if_due()

    def peer_ended(self) -> None:
        """The other end has ended its direction."""
        self._peer_has_ended = True
        self._end_if_due()

    def closed(self, why: str | None) -> None:
        """The connection is closed."""
        self.outcome.fault = why
        self.outcome.port, self.outcome.wire = self.tls.port, (self.tls.sent, self.tls.received)
        if why is not None and why.startswith(BROKEN):  # TLS itself has found the wrong bytes
            self.outcome.wrong = True
        self._ended(self)

    def _is_due(self) -> bool:
        """Whether this direction has to end."""
        assert self._side is not None
        return {AT_ONCE: True, AT_ORDER: self._ordered, AFTER_PEER: self._peer_has_ended}[self._side.ends]

    def _end_if_due(self) -> None:
        if self.open and self._is_due() and not self._sent_at:
            self.tls.fill(False)
            self.tls.finish()
