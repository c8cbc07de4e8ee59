"""Tests for sniproxy.relay.engine with the native module: the contract of relays, and what only the engine does."""

from __future__ import annotations

import errno
import os
import random
import socket
import time
from functools import partial
from threading import Event
from typing import Literal

import attrs
from twisted.internet.defer import Deferred, gatherResults
from twisted.trial.unittest import SkipTest

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.sockopts import KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL
from sniproxy.relay import engine
from sniproxy.relay.engine import EngineRelay, EngineUnavailable, RelayEngine
from sniproxy.relay.relay import Ending
from sniproxy.relay.state import BOTH, CLIENT, NOBODY, TARGET, TunnelState
from sniproxy.relay.vanished import INTERVAL_S
from tests.relay import deadlinecontract, relaycontract
from tests.relay.relaycontract import MEBI, AnyRelay
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, SocketTestCase, connected, in_thread, read_exactly, read_to_end, reset


def engine_or_skip(closer: LingeringCloser, threads: int = 1) -> RelayEngine:
    """An engine. Skips the test without the native module."""
    try:
        return RelayEngine(reactor, closer, threads)
    except EngineUnavailable as error:
        raise SkipTest(f"no relay engine: {error}") from error


@attrs.frozen
class Times:
    """The time limits of a tunnel."""

    idle: float = 300.0
    half_closed: float = 60.0


class NativeRelay:
    """A tunnel of an engine, as the contract wants relays. It is its own owner."""

    tunnel: EngineRelay

    def __init__(
        self, native: RelayEngine, client: socket.socket, target: socket.socket, head: bytes, times: Times
    ) -> None:
        self.timeouts = times
        self._run = partial(native.open, client, target, head, self)
        self.done: Deferred[Ending] = Deferred()

    def run(self) -> Deferred[Ending]:
        opened = self._run()
        assert opened is not None
        self.tunnel = opened
        return self.done

    def finish(self, ending: Ending) -> None:
        self.done.callback(ending)

    @property
    def bytes_up(self) -> int:
        return self.tunnel.bytes_up

    @property
    def bytes_down(self) -> int:
        return self.tunnel.bytes_down

    @property
    def half_closed(self) -> bool:
        return self.tunnel.half_closed

    @property
    def answer(self) -> bytes:
        return self.tunnel.answer

    def blocked(self, direction: Literal["up", "down"]) -> bool:
        return bool(self.tunnel.blocked & (1 if direction == "up" else 2))

    def end(self, ending: Ending) -> None:
        self.tunnel.end(ending)


class NativeCase(SocketTestCase):
    """Has an engine."""

    threads = 1

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.closer = LingeringCloser(reactor)
        self.native = engine_or_skip(self.closer, self.threads)
        self.addCleanup(self.native.close)

    def make(
        self, settings: relaycontract.Settings, client: socket.socket, upstream: socket.socket, head: bytes
    ) -> AnyRelay:
        self.native._closer = settings.closer  # the contract has one for each tunnel
        return NativeRelay(self.native, client, upstream, head, Times(settings.idle, settings.half_closed))


class ContractTests(NativeCase, deadlinecontract.DeadlineContract, deadlinecontract.NotifiedContract):
    """The contract for the engine."""


class ThreadsTests(NativeCase, relaycontract.RelayContract):
    """The contract for an engine with three threads."""

    threads = 3


