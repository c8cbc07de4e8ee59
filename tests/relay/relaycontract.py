"""The contract of L{sniproxy.relay.relay} as tests, for every relay.

A relay's test module subclasses L{RelayContract} and says how a relay is made; L{deadlinecontract} has more classes.
Not a C{test_} module: trial would run these classes, which make no relay.
"""

from __future__ import annotations

import hashlib
import random
import socket
from collections.abc import Callable
from typing import Any, Literal, Protocol

import attrs
from twisted.internet.defer import Deferred, gatherResults

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.relay import FIRST_ENDED, Ending
from sniproxy.util.buffered import BufferAccount
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, SocketTestCase, connected, in_thread, read_exactly, read_to_end, reset

MEBI = 1 << 20

CLOSE = 7
"""Of tcp_info's states (Linux, tcp_states.h): the system has nothing more to do for the connection."""

Pair = Callable[[int, str], tuple[socket.socket, socket.socket]]
"""Makes the far end and our end of one side, by the size of the kernel's buffers and the side's name."""


def plain_pair(buffers: int, side: str) -> tuple[socket.socket, socket.socket]:
    """Connected TCP sockets."""
    return connected(buffers)


class AnyRelay(Protocol):
    """What the tests need of a relay."""

    @property
    def bytes_up(self) -> int: ...
    @property
    def bytes_down(self) -> int: ...
    @property
    def half_closed(self) -> bool: ...
    @property
    def answer(self) -> bytes:
        """The first and the seventh byte from the target, at the end."""

    def blocked(self, direction: Literal["up", "down"]) -> bool:
        """Whether the destination of a direction is full, so that its source is not read."""

    def run(self) -> Deferred[Ending]:
        """Start moving bytes. @return: fires when both sockets are closed or being closed in order."""

    def end(self, ending: Ending) -> None:
        """End both sides in order. The relay may have ended only later, when what L{run} returned fires."""


@attrs.frozen
class Settings:
    """The parameters of L{sniproxy.relay.relay.Relay} that are no sockets and no bytes. A relay with a clock of its own
    ignores C{clock}."""

    clock: Any
    closer: LingeringCloser
    idle: float
    half_closed: float
    account: BufferAccount


Maker = Callable[[Settings, socket.socket, socket.socket, bytes], AnyRelay]
"""Makes a relay between two connected sockets, which it owns from then on, with bytes for the target."""


class Tunnel:
    """A relay between two loopback connections, and the far ends of both.

    @param starts: False: C{relay} is made, and the test runs it.
    @ivar account: of the relay in Python.
    @ivar done: fires at the relay's end.
    """

    def __init__(
        self,
        make: Maker,
        clock: Any = reactor,
        head: bytes = b"",
        buffers: int = 0,
        pair: Pair = plain_pair,
        idle: float = 300.0,
        half_closed: float = 60.0,
        starts: bool = True,
    ) -> None:
        self.client, ours_client = pair(buffers, "client")
        self.upstream, ours_upstream = pair(buffers, "target")
        self.closer = LingeringCloser(clock)
        self.account = BufferAccount()
        settings = Settings(clock, self.closer, idle, half_closed, self.account)
        self.relay = make(settings, ours_client, ours_upstream, head)
        self.done: Deferred[Ending] = self.relay.run() if starts else Deferred()

    def close(self) -> None:
        self.client.close()
        self.upstream.close()


