"""Tests for sniproxy.relay.state: tunnels move between relays of the same kind and of the other."""

from __future__ import annotations

import hashlib
import random
import socket
from itertools import cycle
from threading import Semaphore

from twisted.internet.defer import gatherResults

from sniproxy.events import Result
from sniproxy.relay.relay import FIRST_ENDED, Ending, Relay
from sniproxy.relay.state import BOTH, CLIENT, NOBODY, SIDE_NAMES, TARGET
from tests.relay.moving import ENGINE, NOISE, OTHER_ENGINE, PAIRS, PYTHON, MoveCase, Times
from tests.support.sockets import TIMEOUT_S, in_thread, read_exactly, read_to_end, reset

MOVES = 30


def send_pieces(sock: socket.socket, data: bytes, moves: Semaphore) -> None:
    """Send one piece for each move, and then the end."""
    size = len(data) // MOVES
    for start in range(0, len(data), size):
        assert moves.acquire(timeout=TIMEOUT_S)
        sock.sendall(data[start : start + size])
    sock.shutdown(socket.SHUT_WR)


def read_hash(sock: socket.socket, size: int) -> str:
    """The hash of all bytes up to the end, read in parts of at most C{size} bytes."""
    found = hashlib.sha256()
    while part := sock.recv(size):
        found.update(part)
    return found.hexdigest()


class LoadTests(MoveCase):
    """Tunnels that move while bytes cross in both directions."""

    async def load(self, places: tuple[int, ...], buffers: int, part: int) -> None:
        next_place = cycle(places)
        tunnel = self.open(next(next_place), buffers=buffers)
        up, down = (random.Random(seed).randbytes(MOVES * 100_000) for seed in (1, 2))
        pieces = [Semaphore(1), Semaphore(1)]
        sending = [
            in_thread(send_pieces, sock, data, allowed)
            for sock, data, allowed in zip((tunnel.client, tunnel.target), (up, down), pieces, strict=True)
        ]
        reading = gatherResults([in_thread(read_hash, sock, part) for sock in (tunnel.target, tunnel.client)])
        moves = 0
        while (state := await tunnel.take()) is not None:
            tunnel.resume(state, next(next_place))
            moves += 1
            for each in pieces:
                each.release()
            await in_thread(int)  # Python gives back at once: let the reactor serve
        await gatherResults(sending)
        self.assertEqual([hashlib.sha256(data).hexdigest() for data in (up, down)], await reading)
        self.assertGreaterEqual(moves, MOVES - 1)
        self.assertIn(await tunnel.done, FIRST_ENDED.values())
        self.assertEqual((len(up), len(down)), (tunnel.relay.bytes_up, tunnel.relay.bytes_down))
        self.assertEqual(bytes((down[0], down[6])), tunnel.relay.answer)

    async def test_engines(self) -> None:
        """Between two engines."""
        await self.load((ENGINE, OTHER_ENGINE), 0, 65536)

    async def test_engine_and_python(self) -> None:
        """From an engine to Python, and back."""
        await self.load((ENGINE, PYTHON), 0, 65536)

    async def test_python(self) -> None:
        """Between relays in Python."""
        await self.load((PYTHON,), 0, 65536)

    async def test_small_buffers(self) -> None:
        """Through small buffers to readers that read little at a time: the relays hold bytes all the time."""
        await self.load((ENGINE, OTHER_ENGINE, PYTHON, PYTHON), 16384, 3000)


