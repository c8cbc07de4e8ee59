"""TCP reassembly: segments in, the two byte streams of each connection out, in order. Pure.

Source: RFC 9293 (sequence numbers, 3.4; retransmission and overlap, 3.10.7.4; SYN, FIN, RST, 3.6). A capture is not
an endpoint: it may begin in the middle, miss packets that the peers did have, and show them in another order. So a
hole is waited for, but not long, and then told as a `Gap`. Where segments overlap with different bytes, the first ones
count. No checksum is looked at: capture programs see packets before the network card has filled it in.
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
"""Connections that are remembered, those included that have ended."""

MAX_HELD_BYTES_EACH = 4 << 20
"""Bytes of memory that wait behind a hole of one direction."""

MAX_HELD_BYTES = 64 << 20
"""The same, of all of them."""

ACKED_WAIT_S = 0.25
"""Seconds that a hole is waited for which the other end has acknowledged: packets may be captured out of order."""

GAP_WAIT_S = 10.0
"""Seconds that any other hole is waited for: retransmissions take a while. An answer waits as long for its request."""


@attrs.define(eq=False)
class CapturedConnection:
    """A TCP connection in a capture.

    @ivar number: counted from 1, in the order of their first packets.
    @ivar ends: its two endpoints.
    @ivar earlier: how many connections of these endpoints came before it.
    @ivar opener: the index in C{ends} of the one that sent the SYN; None: the capture began later.
    """

    number: int
    ends: tuple[Endpoint, Endpoint]
    earlier: int = 0
    opener: int | None = None


@attrs.frozen
class Data:
    """The next bytes of one direction. C{sender}: the index in C{connection.ends}. C{begins}: nothing of this direction
    came before, and no byte of it was missed: its SYN was seen."""

    connection: CapturedConnection
    sender: int
    time: float
    data: bytes
    begins: bool


@attrs.frozen
class Gap:
    """So many bytes of one direction are not in the capture; what comes next lies behind them."""

    connection: CapturedConnection
    sender: int
    time: float
    missing: int


@attrs.frozen
class Ended:
    """Nothing more comes of this connection. C{how}: C{fin}, C{rst}, C{reused} (its ports were), C{forgotten} (too many
    connections), C{capture} (the capture ended)."""

    connection: CapturedConnection
    time: float
    how: str


Piece = Data | Gap | Ended


@attrs.define(eq=False)
class _State:
    connection: CapturedConnection
    directions: tuple[SegmentQueue, SegmentQueue] = attrs.Factory(lambda: (SegmentQueue(), SegmentQueue()))
    over: bool = False  # kept, so that late packets of it are not taken for a new connection
    early: list[Segment] = attrs.Factory(list)  # they acknowledge what has not come
    early_held: int = 0  # bytes of memory
    early_since: float = 0.0


class Reassembly:
    """Puts segments in order: the bytes of a direction by sequence numbers, the directions by acknowledgements.

    A segment that acknowledges bytes of the other direction that have not come waits for them: the capture has the
    answer before its request, because two clocks or two queues wrote it. It waits at most C{patience} seconds and
    C{most_held_each} bytes, and C{most_held} of all connections; when it is then handed out and the bytes come after
    all, they are counted in C{late}, as are others that come too late: L{SegmentQueue.is_late}.

    A hole is given up when the other end has acknowledged the bytes behind it and C{acked_patience} seconds of the
    capture have passed, when C{patience} seconds have, when more than C{most_held_each} bytes of memory are held behind
    it, or, of all connections the one that waits longest, when it is more than C{most_held} bytes in all.
    Times are the capture's: nothing happens while no segment comes.

    @ivar connections: how many connections there were.
    @param most_connections: beyond it, the one that was silent longest is forgotten.
    """

    def __init__(
        self,
        *,
        most_connections: int = MAX_CONNECTIONS,
        most_held_each: int = MAX_HELD_BYTES_EACH,
        most_held: int = MAX_HELD_BYTES,
        acked_patience: float = ACKED_WAIT_S,
        patience: float = GAP_WAIT_S,
    ) -> None:
        self._most_connections = most_connections
        self._most_held_each = most_held_each
        self._most_held = most_held
        self._acked_patience = acked_patience
        self._patience = patience
        self._states: OrderedDict[tuple[Endpoint, Endpoint], _State] = OrderedDict()
        self._waiting: OrderedDict[tuple[_State, int], None] = OrderedDict()  # by the time of their holes
        self._held = 0
        self._swept = 0.0
        self._early: OrderedDict[_State, None] = OrderedDict()  # those with such segments, by the time of the first
        self._early_held = 0
        self.connections = 0
        self.late = 0
        """Segments that came too late to be put in order: the capture's packets are not in order of time."""

    @property
    def held(self) -> int:
        """Bytes of memory that are held behind holes, and in segments that wait for what they acknowledge."""
        return self._held + self._early_held

    def feed(self, segment: Segment) -> list[Piece]:
        """Take a segment; return what it completes, in order."""
        pieces: list[Piece] = []
        sender, key = _key(segment)
        state = self._states.get(key)
        earlier, flags, time = 0, segment.flags, segment.time
        again = state is not None and flags & SYN and self._is_new(state, sender, segment)
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
            if len(self._states) > self._most_connections:
                _, oldest = self._states.popitem(last=False)
                pieces += self._end(oldest, time, "forgotten")
        else:
            self._states.move_to_end(key)
        if not state.over:
            pieces += self._in_turn(state, sender, segment)
        state.directions[sender].latest = max(time, state.directions[sender].latest)
        while self._early and (
            self._early_held > self._most_held or abs(time - next(iter(self._early)).early_since) >= self._patience
        ):
            pieces += self._give_out(next(iter(self._early)), time, at_once=True)
        if time >= self._swept + self._acked_patience or time < self._swept:
            self._swept = time
            for waiting, which in list(self._waiting):
                since = waiting.directions[which].hole_since
                if since is not None and 0 <= time - since < self._acked_patience:
                    break  # those behind it wait for a shorter time
                pieces += self._drain(waiting, which, time)
        return pieces

    def finish(self, time: float) -> list[Piece]:
        """The capture has ended: hand out what is held, and end all connections."""
        pieces: list[Piece] = []
        while self._states:
            pieces += self._end(self._states.popitem(last=False)[1], time, "capture")
        return pieces

    def _is_new(self, state: _State, sender: int, segment: Segment) -> bool:
        """Whether a SYN on ports that are known begins another connection."""
        direction, other = state.directions[sender], state.directions[1 - sender]
        if direction.base is None:
            # An answer to the SYN of the other end, or the SYN that was captured after its answer.
            return state.over or not (segment.flags & ACK or other.seen_syn)
        return (segment.sequence + 1) & 0xFFFFFFFF != direction.base

    def _in_turn(self, state: _State, sender: int, segment: Segment) -> Iterator[Piece]:
        """Take a segment, or keep it until what it acknowledges has come; then those that waited for this one."""
        if self._is_early(state, sender, segment):
            other = state.directions[1 - sender]
            other.peer_has = max(other.peer_has, other.answered(segment.acknowledged) or 0)
            if not state.early:
                state.early_since = segment.time
                self._early[state] = None
            state.early.append(segment)
            size = PIECE_OVERHEAD_BYTES + len(segment.data)
            state.early_held += size
            self._early_held += size
            if state.early_held > self._most_held_each:
                yield from self._give_out(state, segment.time, at_once=True)
            return
        yield from self._take(state, sender, segment)
        if state.early:
            yield from self._give_out(state, segment.time)

    def _is_early(self, state: _State, sender: int, segment: Segment) -> bool:
        # Programs that anonymize captures may write an acknowledgement of 0.
        if not segment.flags & ACK or not segment.acknowledged or not (segment.length or segment.flags & (FIN | RST)):
            return False
        return state.directions[1 - sender].lacks(segment.acknowledged)

    def _give_out(self, state: _State, time: float, *, at_once: bool = False) -> Iterator[Piece]:
        """Hand out the segments that need not wait any longer. C{at_once}: none of them shall."""
        again = True
        while again and not state.over:
            again = False
            for segment in list(state.early):
                sender, _ = _key(segment)
                if self._is_early(state, sender, segment):
                    if not at_once:
                        continue
                    other = state.directions[1 - sender]
                    other.passed_over = max(other.passed_over, other.answered(segment.acknowledged) or 0)
                self._forget_early(state, segment)
                again = True
                yield from self._take(state, sender, attrs.evolve(segment, time=max(time, segment.time)))
                if state.over or not at_once:
                    break

    def _forget_early(self, state: _State, segment: Segment) -> None:
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
            other.answer(segment.acknowledged)
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
                # The usual case, without a copy.
                data = segment.data[direction.expected - start :] if start < direction.expected else segment.data
                begins = direction.seen_syn and not direction.expected
                direction.expected = captured
                yield Data(state.connection, sender, time, data, begins)
            elif segment.length:
                self._hold(direction, start, captured, segment.data)
            if captured < start + segment.length:
                self._hold(direction, captured, start + segment.length, None)
            yield from self._drain(state, sender, time)
        if other.holed:
            yield from self._drain(state, 1 - sender, time)
        if flags & RST:
            yield from self._end(state, time, "rst")
        elif direction.finished and other.finished:
            yield from self._end(state, time, "fin")

    def _hold(self, direction: SegmentQueue, start: int, end: int, data: bytes | None) -> None:
        before = direction.held
        direction.hold(start, end, data)
        self._held += direction.held - before

    def _drain(self, state: _State, sender: int, time: float, at_once: bool = False) -> Iterator[Piece]:
        """Hand out what is next, and give up holes that were waited for long enough."""
        direction = state.directions[sender]
        while True:
            begins = direction.seen_syn and not direction.expected
            before = direction.held
            for item in direction.ready():
                if isinstance(item, int):
                    yield Gap(state.connection, sender, time, item)
                else:
                    yield Data(state.connection, sender, time, item, begins)
                begins = False
            self._held -= before - direction.held
            if not direction.holed:
                direction.hole_since = None
                self._waiting.pop((state, sender), None)
                return
            if direction.hole_since is None:
                direction.hole_since = time
                self._waiting[state, sender] = None
            waited = time - direction.hole_since
            if not (
                at_once
                or direction.held > self._most_held_each
                or waited >= self._patience
                or (waited >= self._acked_patience and direction.acked_beyond_hole())
            ):
                break
            yield Gap(state.connection, sender, time, direction.leap())
            direction.hole_since = None
            self._waiting.pop((state, sender), None)
        while self._held > self._most_held:
            longest, which = next(iter(self._waiting))
            yield from self._drain(longest, which, time, at_once=True)

    def _end(self, state: _State, time: float, how: str) -> Iterator[Piece]:
        if not state.over:
            yield from self._give_out(state, time, at_once=True)
        if not state.over:
            for sender in (0, 1):
                yield from self._drain(state, sender, time, at_once=True)
            state.over = True
            yield Ended(state.connection, time, how)


def _key(segment: Segment) -> tuple[int, tuple[Endpoint, Endpoint]]:
    """The index of the sender in the connection's ends, and these."""
    a, b = segment.source, segment.destination
    return (0, (a, b)) if a <= b else (1, (b, a))


def endpoint_text(endpoint: Endpoint) -> str:
    """``10.0.0.1:6650``, ``[fd00::1]:6650``."""
    return host_port(str(ipaddress.ip_address(endpoint[0])), endpoint[1])
