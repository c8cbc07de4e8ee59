"""Tunnels that move between relays: what L{tests.relay.test_state} needs. Not a C{test_} module."""

from __future__ import annotations

import random
import socket
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SkipTest

from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.direction import Side
from sniproxy.relay.engine import EngineRelay, EngineUnavailable, RelayEngine
from sniproxy.relay.relay import IDLE_CHECKS, Ending, Relay
from sniproxy.relay.state import TunnelState
from sniproxy.util.buffered import BufferAccount
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, HandClock, SocketTestCase, connected, in_thread

MEBI = 1 << 20

ENGINE, OTHER_ENGINE, PYTHON = range(3)
"""Where a tunnel is: in one of two engines, or in a relay in Python."""

PAIRS = ((ENGINE, OTHER_ENGINE), (ENGINE, PYTHON), (PYTHON, ENGINE), (PYTHON, PYTHON))
"""All combinations of a relay that gives a tunnel back and one that resumes it."""

NOISE = random.Random(18).randbytes(16 * MEBI)


@attrs.frozen
class Times:
    """The time limits of a tunnel."""

    idle: float = 300.0
    half_closed: float = 60.0


class Moving:
    """A tunnel, and the far ends of both sides. It is its own owner.

    @ivar place: where it is.
    @ivar relay: has it now.
    @ivar done: fires at its end.
    """

    def __init__(self, case: MoveCase, times: Times, buffers: int) -> None:
        self.timeouts = times
        self.done: Deferred[Ending] = Deferred()
        self.account = BufferAccount()
        self.place = -1
        self.relay: EngineRelay | Relay
        self._case = case
        self._taken: Deferred[TunnelState | None] | None = None
        (self.client, ours), (self.target, theirs) = connected(buffers), connected(buffers)
        self.begin = TunnelState(ours, theirs)

    def finish(self, ending: Ending) -> None:
        self.done.callback(ending)
        self._take(None)

    def resume(self, state: TunnelState, place: int) -> None:
        self.place = place
        if place != PYTHON:
            opened = self._case.engines[place].resume(state, self)
            assert opened is not None
            self.relay = opened
            return
        times = self.timeouts
        self.relay = Relay(
            self._case.clock, state.client, state.target, b"",
            closer=self._case.closer, idle=times.idle, half_closed=times.half_closed, account=self.account,
        )  # fmt: skip
        self.relay.restore(state)
        self.relay.start(self.finish)

    async def take(self) -> TunnelState | None:
        """Take it out of its relay. @return: None: it has ended instead."""
        if not self.relay.movable:
            return None
        self._taken = taken = Deferred[TunnelState | None]()
        self.relay.give_back(self._take)
        return await taken

    def _take(self, state: TunnelState | None) -> None:
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.callback(state)

    async def move(self, place: int, holding: bool = False) -> TunnelState:
        """@param holding: not before it holds bytes for the client. @return: what moved."""
        state = await self.take()
        assert state is not None
        while holding and not state.held_down:
            # It had just sent what it held, and had not read more.
            self.resume(state, self.place)
            await in_thread(int)
            state = await self.take()
            assert state is not None
        self.resume(state, place)
        return state

    def blocked(self, bit: int) -> bool:
        """@param bit: 1: up, 2: down."""
        if isinstance(self.relay, Relay):
            return self.relay.blocked("up" if bit == 1 else "down")
        return bool(self.relay.blocked & bit)

    async def fill(self, source: socket.socket, bit: int) -> int:
        """Send L{NOISE} until neither the relay nor the system takes more. @return: bytes sent."""
        sent = stalled = 0
        source.setblocking(False)
        while stalled < 20:
            try:
                sent += source.send(NOISE[sent : sent + 65536])
                stalled = 0
            except BlockingIOError:
                await in_thread(int)
                stalled += self.blocked(bit)
        source.settimeout(TIMEOUT_S)
        assert sent < len(NOISE)
        return sent


class MoveCase(SocketTestCase):
    """Two engines, and the relay in Python with a L{HandClock}."""

    engines: tuple[RelayEngine, RelayEngine]
    clock: Any

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.clock = HandClock()
        self.closer = LingeringCloser(reactor)
        self.addCleanup(self.check_left)
        try:
            first = RelayEngine(reactor, self.closer, 1)
        except EngineUnavailable as error:
            raise SkipTest(f"no relay engine: {error}") from error
        self.engines = first, RelayEngine(reactor, self.closer, 2)
        for each in self.engines:
            self.addCleanup(each.close)

    async def check_left(self) -> None:
        """Tunnels that have ended or moved leave nothing."""
        await self.closer.settled()
        self.assertEqual([], [each for each in (*reactor.getReaders(), *reactor.getWriters()) if type(each) is Side])
        self.assertEqual([], self.clock.getDelayedCalls())

    def open(self, place: int, times: Times = Times(), buffers: int = 0, **state: Any) -> Moving:
        """@param state: of L{TunnelState}."""
        tunnel = Moving(self, times, buffers)
        for sock in (tunnel.client, tunnel.target):
            self.addCleanup(sock.close)
        tunnel.resume(attrs.evolve(tunnel.begin, **state), place)
        return tunnel

    async def pass_time(self, place: int, seconds: float) -> None:
        """Move the clock of a place, and handle what is then due."""
        if place == PYTHON:
            self.clock.pump([0.25] * int(4 * seconds))
        else:
            self.engines[place]._native.advance(seconds)
        await in_thread(int)

    async def close(self, tunnel: Moving) -> Ending:
        """Close the far ends."""
        tunnel.client.close()
        tunnel.target.close()
        return await tunnel.done

    async def expired(self, tunnel: Moving, left: float) -> Ending:
        """Wait for a deadline. @param left: seconds that it should have, more than 10: the time that the test takes."""
        await self.pass_time(tunnel.place, left - 10)
        self.assertFalse(tunnel.done.called)
        await self.pass_time(tunnel.place, 11 + max(tunnel.timeouts.idle, tunnel.timeouts.half_closed) / IDLE_CHECKS)
        return await tunnel.done