class NativeTests(NativeCase):
    """What only the engine does."""

    def open(self, head: bytes = b"", buffers: int = 0, times: Times = Times()) -> NativeRelay:
        (self.client, ours), (self.target, theirs) = connected(buffers), connected(buffers)
        for sock in (self.client, self.target):
            self.addCleanup(sock.close)
        relay = NativeRelay(self.native, ours, theirs, head, times)
        relay.run()
        return relay

    async def crossed(self, data: bytes = b"x") -> None:
        self.client.sendall(data)
        self.assertEqual(data, await in_thread(read_exactly, self.target, len(data)))

    def test_same_numbers(self) -> None:
        """The numbers of kinds are those of the native module."""
        module = engine.load()
        for name in ("OK", "RESET", "IDLE", "ENDED", "GIVEN_BACK", "UNWATCHED"):
            self.assertEqual(getattr(engine, name), getattr(module, name), name)

    def test_words_of_errors(self) -> None:
        """Errors have the system's words, and no others."""
        native = engine.load().Engine(1, 0, 0)
        native.close()
        error = self.assertRaises(OSError, native.add, 0, 1, 1, b"", 0, 0)
        self.assertEqual((errno.ESHUTDOWN, os.strerror(errno.ESHUTDOWN)), (error.errno, error.strerror))

    async def test_given_back(self) -> None:
        """A tunnel that is given back lost no byte, and can be opened again."""
        relay = self.open(b"head ")
        await self.crossed(b"")
        taken: Deferred[TunnelState] = Deferred()
        relay.tunnel.give_back(taken.callback)
        back = await taken
        self.assertEqual((b"", b"", NOBODY), (back.held_up, back.held_down, back.ended))
        self.client.sendall(b"after")
        self.assertEqual(b"head ", await in_thread(read_exactly, self.target, 5))
        again = NativeRelay(self.native, back.client, back.target, b"between ", Times())
        again.run()
        self.assertEqual(b"between after", await in_thread(read_exactly, self.target, 13))
        self.client.close()
        self.target.close()
        self.assertEqual(Result.OK, (await again.done).result)
        self.assertEqual((5, 13), (relay.bytes_up, again.bytes_up))
        self.assertFalse(relay.done.called)

    async def test_given_back_while_blocked(self) -> None:
        """The bytes that the engine holds come back, in memory and in pipes, and are not counted as held any more."""
        relay = self.open(buffers=65536)
        data = random.Random(8).randbytes(4 * MEBI)
        sending = in_thread(self.client.sendall, data)
        while not (relay.blocked("up") and self.native.held):
            await in_thread(int)
        taken: Deferred[TunnelState] = Deferred()
        relay.tunnel.give_back(taken.callback)
        back = await taken
        self.assertEqual(0, self.native.held)
        self.assertGreater(len(back.held_up), 0)
        sent = relay.bytes_up
        self.assertTrue(data[sent:].startswith(back.held_up))
        again = NativeRelay(self.native, back.client, back.target, back.held_up, Times())
        again.run()
        self.assertTrue(await in_thread(read_exactly, self.target, len(data)) == data)
        await sending
        self.client.close()
        self.target.close()
        await again.done

    async def test_half_closed_given_back(self) -> None:
        """Which side has ended is known of a tunnel that is given back."""
        relay = self.open()
        self.client.shutdown(socket.SHUT_WR)
        self.assertEqual(b"", await in_thread(read_to_end, self.target))
        self.assertTrue(relay.half_closed)
        taken: Deferred[TunnelState] = Deferred()
        relay.tunnel.give_back(taken.callback)
        back = await taken
        self.assertEqual(CLIENT, back.ended)
        back.client.close()
        back.target.close()

    async def test_ended_while_given_back(self) -> None:
        """A tunnel may end before it is given back: its owner gets the ending, and nobody the sockets."""
        relay = self.open()
        reset(self.client)
        await self.assertFailure(in_thread(self.target.recv, 1), ConnectionResetError)
        relay.tunnel.give_back(lambda back: self.fail("given back"))
        self.assertEqual(Result.RESET, (await relay.done).result)

    async def test_keep_alive(self) -> None:
        """A tunnel that lives on detects silent peers by keep-alive, as Python does not see its sockets any more."""
        relay = self.open()
        self.native._native.advance(INTERVAL_S)
        for _ in range(3):
            await self.crossed()
        taken: Deferred[TunnelState] = Deferred()
        relay.tunnel.give_back(taken.callback)
        back = await taken
        for sock in (back.client, back.target):
            self.assertEqual(1, sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
            for option, value in (
                (socket.TCP_KEEPIDLE, KEEPALIVE_IDLE),
                (socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL),
                (socket.TCP_KEEPCNT, KEEPALIVE_COUNT),
            ):
                self.assertEqual(value, sock.getsockopt(socket.IPPROTO_TCP, option))
            sock.close()

    async def test_held(self) -> None:
        """Bytes held for a slow reader are counted until it has read them."""
        relay = self.open(buffers=65536)
        self.assertEqual(0, self.native.held)
        data = bytes(2 * MEBI)
        sending = in_thread(self.client.sendall, data)
        while not self.native.held:
            await in_thread(int)
        await in_thread(read_exactly, self.target, len(data))
        await sending
        while self.native.held:
            await in_thread(int)
        self.client.close()
        self.target.close()
        await relay.done

    async def test_pipes(self) -> None:
        """Bulk takes pipes, which are counted, and closed with the engine."""
        relay = self.open()
        data = random.Random(9).randbytes(8 * MEBI)
        sending = in_thread(self.client.sendall, data)
        self.assertTrue(await in_thread(read_exactly, self.target, len(data)) == data)
        await sending
        self.assertGreater(self.native.pipes, 0)
        self.client.close()
        self.target.close()
        await relay.done

    async def test_close_with_open_tunnels(self) -> None:
        """A close cuts the tunnels that are still open, and their owners get an ending each."""
        relays = [self.open() for _ in range(5)]
        await self.crossed()
        self.native.close()
        for relay in relays:
            self.assertEqual(Ending(Result.SHUTDOWN, "the relay engine has stopped"), await relay.done)
        self.assertEqual((1, 0), (relays[-1].bytes_up, self.native.tunnels))
        self.assertEqual(b"", self.target.recv(1))

    async def test_many_endings(self) -> None:
        """Hundreds of tunnels that end at once are reported once each; their keys and descriptors are free again."""
        for _ in range(2):
            relays = []
            ends = []
            for _ in range(300):
                relays.append(self.open())
                ends.append((self.client, self.target))
            self.assertEqual(300, self.native.tunnels)
            for client, target in ends:
                client.close()
                target.close()
            for ending in await gatherResults([relay.done for relay in relays]):
                self.assertEqual(Result.OK, ending.result)
            self.assertEqual(0, self.native.tunnels)
        self.assertEqual(300, len(self.native._relays))

    async def test_sides(self) -> None:
        """A tunnel of which both sides ended is given back with both."""
        relay = self.open(buffers=65536)
        sending = in_thread(self.client.sendall, bytes(MEBI))
        while not relay.blocked("up"):
            await in_thread(int)
        sending.addErrback(lambda failure: failure.trap(OSError))
        self.target.shutdown(socket.SHUT_WR)
        self.assertEqual(b"", await in_thread(read_to_end, self.client))
        taken: Deferred[TunnelState] = Deferred()
        relay.tunnel.give_back(taken.callback)
        back = await taken
        self.assertIn(back.ended, (TARGET, BOTH))
        back.client.close()
        back.target.close()
        self.client.close()
        await sending


class BusyTests(NativeCase):
    """The engine while Python does something else."""

    def echo(self, stop: Event, counts: list[int]) -> None:
        """Count messages that came back through the tunnel, without the GIL while a call blocks."""
        while not stop.is_set():
            self.client.sendall(b"x")
            if self.client.recv(1) != b"x":
                return
            counts[0] += 1

    def answer(self) -> None:
        """The far end: send back what comes."""
        while data := self.target.recv(100):
            self.target.sendall(data)

    async def test_blocking_call(self) -> None:
        """A call that blocks the reactor's thread does not stop tunnels: echoes come back before it returns."""
        (self.client, ours), (self.target, theirs) = connected(), connected()
        relay = NativeRelay(self.native, ours, theirs, b"", Times())
        relay.run()
        stop, counts = Event(), [0]
        threads = [in_thread(self.echo, stop, counts), in_thread(self.answer)]
        until = time.monotonic() + TIMEOUT_S
        while counts[0] < 100 and time.monotonic() < until:
            stop.wait(0.001)  # blocks the reactor's thread
        self.assertGreaterEqual(counts[0], 100)
        stop.set()
        await threads[0]
        self.client.close()
        await threads[1]
        self.target.close()
        self.assertEqual(Result.OK, (await relay.done).result)
