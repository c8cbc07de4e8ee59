"""Tunnels with faults whose sockets the system cannot watch: epoll_ctl(2) fails."""

from __future__ import annotations

from typing import Any, Literal

from sniproxy.config.faults import make_fault
from sniproxy.config.schema import FaultEntry
from sniproxy.events import Result
from sniproxy.faults.active import ActiveFaults
from sniproxy.faults.relay import FaultRelay
from sniproxy.faults.tunnel import TunnelFaults
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.relay import Ending
from sniproxy.util.buffered import BufferAccount
from tests.faults.faulty import CONNECT, CONNECTED, PING, send
from tests.support.reactor import reactor
from tests.support.sockets import FullClock, SocketTestCase, connected, in_thread, read_to_end

FRAME = send(1, 1, bytes(1 << 22))
"""More than the sockets between two peers hold."""

ENDING = Ending(Result.LIMIT, "cannot watch its sockets: No space left on device")


class UnwatchedTests(SocketTestCase):
    """L{FaultRelay} with a reactor that has room or not."""

    def start(self, head: bytes, *entries: FaultEntry, room: bool, buffers: int = 0) -> None:
        """Start a tunnel with faults."""
        self.clock = FullClock()
        self.clock.room = room
        active = ActiveFaults()
        active.change([make_fault(entry, {"public": True}, ()) for entry in entries])
        faults = TunnelFaults(active, "public", None, True, lambda rule, what: None)
        self.client, client = connected(buffers)
        self.broker, broker = connected(buffers)
        self.closer = LingeringCloser(reactor)
        self.account = BufferAccount()
        clock: Any = self.clock
        self.relay = FaultRelay(
            clock, client, broker, head,
            closer=self.closer, idle=0.0, half_closed=60.0, account=self.account, faults=faults,
        )  # fmt: skip
        self.done = self.relay.run()

    async def ended(self, to_client: bytes, to_broker: bytes) -> None:
        """The tunnel has ended in order behind these bytes, the reason is known, and nothing is left."""
        self.assertEqual(ENDING, await self.done)
        await self.closed(to_client, to_broker)

    async def closed(self, to_client: bytes, to_broker: bytes) -> None:
        """These were the last bytes, and nothing is left."""
        self.assertEqual(to_client, await in_thread(read_to_end, self.client))
        self.assertEqual(to_broker, await in_thread(read_to_end, self.broker))
        self.client.close()
        self.broker.close()
        await self.closer.settled()
        self.assertEqual(([], 0), (self.clock.getDelayedCalls(), self.account.bytes))
        self.assertEqual((), self.relay.sockets)

    async def test_start(self) -> None:
        """A tunnel without room ends at once: the target gets what had passed; no fault and no deadline is left."""
        late = FaultEntry("reset", after_seconds=60.0)
        held = FaultEntry("delay", on="PING", seconds=5.0)
        self.start(CONNECT + PING, late, held, room=False)
        await self.ended(b"", CONNECT)

    async def until_blocked(self, direction: Literal["up", "down"]) -> None:
        """Let the reactor run until a source is not read. The test's timeout bounds it."""
        while not self.relay.blocked(direction):
            await in_thread(int)

    async def test_opened_gate(self) -> None:
        """A source that is to be read again behind a delay, but cannot be watched, ends the tunnel."""
        self.start(b"", FaultEntry("delay", on="CONNECTED", seconds=5.0), room=True)
        self.broker.sendall(CONNECTED)
        while not self.clock.getDelayedCalls():
            await in_thread(int)
        self.broker.sendall(PING)
        await self.until_blocked("down")
        self.clock.room = False
        self.clock.advance(5)
        await self.ended(CONNECTED, b"")

    async def test_full_target(self) -> None:
        """A destination that is full, and cannot be watched, ends the tunnel behind what it has room for."""
        self.start(b"", FaultEntry("drop", on="PING"), room=True, buffers=4096)
        self.clock.room = False
        sending = in_thread(self.client.sendall, FRAME)
        sending.addErrback(lambda failure: failure.trap(OSError))
        self.assertEqual(ENDING, await self.done)
        arrived = await in_thread(read_to_end, self.broker)
        self.assertTrue(arrived and FRAME.startswith(arrived))
        await sending
        await self.closed(b"", b"")
