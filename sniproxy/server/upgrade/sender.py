"""Moves the tunnels of the old process of an upgrade to the new one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.connection.tunnel import resume_relay
from sniproxy.events import Connection
from sniproxy.relay.state import TunnelState
from sniproxy.server.upgrade import messages
from sniproxy.server.upgrade.messages import Message

log = Logger()

WINDOW = 8
"""Maximum of tunnels in transit. The relay of such a tunnel has stopped, so it is small."""

LOOK_INTERVAL_S, MAX_LOOK_INTERVAL_S = 0.1, 5.0
"""Seconds between two looks for connections that have become tunnels; they double while none is found."""


class TunnelSender:
    """Moves every tunnel that can be moved, also those that are opened later.

    @param live: the connections of this process, the oldest first.
    @param send: sends a message with descriptors.
    @param left: called with the record of each connection whose tunnel the new process has taken.
    @param none_left: called each time when no tunnel can be moved now.
    @ivar moved: number of tunnels that the new process has taken.
    @ivar declined: why it has declined one; then no other is moved. None: it has not.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        live: Collection[Lifecycle],
        send: Callable[..., None],
        left: Callable[[Connection], None],
        none_left: Callable[[], None],
    ) -> None:
        self.moved = 0
        self.declined: str | None = None
        self._reactor = reactor
        self._live = live
        self._send = send
        self._left = left
        self._none_left = none_left
        self._count = 0
        self._queue: list[Lifecycle] = []  # found at the last look, the oldest at the end
        self._asked: dict[Lifecycle, None] = {}  # their relays are to give them back
        self._sent: dict[int, tuple[Lifecycle, TunnelState]] = {}
        self._timer: Any = None
        self._interval = LOOK_INTERVAL_S
        self._stopped = False

    @property
    def waits(self) -> bool:
        """Whether the new process has to answer."""
        return bool(self._sent)

    def start(self) -> None:
        """Move the tunnels that are open now, and look for others from time to time."""
        self._look()

    def stop(self) -> None:
        """Move no more. Tunnels that the new process has not taken continue in this one."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        sent, self._sent = self._sent, {}
        for conn, state in sent.values():
            resume_relay(conn, state)

    def answered(self, message: Message) -> bool:
        """Handle an answer of the new process. @return: False: it is none."""
        if not isinstance(message, messages.Took | messages.Declined) or message.number not in self._sent:
            return False
        conn, state = self._sent.pop(message.number)
        if isinstance(message, messages.Took):
            self.moved += 1
            state.close()
            conn.leave()
            self._left(conn.record)
        else:
            self.declined = message.why
            resume_relay(conn, state)
        self._move_some()
        return True

    def _look(self) -> None:
        self._timer = self._reactor.callLater(self._interval, self._look)
        self._asked = {conn: None for conn in self._asked if not conn.ended}
        if not self._queue and not self._asked and not self._sent:
            self._queue = [conn for conn in self._live if _may_move(conn)]
            self._queue.reverse()
            # Each look costs as much as there are tunnels that cannot move.
            self._interval = LOOK_INTERVAL_S if self._queue else min(2 * self._interval, MAX_LOOK_INTERVAL_S)
        self._move_some()

    def _move_some(self) -> None:
        while self._queue and len(self._asked) + len(self._sent) < WINDOW and self._may_send():
            conn = self._queue.pop()
            if _may_move(conn):
                assert conn.tunnel is not None
                self._asked[conn] = None
                conn.tunnel.give_back(partial(self._given, conn))
        if not (self._queue and self._may_send()) and not self._asked and not self._sent and not self._stopped:
            self._none_left()

    def _may_send(self) -> bool:
        return self.declined is None and not self._stopped

    def _given(self, conn: Lifecycle, state: TunnelState) -> None:
        self._asked.pop(conn, None)
        if not self._may_send() or conn.ending:
            resume_relay(conn, state)
            return
        self._count += 1
        self._sent[self._count] = conn, state
        self._send(_described(self._count, conn, state), state.client.fileno(), state.target.fileno())
        for message in messages.held(state.held_up, state.held_down):
            self._send(message)
        self._move_some()


def _may_move(conn: Lifecycle) -> bool:
    return conn.tunnel is not None and conn.tunnel.movable and conn.target is not None and not conn.ending


def _described(number: int, conn: Lifecycle, state: TunnelState) -> messages.Tunnel:
    assert conn.target is not None
    return messages.Tunnel(
        number,
        messages.to_record(conn.record),
        messages.to_destination(conn.target),
        None if conn.permit is None else conn.permit.route,
        conn.elapsed(),
        conn.may_half_close,
        len(state.held_up),
        len(state.held_down),
        state.ended,
        state.first,
        state.bytes_up,
        state.bytes_down,
        state.answer,
        state.quiet_s,
    )
