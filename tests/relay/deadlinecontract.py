"""The contract's tests of deadlines and of resets that no read or write finds; see L{relaycontract}.

Every relay passes L{DeadlineContract}, with real deadlines. L{HandClockContract} is for a relay whose time is the
reactor's, and L{NotifiedContract} for one that its system notifies of the reset of a socket that it does not read.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from typing import Any

from sniproxy.events import Result
from sniproxy.relay.relay import IDLE_CHECKS, Ending
from tests.relay.relaycontract import MEBI, RelayContract, Tunnel
from tests.support.sockets import HandClock, in_thread, read_exactly, read_to_end, reset


def full_for_the_target(watch: Callable[[Any], None]) -> Callable[[Any], None]:
    """Something that watches sides, but not the target's."""

    def watch_or_refuse(side: Any) -> None:
        if getattr(side, "name", "") == "target":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        watch(side)

    return watch_or_refuse


class DeadlineContract(RelayContract):
    """Deadlines in real time. No test measures how long anything takes."""

    async def test_silence_ends_it(self) -> None:
        """Without a byte in either direction for the idle time both sides are ended in order."""
        tunnel = self.tunnel(idle=0.5)
        self.assertEqual(Ending(Result.IDLE_TIMEOUT, "no bytes for 0.5 s"), await tunnel.done)
        self.assertEqual((b"", b""), (tunnel.client.recv(1), tunnel.upstream.recv(1)))
        tunnel.close()
        await tunnel.closer.settled()

    async def test_bytes_put_idle_off(self) -> None:
        """Bytes in one direction restart the idle time."""
        busy = {side: self.tunnel(idle=2.0) for side in ("client", "upstream")}
        silent = self.tunnel(idle=3.0)

        def send(side: str, tunnel: Tunnel) -> None:
            ends = (tunnel.client, tunnel.upstream)
            source, target = ends if side == "client" else ends[::-1]
            source.sendall(b"x")
            read_exactly(target, 1)

        while not silent.done.called:
            for side, tunnel in busy.items():
                await in_thread(send, side, tunnel)
                self.assertFalse(tunnel.done.called)
        self.assertEqual(Ending(Result.IDLE_TIMEOUT, "no bytes for 3 s"), await silent.done)
        for tunnel in (silent, *busy.values()):
            tunnel.close()
            await tunnel.done
            await tunnel.closer.settled()

    async def test_silence_of_a_half_closed_tunnel(self) -> None:
        """A half-closed tunnel has a timeout of its own, with an idle time and without; it is said who ended first."""
        for idle in (300.0, 0.0):
            for first in ("client", "target"):
                tunnel = self.tunnel(idle=idle, half_closed=0.5)
                ends = (tunnel.client, tunnel.upstream)
                ended, other = ends if first == "client" else ends[::-1]
                ended.shutdown(socket.SHUT_WR)
                self.assertEqual(b"", await in_thread(read_to_end, other))
                reason = f"no bytes for 0.5 s after the {first} closed its side"
                self.assertEqual(Ending(Result.IDLE_TIMEOUT, reason), await tunnel.done)
                self.assertEqual(b"", await in_thread(read_to_end, ended))
                tunnel.close()
                await tunnel.closer.settled()

    async def test_the_shorter_of_two(self) -> None:
        """An idle time that is shorter than that of a half-closed tunnel is that of this tunnel, too."""
        tunnel = self.tunnel(idle=0.5, half_closed=300.0)
        tunnel.client.shutdown(socket.SHUT_WR)
        reason = "no bytes for 0.5 s after the client closed its side"
        self.assertEqual(Ending(Result.IDLE_TIMEOUT, reason), await tunnel.done)
        tunnel.close()
        await tunnel.closer.settled()

    async def test_an_end_after_a_silence(self) -> None:
        """The other side of a pair that was silent for long has the whole time to answer an end."""
        tunnel, timer = self.tunnel(idle=300.0, half_closed=2.0), self.tunnel(idle=2.5)
        await timer.done
        tunnel.client.shutdown(socket.SHUT_WR)
        self.assertEqual(b"", await in_thread(read_to_end, tunnel.upstream))
        self.assertFalse(tunnel.done.called)
        tunnel.upstream.sendall(b"bye")
        tunnel.upstream.close()
        self.assertEqual(b"bye", await in_thread(read_to_end, tunnel.client))
        self.assertEqual(Result.OK, (await tunnel.done).result)
        timer.close()
        await timer.closer.settled()

    async def test_idle_while_blocked(self) -> None:
        """A side that does not read for the idle time gets what has room, and the end."""
        tunnel = self.tunnel(buffers=65536, idle=1.0)
        sending = in_thread(tunnel.client.sendall, bytes(8 * MEBI))
        sending.addErrback(lambda failure: failure.trap(OSError))
        self.assertEqual(Ending(Result.IDLE_TIMEOUT, "no bytes for 1 s"), await tunnel.done)
        self.assertEqual(tunnel.relay.bytes_up, len(await in_thread(read_to_end, tunnel.upstream)))
        tunnel.close()
        await sending
        await tunnel.closer.settled()


