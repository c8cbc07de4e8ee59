"""TCP reassembly: turns segments into the two ordered byte streams of each connection. Pure.

Specification: RFC 9293, 3.4 (sequence numbers), 3.10.7.4 (retransmission and overlap), 3.6 (SYN, FIN, RST). A capture
is not an endpoint: it may begin in the middle, lack packets that the peers received, and have them in another order.
The reassembly waits a limited time for missing bytes, then reports a `Gap`. If segments overlap, the bytes that came
first count. It ignores checksums, because a capture may show packets before the network card fills them in.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Iterator

import attrs

from sniproxy.inspector.capture.direction import PIECE_OVERHEAD_BYTES, SegmentQueue
from sniproxy.inspector.capture.packets import ACK, FIN, RST, SYN, Endpoint, Segment
from sniproxy.util.names import host_port

MAX_CONNECTIONS = 65_536
"""Connections that are tracked, including ended ones."""

MAX_HELD_BYTES_EACH = 4 << 20
"""Memory in bytes held behind a hole of one direction."""

MAX_HELD_BYTES = 64 << 20
"""Memory in bytes held behind the holes of all directions."""

ACKED_WAIT_S = 0.25
"""Seconds to wait for missing bytes that the other end has acknowledged: packets may be captured out of order."""

GAP_WAIT_S = 10.0
"""Seconds to wait for other missing bytes, which may be retransmitted. An answer waits as long for its request."""


@attrs.define(eq=False)
class CapturedConnection:
    """A TCP connection in a capture.

    @ivar number: counted from 1, in the order of the first packets.
    @ivar ends: the two endpoints.
    @ivar earlier: the number of earlier connections between these endpoints.
    @ivar opener: index in C{ends} of the endpoint that sent the SYN. None: the SYN was not captured.
    """

    number: int
    ends: tuple[Endpoint, Endpoint]
    earlier: int = 0
    opener: int | None = None


@attrs.frozen
class Data:
    """The next bytes of one direction. C{sender}: the index in C{connection.ends}. C{begins}: these are the first bytes
    of the direction, and its SYN was captured."""

    connection: CapturedConnection
    sender: int
    time: float
    data: bytes
    begins: bool


@attrs.frozen
class Gap:
    """C{missing} bytes of one direction are not in the capture. The next piece follows them."""

    connection: CapturedConnection
    sender: int
    time: float
    missing: int


@attrs.frozen
class Ended:
    """The last piece of a connection. C{how}: C{fin}, C{rst}, C{reused} (a new connection uses its ports), C{forgotten}
    (too many connections), C{capture} (the capture ended)."""

    connection: CapturedConnection
    time: float
    how: str


Piece = Data | Gap | Ended


@attrs.define(eq=False)
class _State:
    connection: CapturedConnection
    directions: tuple[SegmentQueue, SegmentQueue] = attrs.Factory(lambda: (SegmentQueue(), SegmentQueue()))
    over: bool = False  # kept, so that late packets do not begin a new connection
    early: list[Segment] = attrs.Factory(list)  # segments that acknowledge bytes that have not arrived
    early_held: int = 0  # bytes of memory
    early_since: float = 0.0


class Reassembly:
    """Orders the bytes of each direction by sequence number, and the two directions by acknowledgements.

    A segment that acknowledges bytes that have not arrived waits for them: a capture from two clocks or two queues
    may have the answer before its request. It waits at most C{gap_wait_s} seconds, and at most C{max_held_bytes_each}
    bytes of a connection and C{max_held_bytes} of all connections wait. Bytes that arrive after their answer was
    released are counted in C{late}, as are others that arrive too late: L{SegmentQueue.is_late}.

    A hole is abandoned after C{gap_wait_s} seconds; after C{acked_wait_s} seconds if the other end has acknowledged
    its bytes; if more than C{max_held_bytes_each} bytes of memory are held behind it; or, the oldest hole first, if
    more than C{max_held_bytes} bytes are held in all. Times are capture times: nothing happens until the next segment.

    @ivar connections: the number of connections so far.
    @param max_connections: if there are more, the one with the oldest last segment is dropped.
    """

    def __init__(
        self,
        *,
        max_connections: int = MAX_CONNECTIONS,
        max_held_bytes_each: int = MAX_HELD_BYTES_EACH,
        max_held_bytes: int = MAX_HELD_BYTES,
        acked_wait_s: float = ACKED_WAIT_S,
        gap_wait_s: float = GAP_WAIT_S,
    ) -> None:
        self._max_connections = max_connections
        self._max_held_bytes_each = max_held_bytes_each
        self._max_held_bytes = max_held_bytes
        self._acked_wait_s = acked_wait_s
        self._gap_wait_s = gap_wait_s
        self._states: OrderedDict[tuple[Endpoint, Endpoint], _State] = OrderedDict()
        self._waiting: OrderedDict[tuple[_State, int], None] = OrderedDict()  # by age of the hole
        self._held = 0
        self._swept = 0.0
        self._early: OrderedDict[_State, None] = OrderedDict()  # connections with early segments, by age
        self._early_held = 0
        self.connections = 0
        self.late = 0
        """Segments that came too late to be ordered: the packets of the capture are not in time order."""

    @property
    def held(self) -> int:
        """Memory in bytes of pieces behind holes and of segments that wait for the bytes that they acknowledge."""
        return self._held + self._early_held

    def feed(self, segment: Segment) -> list[Piece]:
        """Take a segment. Return the pieces that it completes, in order."""
        pieces: list[Piece] = []
        sender, key = _key(segment)
        state = self._states.get(key)
        earlier, flags, time = 0, segment.flags, segment.time
        again = state is not None and flags & SYN and self._is_new_connection(state, sender, segment)
        if state is not None and (again or state.over) and time < max(one.latest for one in state.directions):
            self.late += bool(again or segment.length)
        if state is not None and again:
            pieces += self._end(state, time, "reused")
            earlier = state.connection.earlier + 1
            state = None
        if state is None:
            if not flags & SYN and (not segment.length or flags & RST):
                return pieces
            self.connections += 1
            state = self._states[key] = _State(CapturedConnection(self.connections, key, earlier))
            if len(self._states) > self._max_connections:
                _, oldest = self._states.popitem(last=False)
                pieces += self._end(oldest, time, "forgotten")
        else:
            self._states.move_to_end(key)
        if not state.over:
            pieces += self._take_or_hold(state, sender, segment)
        state.directions[sender].latest = max(time, state.directions[sender].latest)
        while self._early:
            oldest = next(iter(self._early))
            if self._early_held <= self._max_held_bytes and abs(time - oldest.early_since) < self._gap_wait_s:
                break
            pieces += self._take_early(oldest, time, force=True)
        if time >= self._swept + self._acked_wait_s or time < self._swept:
            self._swept = time
            for waiting, which in list(self._waiting):
                since = waiting.directions[which].hole_since
                if since is not None and 0 <= time - since < self._acked_wait_s:
                    break  # later ones have waited for less time
                pieces += self._drain(waiting, which, time)
        return pieces

    def finish(self, time: float) -> list[Piece]:
        """Release all held pieces and end all connections, at the end of the capture."""
        pieces: list[Piece] = []
        while self._states:
            pieces += self._end(self._states.popitem(last=False)[1], time, "capture")
        return pieces

    def _is_new_connection(self, state: _State, sender: int, segment: Segment) -> bool:
        """Whether a SYN between known endpoints begins a new connection."""
        direction, other = state.directions[sender], state.directions[1 - sender]
        if direction.base is None:
            # The SYN-ACK, or a SYN that was captured after its SYN-ACK.
            return state.over or not (segment.flags & ACK or other.seen_syn)
        return (segment.sequence + 1) & 0xFFFFFFFF != direction.base

    def _take_or_hold(self, state: _State, sender: int, segment: Segment) -> Iterator[Piece]:
        """Take a segment and those that waited for it, or hold it until the bytes that it acknowledges arrive."""
        if self._is_early(state, sender, segment):
            other = state.directions[1 - sender]
            other.peer_has = max(other.peer_has, other.acked_position(segment.acknowledged) or 0)
            if not state.early:
                state.early_since = segment.time
                self._early[state] = None
            state.early.append(segment)
            size = PIECE_OVERHEAD_BYTES + len(segment.data)
            state.early_held += size
            self._early_held += size
            if state.early_held > self._max_held_bytes_each:
                yield from self._take_early(state, segment.time, force=True)
            return
        yield from self._take(state, sender, segment)
        if state.early:
            yield from self._take_early(state, segment.time)

    def _is_early(self, state: _State, sender: int, segment: Segment) -> bool:
        # Programs that anonymize captures may write 0 as acknowledgement number.
        if not segment.flags & ACK or not segment.acknowledged or not (segment.length or segment.flags & (FIN | RST)):
            return False
        return state.directions[1 - sender].lacks_acked(segment.acknowledged)

    def _take_early(self, state: _State, time: float, *, force: bool = False) -> Iterator[Piece]:
        """Take the early segments that need not wait any longer. C{force}: take all."""
        again = True
        while again and not state.over:
            again = False
            for segment in list(state.early):
                sender, _ = _key(segment)
                if self._is_early(state, sender, segment):
                    if not force:
                        continue
                    other = state.directions[1 - sender]
                    other.answered_to = max(other.answered_to, other.acked_position(segment.acknowledged) or 0)
                self._drop_early(state, segment)
                again = True
                yield from self._take(state, sender, attrs.evolve(segment, time=max(time, segment.time)))
                if state.over or not force:
                    break

    def _drop_early(self, state: _State, segment: Segment) -> None:
        state.early.remove(segment)
        size = PIECE_OVERHEAD_BYTES + len(segment.data)
        state.early_held -= size
        self._early_held -= size
        if not state.early:
            self._early.pop(state, None)

    def _take(self, state: _State, sender: int, segment: Segment) -> Iterator[Piece]:
        direction, other = state.directions[sender], state.directions[1 - sender]
        flags, sequence, time = segment.flags, segment.sequence, segment.time
        if flags & SYN:
            if state.connection.opener is None:
                state.connection.opener = 1 - sender if flags & ACK else sender
            sequence = (sequence + 1) & 0xFFFFFFFF
            if direction.base is None:
                direction.seen_syn = True
        if flags & ACK and direction.seen_syn and other.first is None:
            other.first = segment.acknowledged
        if direction.base is None and (flags & SYN or segment.length):
            direction.begin(sequence)
        if flags & ACK and segment.length:
            other.note_answer(segment.acknowledged)
        if flags & ACK and other.base is not None:
            other.peer_has = max(other.peer_has, other.position(segment.acknowledged))
        if direction.base is not None:
            start = direction.position(sequence)
            if segment.length and direction.is_late(start, start + segment.length, time):
                self.late += 1
            captured = start + len(segment.data)
            if flags & FIN and direction.finish is None and start + segment.length >= direction.expected:
                direction.finish = start + segment.length
            if segment.length and start <= direction.expected < captured and not direction.pieces:
                # The usual case needs no copy.
                data = segment.data[direction.expected - start :] if start < direction.expected else segment.data
                begins = direction.seen_syn and not direction.expected
                direction.expected = captured
                yield Data(state.connection, sender, time, data, begins)
            elif segment.length:
                self._hold(direction, start, captured, segment.data)
            if captured < start + segment.length:
                self._hold(direction, captured, start + segment.length, None)
            yield from self._drain(state, sender, time)
        if other.has_hole:
            yield from self._drain(state, 1 - sender, time)
        if flags & RST:
            yield from self._end(state, time, "rst")
        elif direction.finished and other.finished:
            yield from self._end(state, time, "fin")

    def _hold(self, direction: SegmentQueue, start: int, end: int, data: bytes | None) -> None:
        before = direction.held
        direction.hold(start, end, data)
        self._held += direction.held - before

    def _drain(self, state: _State, sender: int, time: float, force: bool = False) -> Iterator[Piece]:
        """Release the next bytes, and abandon holes whose wait is over."""
        direction = state.directions[sender]
        while True:
            begins = direction.seen_syn and not direction.expected
            before = direction.held
            for item in direction.take_ready():
                if isinstance(item, int):
                    yield Gap(state.connection, sender, time, item)
                else:
                    yield Data(state.connection, sender, time, item, begins)
                begins = False
            self._held -= before - direction.held
            if not direction.has_hole:
                direction.hole_since = None
                self._waiting.pop((state, sender), None)
                return
            if direction.hole_since is None:
                direction.hole_since = time
                self._waiting[state, sender] = None
            waited = time - direction.hole_since
            if not (
                force
                or direction.held > self._max_held_bytes_each
                or waited >= self._gap_wait_s
                or (waited >= self._acked_wait_s and direction.hole_is_acked())
            ):
                break
            yield Gap(state.connection, sender, time, direction.skip_hole())
            direction.hole_since = None
            self._waiting.pop((state, sender), None)
        while self._held > self._max_held_bytes:
            longest, which = next(iter(self._waiting))
            yield from self._drain(longest, which, time, force=True)

    def _end(self, state: _State, time: float, how: str) -> Iterator[Piece]:
        if not state.over:
            yield from self._take_early(state, time, force=True)
        if not state.over:
            for sender in (0, 1):
                yield from self._drain(state, sender, time, force=True)
            state.over = True
            yield Ended(state.connection, time, how)


def _key(segment: Segment) -> tuple[int, tuple[Endpoint, Endpoint]]:
    """The sender's index in the connection's ends, and the ends."""
    a, b = segment.source, segment.destination
    return (0, (a, b)) if a <= b else (1, (b, a))


def endpoint_text(endpoint: Endpoint) -> str:
    """An endpoint as ``10.0.0.1:6650`` or ``[fd00::1]:6650``."""
    return host_port(str(ipaddress.ip_address(endpoint[0])), endpoint[1])
