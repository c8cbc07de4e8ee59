"""The kernel relay: the contract of relays, and behaviour of its own."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable
from functools import partial
from typing import Any, cast

from twisted.internet.interfaces import IDelayedCall

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.kernel.flow import KernelSide
from sniproxy.relay.kernel.program import ACKNOWLEDGED, COLUMNS, MAX_CUT_BYTES, REDIRECTED
from sniproxy.relay.kernel.relay import RETRY_DELAYS_S, KernelRelay
from sniproxy.relay.kernel.sockmap import SocketPair
from sniproxy.relay.kernel.watch import ReadyWatch
from sniproxy.relay.poller import IN
from sniproxy.relay.relay import Ending
from tests.relay import deadlinecontract
from tests.relay.kernel.segments import Segments
from tests.relay.kernel.support import sockmap, watch
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, HandClock, connected, in_thread, read_exactly, read_to_end, reset


class KernelClock(HandClock):
    """Runs the relay's retries in real time."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        if delay in RETRY_DELAYS_S:
            return reactor.callLater(delay, callable, *args, **kw)
        return super().callLater(delay, callable, *args, **kw)


def kernel_relay(
    clock: Any,
    client: socket.socket,
    upstream: socket.socket,
    head: bytes,
    **options: Any,
) -> KernelRelay:
    """See L{tests.relay.relaycontract.Maker}. The map must take the sockets."""
    if isinstance(clock, HandClock):
        clock.__class__ = KernelClock
    pair = sockmap().add(client, upstream)
    assert pair is not None, "the map refuses the sockets"
    return KernelRelay(clock, sockmap(), watch(), pair, client, upstream, head, **options)


def pair_of(relay: object) -> SocketPair:
    """The sockets of a kernel relay."""
    assert isinstance(relay, KernelRelay)
    return relay.pair