class MoveTests(MoveCase):
    """Tunnels that move while they wait."""

    async def test_blocked(self) -> None:
        """Bytes held for a slow reader, in memory and in pipes, move in both directions, again and again."""
        for one, other in PAIRS:
            tunnel = self.open(one, buffers=65536)
            sent = await tunnel.fill(tunnel.client, 1), await tunnel.fill(tunnel.target, 2)
            held = set()
            for place in (other, one) * 5:
                state = await tunnel.move(place)
                held |= {len(state.held_up), len(state.held_down)}
                self.assertEqual((NOBODY, NOBODY), (state.ended, state.first))
                self.assertTrue(NOISE[state.bytes_up :].startswith(state.held_up))
                self.assertTrue(NOISE[state.bytes_down :].startswith(state.held_down))
            self.assertGreater(max(held), 0)
            got = await gatherResults([
                in_thread(read_exactly, sock, count)
                for sock, count in zip((tunnel.target, tunnel.client), sent, strict=True)
            ])  # fmt: skip
            self.assertEqual([True, True], [NOISE.startswith(data) for data in got])
            while sum(each.held for each in self.engines) or tunnel.account.bytes:
                await in_thread(int)
            self.assertEqual(Result.OK, (await self.close(tunnel)).result)
            # Not before: a reader may have the bytes before the engine's thread has counted them.
            self.assertEqual(sent, (tunnel.relay.bytes_up, tunnel.relay.bytes_down))

    async def test_half_closed(self) -> None:
        """A half-closed tunnel stays so: the other side may still answer, and it is known which one ended first."""
        for one, other in PAIRS:
            for side, first in (("client", CLIENT), ("target", TARGET)):
                tunnel = self.open(one)
                ends = tunnel.client, tunnel.target
                ended, open_end = ends if side == "client" else ends[::-1]
                ended.sendall(b"last")
                ended.shutdown(socket.SHUT_WR)
                self.assertEqual(b"last", await in_thread(read_to_end, open_end))
                for place in (other, one, other):
                    state = await tunnel.move(place)
                    self.assertEqual((first, first), (state.ended, state.first))
                    self.assertTrue(tunnel.relay.half_closed)
                open_end.sendall(b"answer")
                self.assertEqual(b"answer", await in_thread(read_exactly, ended, 6))
                open_end.close()
                self.assertEqual(b"", await in_thread(read_to_end, ended))
                self.assertEqual(FIRST_ENDED[side], await self.close(tunnel))

    async def test_both_ended(self) -> None:
        """A tunnel whose two sides have ended moves with the last bytes, which a slow reader has not got."""
        for one, other in PAIRS:
            tunnel = self.open(one, buffers=65536)
            tunnel.client.shutdown(socket.SHUT_WR)
            self.assertEqual(b"", await in_thread(read_to_end, tunnel.target))
            sent = await tunnel.fill(tunnel.target, 2)
            tunnel.target.shutdown(socket.SHUT_WR)
            for place in (other, one, other):
                state = await tunnel.move(place, holding=True)
                self.assertEqual((CLIENT, CLIENT), (state.ended & CLIENT, state.first))
                self.assertTrue(state.held_down)
            got = await in_thread(read_to_end, tunnel.client)
            self.assertEqual((sent, True), (len(got), NOISE.startswith(got)))
            self.assertEqual(FIRST_ENDED["client"], await tunnel.done)
            tunnel.target.close()

    async def test_held_before_an_end(self) -> None:
        """Ends that were read are passed on behind the bytes held, and no socket is read for them."""
        for place in (ENGINE, PYTHON):
            for ended, first in ((BOTH, CLIENT), (BOTH, TARGET), (CLIENT, CLIENT), (TARGET, TARGET)):
                for held in (b"", b"held"):
                    tunnel = self.open(place, held_up=held, held_down=held, ended=ended, first=first, bytes_up=9)
                    ends = {CLIENT: tunnel.target, TARGET: tunnel.client}
                    for side in ends:
                        if ended & side:
                            self.assertEqual(held, await in_thread(read_to_end, ends[side]))
                        else:
                            self.assertEqual(held, await in_thread(read_exactly, ends[side], len(held)))
                    if ended != BOTH:
                        self.assertTrue(tunnel.relay.half_closed)
                        self.assertFalse(tunnel.done.called)
                        ends[ended].close()
                    self.assertEqual(FIRST_ENDED[SIDE_NAMES[first]], await tunnel.done)
                    self.assertEqual(9 + len(held), tunnel.relay.bytes_up)
                    await self.close(tunnel)

    async def test_unknown_first(self) -> None:
        """If it is not said which side ended first, the relay has a side all the same."""
        for place in (ENGINE, PYTHON):
            tunnel = self.open(place, ended=TARGET)
            self.assertEqual(b"", await in_thread(read_to_end, tunnel.client))
            self.assertEqual(FIRST_ENDED["target"], await self.close(tunnel))

    async def test_answer(self) -> None:
        """What the target's first bytes showed is kept; later bytes change nothing."""
        for one, other in PAIRS:
            tunnel = self.open(one)
            tunnel.target.sendall(b"1234567")
            await in_thread(read_exactly, tunnel.client, 7)
            self.assertEqual(b"17", (await tunnel.move(other)).answer)
            tunnel.target.sendall(b"abcdefgh")
            await in_thread(read_exactly, tunnel.client, 8)
            await self.close(tunnel)
            self.assertEqual((b"17", 15), (tunnel.relay.answer, tunnel.relay.bytes_down))


