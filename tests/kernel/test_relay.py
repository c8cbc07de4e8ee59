"""The relay's contract where the kernel forwards, and what is the kernel relay's own."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, ClassVar

from twisted.internet import reactor as real_reactor
from twisted.internet.interfaces import IDelayedCall

from sniproxy.events import Result
from sniproxy.kernel.relay import KernelRelay
from sniproxy.net.copying import CopyDirection
from sniproxy.net.relay import Ending, Relay
from tests.kernel.support import gate, hangups
from tests.net import relaycontract
from tests.net.support import HandClock, in_thread, read_exactly, read_to_end


class KernelClock(HandClock):
    """Waiting for the kernel takes real time."""

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        if delay < 0.1:
            return real_reactor.callLater(delay, callable, *args, **kw)
        return super().callLater(delay, callable, *args, **kw)


def kernel_relay(
    clock: Any, client: socket.socket, upstream: socket.socket, head: bytes, *, way: object, **options: Any
) -> Any:
    """As L{sniproxy.net.relay.Relay} is made."""
    if isinstance(clock, HandClock):
        clock.__class__ = KernelClock
    pair = gate().join(client, upstream)
    if pair is None:  # both have ended already
        return Relay(clock, client, upstream, head, way=CopyDirection, **options)
    return KernelRelay(clock, gate(), hangups(), pair, client, upstream, head, **options)


class KernelTests(relaycontract.RelayContract):
    """The relay's contract by the kernel."""

    way = CopyDirection  # nobody asks for it
    make: ClassVar[Callable[..., Any]] = staticmethod(kernel_relay)

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        gate()
        hangups()
        await super().setUp()

    async def test_idle(self) -> None:
        """Without a byte in either direction both sides are ended in order, at most a tenth of the idle time late."""
        clock = HandClock()
        tunnel = self.tunnel(clock=clock, idle=10.0)
        clock.pump([1.0] * 9)
        tunnel.client.sendall(b"x")
        await in_thread(read_exactly, tunnel.upstream, 1)
        clock.pump([1.0] * 9)
        self.assertFalse(tunnel.done.called)
        clock.pump([1.0] * 2)
        self.assertEqual(Ending(Result.IDLE_TIMEOUT, "no byte for 10 s"), await tunnel.done)
        self.assertEqual((b"", b""), (tunnel.client.recv(1), tunnel.upstream.recv(1)))
        clock.advance(1)
        await tunnel.closer.settled()

    async def test_half_closed(self) -> None:
        """A pair of which one side has ended is given up after a deadline of its own, which bytes put off."""
        clock = HandClock()
        for idle in (300.0, 0.0):
            tunnel = self.tunnel(clock=clock, idle=idle, half_closed=5.0)
            tunnel.client.shutdown(socket.SHUT_WR)
            self.assertEqual(b"", await in_thread(read_to_end, tunnel.upstream))
            clock.pump([0.5] * 8)
            tunnel.upstream.sendall(b"x")
            await in_thread(read_exactly, tunnel.client, 1)
            clock.pump([0.5] * 8)
            self.assertFalse(tunnel.done.called)
            clock.pump([0.5] * 3)
            reason = "no byte for 5 s after the client had ended its side"
            self.assertEqual(Ending(Result.IDLE_TIMEOUT, reason), await tunnel.done)
            clock.advance(1)
            await tunnel.closer.settled()