class KernelTests(deadlinecontract.HandClockContract, deadlinecontract.NotifiedContract):
    """The contract of relays, with the kernel relay."""

    make = staticmethod(kernel_relay)

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        sockmap()
        watch()
        await super().setUp()

    def leave_no_room(self) -> None:
        self.patch(watch(), "add", deadlinecontract.full_for_the_target(watch().add))

    async def test_both_end_at_once(self) -> None:
        """Both sides may close between the insertion into the map and the start."""
        (client, ours_client), (upstream, ours_upstream) = connected(), connected()
        pair = sockmap().add(ours_client, ours_upstream)
        assert pair is not None
        client.close()
        upstream.close()
        relay = KernelRelay(
            reactor,
            sockmap(),
            watch(),
            pair,
            ours_client,
            ours_upstream,
            b"",
            closer=LingeringCloser(reactor),
            idle=300.0,
            half_closed=60.0,
        )
        self.assertEqual(Ending(Result.OK), await relay.run())

    async def test_sent_again_with_more(self) -> None:
        """A retransmission with additional bytes delivers only these, redirected or passed."""
        with Segments() as segments:
            tunnel = self.tunnel()
            data = random.Random(1).randbytes(100_000)
            at = said = 0
            for redirects, before, more in (
                (True, 5, 1),
                (True, MAX_CUT_BYTES, 100),
                (True, 60_000, 5_000),
                (False, 5, 1),
                (False, MAX_CUT_BYTES + 1, 100),
                (False, 20_000, 9_000),
            ):
                row = pair_of(tunnel.relay).client
                if not redirects:
                    row.open_window(0)
                count = row.redirected
                if at < before:  # of what it says itself, what was sent in its name has come before, too
                    tunnel.client.sendall(data[said:before])
                    said = before
                    self.assertEqual(data[at:before], await in_thread(read_exactly, tunnel.upstream, before - at))
                    at = before
                again = partial(segments.send, tunnel.client, at - before, data[at - before : at + more])
                self.assertEqual(data[at : at + more], await in_thread(self.asked_for, again, tunnel.upstream, more))
                at += more
                self.assertEqual(redirects, row.redirected >= count + more)
            reset(tunnel.upstream)
            await tunnel.done

    def asked_for(self, ask: Callable[[], None], sock: socket.socket, count: int) -> bytes:
        """Read C{count} bytes. @param ask: makes them come; repeated, because nothing resends dropped bytes."""
        data = b""
        sock.settimeout(1)
        for _ in range(int(TIMEOUT_S)):
            ask()
            try:
                while len(data) < count:
                    data += sock.recv(count - len(data))
            except TimeoutError:
                continue
            break
        sock.settimeout(TIMEOUT_S)
        return data

    async def test_the_kernel_does_it(self) -> None:
        """Messages in both directions are redirected, and the process reads none of them."""
        tunnel = self.tunnel(head=b"hello")
        await in_thread(read_exactly, tunnel.upstream, 5)

        def talk() -> None:
            for _ in range(20):
                tunnel.client.sendall(b"question")
                read_exactly(tunnel.upstream, 8)
                tunnel.upstream.sendall(b"answer")
                read_exactly(tunnel.client, 6)

        await in_thread(talk)
        pair = pair_of(tunnel.relay)
        rows = pair.client, pair.target
        self.assertEqual([(160, 0), (120, 0)], [(row.redirected, row.passed) for row in rows])
        relay: Any = tunnel.relay
        for side in (relay._client, relay._upstream):  # nor is it woken for them
            self.assertFalse(side.events & IN)
        tunnel.close()
        self.assertEqual(Ending(Result.OK), await tunnel.done)
        self.assertEqual((165, 120), (tunnel.relay.bytes_up, tunnel.relay.bytes_down))

    async def test_windows_follow_each_other(self) -> None:
        """More messages than a window holds arrive in order."""
        tunnel = self.tunnel(buffers=65536)

        def talk() -> None:
            for number in range(600):
                tunnel.client.sendall(b"%04d" % number)
                self.assertEqual(b"%04d" % number, read_exactly(tunnel.upstream, 4))

        await in_thread(talk)
        tunnel.close()
        self.assertEqual(Ending(Result.OK), await tunnel.done)
        self.assertEqual((2400, 0), (tunnel.relay.bytes_up, tunnel.relay.bytes_down))

    async def test_passed_while_it_goes_to_rest(self) -> None:
        """Bytes that are passed without a notification, just before the process waits, are read."""
        tunnel = self.tunnel()
        relay, pair, rest = cast(KernelRelay, tunnel.relay), pair_of(tunnel.relay), ReadyWatch.watch_end
        tunnel.client.sendall(b"first")
        self.assertEqual(b"first", await in_thread(read_exactly, tunnel.upstream, 5))

        def late(watch: ReadyWatch, side: KernelSide) -> None:
            self.patch(ReadyWatch, "watch_end", rest)
            pair.client.open_window(0)
            cells, heard = pair.client._cells, pair.client.slot * COLUMNS + ACKNOWLEDGED
            cells[heard] += 1  # the program has seen that the last ring was not heard yet
            tunnel.client.sendall(b"late")
            while not pair.client.passed:
                pass
            cells[heard] -= 1
            watch.watch_end(side)

        self.patch(ReadyWatch, "watch_end", late)
        relay.pump(relay._up)
        self.assertEqual(b"late", await in_thread(read_exactly, tunnel.upstream, 4))
        tunnel.close()
        self.assertEqual(Ending(Result.OK), await tunnel.done)

    async def test_a_stalled_direction_holds_up_nothing(self) -> None:
        """While one side does not read, the other direction moves more than a window."""
        tunnel = self.tunnel(buffers=65536)
        sending = in_thread(tunnel.client.sendall, bytes(4 << 20))
        while not tunnel.relay.blocked("up"):
            await in_thread(int)
        answer = random.Random(1).randbytes(4 << 20)
        answering = in_thread(tunnel.upstream.sendall, answer)
        self.assertTrue(await in_thread(read_exactly, tunnel.client, len(answer)) == answer)
        await answering
        await in_thread(read_exactly, tunnel.upstream, 4 << 20)
        await sending
        tunnel.close()
        self.assertEqual(Ending(Result.OK), await tunnel.done)

    async def test_both_end_behind_passed_bytes(self) -> None:
        """A client that closes while the process has its last bytes loses none, although both sides have ended."""
        for _ in range(20):
            tunnel = self.tunnel(buffers=65536)
            tunnel.upstream.shutdown(socket.SHUT_WR)
            self.assertEqual(b"", await in_thread(read_to_end, tunnel.client))
            last = random.Random(2).randbytes(300_000)
            reading = in_thread(read_to_end, tunnel.upstream)
            await in_thread(tunnel.client.sendall, last)
            tunnel.client.close()
            self.assertTrue(await reading == last)
            tunnel.upstream.close()
            self.assertEqual(Ending(Result.OK), await tunnel.done)
            self.assertEqual((300_000, 0), (tunnel.relay.bytes_up, tunnel.relay.bytes_down))

    async def test_a_bare_end_while_bytes_wait(self) -> None:
        """A client that sends a FIN while redirected bytes wait for it gets all of them, and its FIN is passed on."""
        tunnel = self.tunnel(buffers=65536)
        tunnel.upstream.sendall(b"greeting")
        self.assertEqual(b"greeting", await in_thread(read_exactly, tunnel.client, 8))
        row, answer = pair_of(tunnel.relay).target, random.Random(4).randbytes(1 << 20)
        row.open_window(1 << 24)  # more than fits: so bytes wait in the kernel for certain
        await in_thread(tunnel.upstream.sendall, answer)
        while row.redirected + row.passed < 8 + len(answer):
            await in_thread(int)
        self.assertEqual(0, row.passed)
        tunnel.client.shutdown(socket.SHUT_WR)
        self.assertEqual(b"", await in_thread(read_to_end, tunnel.upstream))
        self.assertTrue(await in_thread(read_exactly, tunnel.client, len(answer)) == answer)
        tunnel.upstream.close()
        self.assertEqual(Ending(Result.OK), await tunnel.done)
        self.assertEqual((0, 8 + len(answer)), (tunnel.relay.bytes_up, tunnel.relay.bytes_down))

    async def test_ended_while_the_kernel_has_bytes(self) -> None:
        """What the kernel has redirected is written before the end, and counted; if it cannot be, it is not waited for
        for ever."""
        tunnel = self.tunnel(head=b"hello")
        await in_thread(read_exactly, tunnel.upstream, 5)
        row = pair_of(tunnel.relay).client
        row._cells[row.slot * COLUMNS + REDIRECTED] = 3  # as if the kernel were at it
        tunnel.relay.end(Ending(Result.DRAINED))
        self.assertFalse(tunnel.done.called)
        self.assertEqual(Ending(Result.DRAINED), await tunnel.done)
        self.assertEqual(5, tunnel.relay.bytes_up)
        tunnel.close()
        await tunnel.closer.settled()

    async def test_idle_while_the_kernel_has_bytes(self) -> None:
        """An end that cannot be passed on, for the kernel never writes what it has, is no byte: the idle time ends it,
        however often we look."""
        clock = HandClock()
        tunnel = self.tunnel(clock=clock, head=b"hello", idle=10.0)
        await in_thread(read_exactly, tunnel.upstream, 5)
        row, flow = pair_of(tunnel.relay).client, cast(KernelRelay, tunnel.relay)._up
        row._cells[row.slot * COLUMNS + REDIRECTED] = 3  # as if the kernel were at it
        tunnel.client.shutdown(socket.SHUT_WR)
        while clock.seconds() < 10:
            looks = flow.retries
            while flow.retries == looks:
                await in_thread(int)
            clock.advance(1)
        clock.pump([0.25] * 8)
        self.assertEqual(Ending(Result.IDLE_TIMEOUT, "no bytes for 10 s"), await tunnel.done)
        tunnel.close()
        clock.advance(1)
        await tunnel.closer.settled()

    async def test_cancel(self) -> None:
        """Cancelling closes both sides at once."""
        tunnel = self.tunnel()
        tunnel.done.cancel()
        self.assertEqual(Ending(Result.SHUTDOWN, "cancelled"), await tunnel.done)
        self.assertEqual((b"", b""), (tunnel.client.recv(1), tunnel.upstream.recv(1)))
        tunnel.close()
        await tunnel.closer.settled()

    async def test_after_the_end(self) -> None:
        """Events that arrive after the end are ignored."""
        tunnel = self.tunnel()
        tunnel.close()
        self.assertEqual(Ending(Result.OK), await tunnel.done)
        relay = cast(KernelRelay, tunnel.relay)
        relay.pump(relay._up)
        relay.lost(relay._client, ConnectionResetError())
        relay.end(Ending(Result.SHUTDOWN))
        self.assertEqual((0, 0), (relay.bytes_up, relay.bytes_down))