class NotifiedContract(RelayContract):
    """Resets of sockets that are not read are found at once."""

    async def test_reset_after_half_an_end(self) -> None:
        """A client that ends its side and then resets is detected at once."""
        tunnel = self.tunnel(idle=0.0)
        tunnel.client.shutdown(socket.SHUT_WR)
        self.assertEqual(b"", await in_thread(read_to_end, tunnel.upstream))
        reset(tunnel.client)
        self.assertEqual(Ending(Result.RESET, "the client's connection was reset"), await tunnel.done)
        self.assertEqual(b"", tunnel.upstream.recv(1))
        tunnel.upstream.close()
        await tunnel.closer.settled()

    async def test_reset_of_a_side_that_waits(self) -> None:
        """A side that is not read, for the other one takes nothing, is lost when it resets."""
        tunnel = self.tunnel(buffers=65536, idle=0.0)
        tunnel.client.setblocking(False)
        while not tunnel.relay.blocked("up"):
            try:
                tunnel.client.send(bytes(65536))
            except BlockingIOError:
                await in_thread(int)
        reset(tunnel.client)
        self.assertEqual(Ending(Result.RESET, "the client's connection was reset"), await tunnel.done)


class HandClockContract(RelayContract):
    """Deadlines by the reactor's clock, which the tests set; a reactor without room for a socket."""

    def leave_no_room(self) -> None:
        """The system has no room in its set for the second socket of the next tunnel."""
        raise NotImplementedError

    async def test_not_watched(self) -> None:
        """Sockets for which the system has no room in its set are ended in order, it is said why, and that is all."""
        self.leave_no_room()
        clock = HandClock()
        tunnel = self.tunnel(clock=clock, head=b"read before")
        why = "cannot watch its sockets: No space left on device"
        self.assertEqual(Ending(Result.LIMIT, why), await tunnel.done)
        self.assertEqual(b"", await in_thread(read_to_end, tunnel.client))
        self.assertEqual(b"read before", await in_thread(read_to_end, tunnel.upstream))
        tunnel.close()
        await tunnel.closer.settled()
        self.assertEqual([], clock.getDelayedCalls())

    async def test_idle(self) -> None:
        """Without a byte in either direction for the idle time both sides are ended in order; bytes put it off."""
        clock = HandClock()
        tunnel = self.tunnel(clock=clock, idle=10.0)
        clock.pump([0.25] * 36)
        tunnel.client.sendall(b"x")
        await in_thread(read_exactly, tunnel.upstream, 1)
        clock.pump([0.25] * 36)
        self.assertFalse(tunnel.done.called)
        clock.pump([0.25] * 4 + [10.0 / IDLE_CHECKS])
        self.assertEqual(Ending(Result.IDLE_TIMEOUT, "no bytes for 10 s"), await tunnel.done)
        self.assertEqual((b"", b""), (tunnel.client.recv(1), tunnel.upstream.recv(1)))
        clock.advance(1)
        await tunnel.closer.settled()

    async def test_deadlines_are_shared(self) -> None:
        """However many tunnels begin at once, their time limits are one call to the reactor."""
        clock = HandClock()
        tunnels = [self.tunnel(clock=clock) for _ in range(3)]
        self.assertEqual(1, len(clock.getDelayedCalls()))
        for tunnel in tunnels:
            tunnel.close()
            await tunnel.done
        self.assertEqual([], clock.getDelayedCalls())

    async def test_idle_zero(self) -> None:
        """Idle time 0 disables the timeout."""
        clock = HandClock()
        tunnel = self.tunnel(clock=clock, idle=0.0)
        self.assertEqual([], clock.getDelayedCalls())
        tunnel.close()
        await tunnel.done

    async def test_half_closed(self) -> None:
        """A half-closed tunnel has a timeout of its own, which bytes restart."""
        clock = HandClock()
        for idle in (300.0, 0.0):
            tunnel = self.tunnel(clock=clock, idle=idle, half_closed=5.0)
            tunnel.client.shutdown(socket.SHUT_WR)
            self.assertEqual(b"", await in_thread(read_to_end, tunnel.upstream))
            clock.pump([0.25] * 16)
            tunnel.upstream.sendall(b"x")
            await in_thread(read_exactly, tunnel.client, 1)
            clock.pump([0.25] * 16)
            self.assertFalse(tunnel.done.called)
            clock.pump([0.25] * 4 + [5.0 / IDLE_CHECKS])
            reason = "no bytes for 5 s after the client closed its side"
            self.assertEqual(Ending(Result.IDLE_TIMEOUT, reason), await tunnel.done)
            clock.advance(1)
            await tunnel.closer.settled()

    async def test_half_closed_after_a_silence(self) -> None:
        """The other side of a pair that was silent for long has the whole time to answer an end."""
        clock = HandClock()
        tunnel = self.tunnel(clock=clock, idle=300.0, half_closed=5.0)
        clock.pump([0.25] * 240)
        tunnel.client.shutdown(socket.SHUT_WR)
        self.assertEqual(b"", await in_thread(read_to_end, tunnel.upstream))
        clock.pump([0.25] * 16)
        self.assertFalse(tunnel.done.called)
        tunnel.upstream.sendall(b"bye")
        tunnel.upstream.close()
        self.assertEqual(b"bye", await in_thread(read_to_end, tunnel.client))
        self.assertEqual(Result.OK, (await tunnel.done).result)