class DeadlineTests(MoveCase):
    """Deadlines count the silence before the move."""

    async def test_idle(self) -> None:
        """A silent tunnel ends when it would have ended without the move."""
        for one, other in PAIRS:
            tunnel = self.open(one, Times(idle=300.0))
            await self.pass_time(one, 200)
            state = await tunnel.move(other)
            self.assertEqual(200, state.quiet_s // 10 * 10)
            self.assertEqual(Ending(Result.IDLE_TIMEOUT, "no bytes for 300 s"), await self.expired(tunnel, 100))
            await self.close(tunnel)

    async def test_bytes(self) -> None:
        """Bytes after the move put the deadline off, and bytes before it do."""
        for one, other in PAIRS:
            tunnel = self.open(one, Times(idle=300.0), quiet_s=280.0)
            tunnel.client.sendall(b"x")
            await in_thread(read_exactly, tunnel.target, 1)
            self.assertLess((await tunnel.move(other)).quiet_s, 10)
            await self.pass_time(other, 280)
            tunnel.target.sendall(b"x")
            await in_thread(read_exactly, tunnel.client, 1)
            await self.expired(tunnel, 300)
            await self.close(tunnel)

    async def test_half_closed(self) -> None:
        """A half-closed tunnel keeps its own deadline, with an idle time and without."""
        for one, other in PAIRS:
            for idle in (300.0, 0.0):
                tunnel = self.open(one, Times(idle, 60.0))
                tunnel.client.shutdown(socket.SHUT_WR)
                self.assertEqual(b"", await in_thread(read_to_end, tunnel.target))
                await self.pass_time(one, 40)
                self.assertEqual(40, (await tunnel.move(other)).quiet_s // 10 * 10)
                reason = "no bytes for 60 s after the client closed its side"
                self.assertEqual(Ending(Result.IDLE_TIMEOUT, reason), await self.expired(tunnel, 20))
                await self.close(tunnel)

    async def test_past(self) -> None:
        """A tunnel whose deadline passed during the move ends at once."""
        for place in (ENGINE, PYTHON):
            tunnel = self.open(place, Times(idle=5.0), quiet_s=6.0)
            self.assertEqual(Ending(Result.IDLE_TIMEOUT, "no bytes for 5 s"), await tunnel.done)
            self.assertEqual(b"", await in_thread(read_to_end, tunnel.target))
            await self.close(tunnel)


class EndTests(MoveCase):
    """Tunnels that end after a move, or instead."""

    async def test_reset(self) -> None:
        """A reset after the move is passed on, and so is one between."""
        for one, other in PAIRS:
            for between in (True, False):
                tunnel = self.open(one)
                state = await tunnel.take()
                assert state is not None
                if between:
                    reset(tunnel.target)
                tunnel.resume(state, other)
                if not between:
                    reset(tunnel.target)
                await self.assertFailure(in_thread(tunnel.client.recv, 1), ConnectionResetError)
                self.assertEqual(Ending(Result.RESET, "the target's connection was reset"), await tunnel.done)

    async def test_reset_of_an_ended_side(self) -> None:
        """A side that has ended, moved and then reset takes back nothing of what it sent."""
        for one, other in PAIRS:
            tunnel = self.open(one, Times(idle=0.0))
            tunnel.client.shutdown(socket.SHUT_WR)
            self.assertEqual(b"", await in_thread(read_to_end, tunnel.target))
            await tunnel.move(other)
            reset(tunnel.client)
            self.assertEqual(Ending(Result.RESET, "the client's connection was reset"), await tunnel.done)
            self.assertEqual(b"", tunnel.target.recv(1))
            tunnel.target.close()

    async def test_reset_while_blocked(self) -> None:
        """A side that is not read, because the other is full, is still watched after the move."""
        for one, other in PAIRS:
            tunnel = self.open(one, buffers=65536)
            await tunnel.fill(tunnel.client, 1)
            await tunnel.move(other)
            while not tunnel.blocked(1):
                await in_thread(int)
            reset(tunnel.client)
            self.assertEqual(Ending(Result.RESET, "the client's connection was reset"), await tunnel.done)

    async def test_end(self) -> None:
        """A relay that gave its tunnel back, or has ended, ends nothing and gives nothing back."""
        for place in (ENGINE, PYTHON):
            tunnel = self.open(place)
            before = tunnel.relay
            await tunnel.move(place)
            before.end(Ending(Result.SHUTDOWN))
            self.assertEqual((False, ()), (before.movable, before.sockets))
            tunnel.client.sendall(b"x")
            self.assertEqual(b"x", await in_thread(read_exactly, tunnel.target, 1))
            tunnel.relay.end(Ending(Result.DRAINED))
            self.assertFalse(tunnel.relay.movable)
            tunnel.relay.give_back(lambda state: self.fail("given back"))
            self.assertEqual(Ending(Result.DRAINED), await tunnel.done)
            tunnel.relay.give_back(lambda state: self.fail("given back"))

    async def test_time_limit(self) -> None:
        """A limit that was set for a peer that did not answer is not left on the socket."""
        tunnel = self.open(PYTHON)
        assert isinstance(tunnel.relay, Relay)
        for sock in tunnel.relay.sockets:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000)
        state = await tunnel.take()
        assert state is not None
        for sock in (state.client, state.target):
            self.assertEqual(0, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
            sock.close()