class RelayContract(SocketTestCase):
    """What every relay does.

    @ivar sees_answer: the target's bytes are not decrypted, so the relay keeps what they show.
    """

    sees_answer = True

    def make(self, settings: Settings, client: socket.socket, upstream: socket.socket, head: bytes) -> AnyRelay:
        """See L{Maker}. Subclasses implement it."""
        raise NotImplementedError

    def pair(self, buffers: int, side: str) -> tuple[socket.socket, socket.socket]:
        """See L{Pair}."""
        return plain_pair(buffers, side)

    def tunnel(self, **options: Any) -> Tunnel:
        tunnel = Tunnel(self.make, pair=self.pair, **options)
        self.addCleanup(tunnel.close)
        return tunnel

    async def test_bytes_both_ways(self) -> None:
        """Bytes cross unchanged in both directions, those read before the relay first, and are counted."""
        tunnel = self.tunnel(head=b"hello ")
        tunnel.client.sendall(b"world")
        self.assertEqual(b"hello world", await in_thread(read_exactly, tunnel.upstream, 11))
        tunnel.upstream.sendall(b"answer")
        self.assertEqual(b"answer", await in_thread(read_exactly, tunnel.client, 6))
        tunnel.close()
        self.assertEqual(Result.OK, (await tunnel.done).result)
        self.assertEqual((11, 6), (tunnel.relay.bytes_up, tunnel.relay.bytes_down))
        self.assertEqual(b"a\0" if self.sees_answer else b"", tunnel.relay.answer)

    async def test_answer(self) -> None:
        """The first and the seventh byte of the target's answer are kept, if they come at once."""
        for pieces, kept in (
            ((b"1234567",), b"17"),
            ((b"123", b"45678"), b"1\0"),
            ((b"123456789", b"0" * 99), b"17"),
            ((b"\0" * 7,), b"\0\0"),
            ((), b""),
        ):
            tunnel = self.tunnel()
            for piece in pieces:
                tunnel.upstream.sendall(piece)
                self.assertEqual(piece, await in_thread(read_exactly, tunnel.client, len(piece)))
            tunnel.close()
            await tunnel.done
            self.assertEqual(kept if self.sees_answer else b"", tunnel.relay.answer)

    async def test_client_ends_first(self) -> None:
        """A client that ends its side still gets the whole answer."""
        tunnel = self.tunnel()
        answer = random.Random(1).randbytes(3 * MEBI)

        def serve() -> bytes:
            question = read_to_end(tunnel.upstream)
            tunnel.upstream.sendall(answer)
            tunnel.upstream.close()
            return question

        tunnel.client.sendall(b"question")
        tunnel.client.shutdown(socket.SHUT_WR)
        question, got = await gatherResults([in_thread(serve), in_thread(read_to_end, tunnel.client)])
        self.assertEqual(b"question", question)
        self.assertTrue(got == answer)
        self.assertEqual(FIRST_ENDED["client"], await tunnel.done)

    async def test_upstream_ends_first(self) -> None:
        """An upstream that ends its side still gets all that the client sends."""
        tunnel = self.tunnel()
        tunnel.upstream.sendall(b"greeting")
        tunnel.upstream.shutdown(socket.SHUT_WR)
        self.assertEqual(b"greeting", await in_thread(read_to_end, tunnel.client))
        tunnel.client.sendall(b"late")
        tunnel.client.close()
        self.assertEqual(b"late", await in_thread(read_to_end, tunnel.upstream))
        self.assertEqual(FIRST_ENDED["target"], await tunnel.done)

    async def test_both_end_at_once(self) -> None:
        """Both sides may have ended before the relay begins."""
        tunnel = self.tunnel(starts=False)
        tunnel.close()
        self.assertEqual(Result.OK, (await tunnel.relay.run()).result)

    async def test_backpressure(self) -> None:
        """A side that does not read stops the other one within a bound; then all bytes arrive, in order."""
        tunnel = self.tunnel(buffers=65536)
        data = random.Random(2).randbytes(6 * MEBI)

        def send_until_stalled() -> int:
            sent = 0
            tunnel.client.settimeout(0.5)
            try:
                while sent < len(data):
                    sent += tunnel.client.send(data[sent : sent + 65536])
            except TimeoutError:
                pass
            tunnel.client.settimeout(20)
            return sent

        def send_rest(sent: int) -> None:
            for at in range(sent, len(data), 65536):  # each with its own timeout
                tunnel.client.sendall(data[at : at + 65536])
            tunnel.client.shutdown(socket.SHUT_WR)

        sent = await in_thread(send_until_stalled)
        # Four kernel buffers of at most twice the size asked for, and what a direction may hold.
        self.assertLess(sent, 3 * MEBI)
        rest = in_thread(send_rest, sent)
        got = await in_thread(read_to_end, tunnel.upstream)
        await rest
        self.assertTrue(got == data)
        tunnel.close()
        await tunnel.done

    async def test_backpressure_is_one_directions(self) -> None:
        """While one direction is blocked, the other continues."""
        tunnel = self.tunnel(buffers=65536)
        tunnel.client.setblocking(False)
        stalled = False
        while not stalled:  # until neither the kernel nor the relay takes more
            try:
                tunnel.client.send(bytes(65536))
            except BlockingIOError:
                before = tunnel.relay.bytes_up
                await in_thread(int)
                stalled = tunnel.relay.bytes_up == before and tunnel.relay.blocked("up")
        tunnel.client.settimeout(20)
        tunnel.upstream.sendall(b"answer")
        self.assertEqual(b"answer", await in_thread(read_exactly, tunnel.client, 6))
        reset(tunnel.client)
        reset(tunnel.upstream)
        await tunnel.done

    async def test_slow_reader_with_tiny_windows(self) -> None:
        """Bytes arrive whole through the smallest buffers, read in odd pieces."""
        tunnel = self.tunnel(buffers=2048)
        data = random.Random(3).randbytes(300_000)

        def read_in_pieces() -> bytes:
            pieces = []
            sizes = random.Random(4)
            while piece := tunnel.client.recv(sizes.randint(1, 3000)):
                pieces.append(piece)
            return b"".join(pieces)

        def send() -> None:
            tunnel.upstream.sendall(data)
            tunnel.upstream.shutdown(socket.SHUT_WR)

        sending = in_thread(send)
        self.assertTrue(await in_thread(read_in_pieces) == data)
        await sending
        tunnel.client.close()
        self.assertEqual(Result.OK, (await tunnel.done).result)

    async def test_client_resets(self) -> None:
        """A reset by the client reaches the upstream as a reset."""
        tunnel = self.tunnel()
        tunnel.client.sendall(b"x")
        await in_thread(read_exactly, tunnel.upstream, 1)
        reset(tunnel.client)
        await self.assertFailure(in_thread(tunnel.upstream.recv, 1), ConnectionResetError)
        self.assertEqual(Ending(Result.RESET, "the client's connection was reset"), await tunnel.done)

    async def test_upstream_resets(self) -> None:
        """A reset by the upstream reaches the client as a reset."""
        tunnel = self.tunnel()
        reset(tunnel.upstream)
        await self.assertFailure(in_thread(tunnel.client.recv, 1), ConnectionResetError)
        self.assertEqual(Ending(Result.RESET, "the target's connection was reset"), await tunnel.done)

    async def test_reset_before_the_start(self) -> None:
        """A reset by the upstream before the relay starts with bytes for it is an ending like any other."""
        tunnel = self.tunnel(head=b"hello", starts=False)
        reset(tunnel.upstream)
        done = tunnel.relay.run()
        await self.assertFailure(in_thread(tunnel.client.recv, 1), ConnectionResetError)
        self.assertEqual(Ending(Result.RESET, "the target's connection was reset"), await done)

    async def test_reset_while_blocked(self) -> None:
        """A reset by the side that does not read is seen although the other one is not read either."""
        tunnel = self.tunnel(buffers=65536)
        sending = in_thread(tunnel.client.sendall, bytes(8 * MEBI))
        await in_thread(read_exactly, tunnel.upstream, 1)
        reset(tunnel.upstream)
        await self.assertFailure(sending, ConnectionError)
        self.assertEqual(Result.RESET, (await tunnel.done).result)

    async def test_reset_after_the_end(self) -> None:
        """An upstream that has sent its whole answer and its end, and then resets, takes nothing back."""
        tunnel = self.tunnel(buffers=65536)
        answer = random.Random(5).randbytes(MEBI)
        sent = 0
        while not tunnel.relay.blocked("down"):
            tunnel.upstream.sendall(answer[sent : sent + 4096])
            sent += 4096
            await in_thread(int)
        tunnel.upstream.shutdown(socket.SHUT_WR)
        got = b""
        while not tunnel.relay.half_closed:  # then the rest waits in the relay's socket
            got += await in_thread(read_exactly, tunnel.client, 1024)
        reset(tunnel.upstream)
        tunnel.client.sendall(b"more")
        self.assertEqual(Result.RESET, (await tunnel.done).result)
        self.assertTrue(got + await in_thread(read_to_end, tunnel.client) == answer[:sent])
        tunnel.client.close()
        await tunnel.closer.settled()

    async def test_last_words_before_a_reset(self) -> None:
        """What an upstream said before it reset the connection, a TLS alert often, is passed on before the reset."""
        tunnel = self.tunnel()
        tunnel.client.sendall(b"never read")
        await in_thread(tunnel.upstream.recv, 1, socket.MSG_PEEK)
        tunnel.upstream.sendall(b"alert")
        tunnel.upstream.close()  # with unread bytes: a reset
        self.assertEqual(b"alert", await in_thread(read_exactly, tunnel.client, 5))
        self.assertEqual(Result.RESET, (await tunnel.done).result)

    async def test_last_words_before_a_reset_that_a_write_finds(self) -> None:
        """So they are if the relay has bytes for the upstream, and finds the reset by writing them."""
        tunnel = self.tunnel()
        tunnel.client.sendall(b"never read")
        await in_thread(tunnel.upstream.recv, 1, socket.MSG_PEEK)
        tunnel.client.sendall(b"more")  # reported first
        tunnel.upstream.sendall(b"alert")
        tunnel.upstream.close()
        self.assertEqual(b"alert", await in_thread(read_exactly, tunnel.client, 5))
        self.assertEqual(Result.RESET, (await tunnel.done).result)

    async def test_both_end_before_a_slow_reader(self) -> None:
        """What an upstream sent before it ended reaches a client that reads it late: both ends are no reset."""
        tunnel = self.tunnel(buffers=65536, idle=0.0)
        sent = await self.end_before_a_slow_reader(tunnel)
        self.assertFalse(tunnel.done.called)
        self.assertEqual(sent, len(await in_thread(read_to_end, tunnel.client)))
        self.assertEqual(Result.OK, (await tunnel.done).result)

    async def end_before_a_slow_reader(self, tunnel: Tunnel) -> int:
        """End both sides while the client does not read. @return: bytes sent to it."""
        tunnel.client.shutdown(socket.SHUT_WR)
        self.assertEqual(b"", await in_thread(read_to_end, tunnel.upstream))
        sent = blocked = 0
        while blocked < 100:  # on a slow machine, bytes may be on their way when the relay's socket is full
            if tunnel.relay.blocked("down"):
                blocked += 1
            else:
                blocked = 0
                tunnel.upstream.sendall(bytes(4096))
                sent += 4096
            await in_thread(int)
        # The client's system may still find room for a little more.
        tunnel.upstream.sendall(bytes(32768))
        sent += 32768
        tunnel.upstream.shutdown(socket.SHUT_WR)
        while tunnel.upstream.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != CLOSE:
            await in_thread(int)  # until the relay's system has both ends
        await in_thread(int)
        return sent

    async def test_end(self) -> None:
        """Ended from outside, both sides get a FIN behind what was written to them."""
        tunnel = self.tunnel(head=b"abc")
        tunnel.relay.end(Ending(Result.DRAINED, "why"))
        self.assertEqual(b"abc", await in_thread(read_to_end, tunnel.upstream))
        self.assertEqual(b"", await in_thread(read_to_end, tunnel.client))
        self.assertEqual(Ending(Result.DRAINED, "why"), await tunnel.done)
        tunnel.close()
        await tunnel.closer.settled()

    async def test_end_passes_on_what_it_holds(self) -> None:
        """Ended from outside while bytes wait for room, it writes what now has room before the FIN."""
        tunnel = self.tunnel(buffers=65536)
        sending = in_thread(tunnel.client.sendall, bytes(4 * MEBI))
        sending.addErrback(lambda failure: failure.trap(OSError))
        while not tunnel.relay.blocked("up"):
            await in_thread(int)
        before, got = tunnel.relay.bytes_up, 0
        tunnel.upstream.setblocking(False)
        with self.assertRaises(BlockingIOError):  # in this thread, where a relay on the reactor cannot write meanwhile
            while True:
                got += len(tunnel.upstream.recv(65536))
        tunnel.upstream.settimeout(TIMEOUT_S)
        tunnel.relay.end(Ending(Result.DRAINED))
        rest = await in_thread(read_to_end, tunnel.upstream)
        self.assertEqual(Ending(Result.DRAINED), await tunnel.done)
        self.assertTrue(rest or tunnel.relay.bytes_up > before)
        self.assertEqual(tunnel.relay.bytes_up, got + len(rest))
        tunnel.close()
        await sending
        await tunnel.closer.settled()

    async def test_many_at_once(self) -> None:
        """200 tunnels at once, random sizes both ways: every byte arrives, and every descriptor is returned."""
        sizes = random.Random(6)
        block = random.Random(7).randbytes(MEBI)

        def talk(tunnel: Tunnel, up: int, down: int) -> tuple[str, str]:
            """Both ends in one thread: the sizes fit the kernel's buffers."""
            tunnel.client.sendall(block[:up])
            tunnel.client.shutdown(socket.SHUT_WR)
            at_upstream = hashlib.sha256(read_to_end(tunnel.upstream)).hexdigest()
            tunnel.upstream.sendall(block[:down])
            tunnel.upstream.close()
            at_client = hashlib.sha256(read_to_end(tunnel.client)).hexdigest()
            tunnel.client.close()
            return at_upstream, at_client

        pairs = [(sizes.randint(0, 300_000), sizes.randint(0, 300_000)) for _ in range(200)]
        tunnels = [self.tunnel() for _ in pairs]
        talks = [in_thread(talk, tunnel, *pair) for tunnel, pair in zip(tunnels, pairs, strict=True)]
        for (up, down), hashes in zip(pairs, await gatherResults(talks), strict=True):
            expected = tuple(hashlib.sha256(block[:size]).hexdigest() for size in (up, down))
            self.assertEqual(expected, hashes)
        for tunnel, (up, down) in zip(tunnels, pairs, strict=True):
            self.assertEqual(Result.OK, (await tunnel.done).result)
            self.assertEqual((up, down), (tunnel.relay.bytes_up, tunnel.relay.bytes_down))
