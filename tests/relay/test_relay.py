"""The relay in Python: its contract, and what only this relay does."""

from __future__ import annotations

import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.relay import Ending, Relay
from sniproxy.relay.state import TunnelState
from sniproxy.util.buffered import BufferAccount
from tests.relay import deadlinecontract, pythonrelay
from tests.relay.relaycontract import Tunnel
from tests.support import programs
from tests.support.reactor import reactor
from tests.support.sockets import FullClock, connected, in_thread, read_to_end

ROOT = Path(__file__).parent.parent.parent


class ContractTests(pythonrelay.PythonRelayContract, deadlinecontract.DeadlineContract):
    """The relay's contract, with plain sockets."""


class RelayTests(TestCase):
    """What the contract does not say."""

    async def test_cancel(self) -> None:
        """Cancelling the relay ends both sides."""
        tunnel = Tunnel(pythonrelay.make_relay)
        self.addCleanup(tunnel.close)
        tunnel.done.cancel()
        self.assertEqual(Ending(Result.SHUTDOWN, "cancelled"), await tunnel.done)
        self.assertEqual((b"", b""), (tunnel.client.recv(1), tunnel.upstream.recv(1)))
        tunnel.close()
        await tunnel.closer.settled()

    async def test_movable(self) -> None:
        """A relay can give its tunnel back from its start to its end."""
        tunnel = Tunnel(pythonrelay.make_relay, starts=False)
        self.addCleanup(tunnel.close)
        relay = tunnel.relay
        assert isinstance(relay, Relay)
        self.assertEqual((False, ()), (relay.movable, relay.sockets))
        done = relay.run()
        self.assertEqual((True, 2), (relay.movable, len(relay.sockets)))
        tunnel.close()
        await done
        self.assertEqual((False, ()), (relay.movable, relay.sockets))

    async def test_given_back(self) -> None:
        """A tunnel that is given back continues where it was; once only, and not after its end."""
        tunnel = Tunnel(pythonrelay.make_relay, starts=False)
        self.addCleanup(tunnel.close)
        relay, taken = tunnel.relay, list[TunnelState]()
        assert isinstance(relay, Relay)
        relay.run()
        tunnel.client.sendall(b"up")
        self.assertEqual(b"up", await in_thread(tunnel.upstream.recv, 2))
        relay.give_back(taken.append)
        relay.give_back(taken.append)
        (state,) = taken
        self.assertEqual((2, 0, b"", False), (state.bytes_up, state.bytes_down, state.held_up, relay.movable))
        again = Relay(
            reactor, state.client, state.target, b"",
            closer=tunnel.closer, idle=0.0, half_closed=9.0, account=BufferAccount(),
        )  # fmt: skip
        again.restore(state)
        done = again.run()
        tunnel.upstream.sendall(b"down")
        self.assertEqual(b"down", await in_thread(tunnel.client.recv, 4))
        tunnel.close()
        await done
        self.assertEqual((2, 4), (again.bytes_up, again.bytes_down))

    async def test_lost_without_a_reset(self) -> None:
        """A failure other than a reset is reported with the system's text; what comes after the end changes nothing."""
        client, ours_client = connected()
        upstream, ours_upstream = connected()
        closer = LingeringCloser(reactor)
        relay = Relay(
            reactor, ours_client, ours_upstream, b"", closer=closer, idle=9.0, half_closed=9.0, account=BufferAccount()
        )
        done = relay.run()
        ours = relay._client
        relay.lost(relay._upstream, TimeoutError(110, "Connection timed out"))
        relay.lost(ours, ConnectionResetError(104, "reset"))
        relay.end(Ending(Result.DRAINED))
        self.assertEqual(Ending(Result.RESET, "the target's connection was lost: Connection timed out"), await done)
        client.close()
        upstream.close()

    async def full(self, tunnel: Tunnel, clock: FullClock, blocked: bool = False) -> None:
        """Fill a tunnel until its end. @param blocked: there is no room from the moment when it is full."""
        sending = in_thread(tunnel.client.sendall, bytes(1 << 20))
        sending.addErrback(lambda failure: failure.trap(OSError))
        reading = None
        if blocked:
            while not tunnel.relay.blocked("up"):
                await in_thread(int)
            clock.room = False
            reading = in_thread(read_to_end, tunnel.upstream)
            reading.addErrback(lambda failure: failure.trap(OSError))
        why = "cannot watch its sockets: No space left on device"
        self.assertEqual(Ending(Result.LIMIT, why), await tunnel.done)
        await sending
        if reading is not None:
            await reading
        tunnel.close()
        await tunnel.closer.settled()
        self.assertEqual([], clock.getDelayedCalls())

    async def test_no_room_to_write(self) -> None:
        """A tunnel whose full destination the system cannot watch is ended in order, and it is said why."""
        clock = FullClock()
        clock.room = True
        tunnel = Tunnel(pythonrelay.make_relay, clock=clock, buffers=4096)
        clock.room = False
        await self.full(tunnel, clock)

    async def test_no_room_to_read(self) -> None:
        """A tunnel whose source the system cannot watch again is ended in order, and it is said why."""
        clock = FullClock()
        clock.room = True
        tunnel = Tunnel(pythonrelay.make_relay, clock=clock, buffers=4096)
        await self.full(tunnel, clock, blocked=True)

    async def test_other_reactors(self) -> None:
        """Relays live under select, poll and asyncio as well."""
        names = (
            "bytes_both_ways", "client_ends_first", "upstream_resets", "slow_reader_with_tiny_windows",
            "reset_after_half_an_end",
        )  # fmt: skip
        for kind in ("select", "poll", "asyncio"):
            command = [sys.executable, "-m", "twisted.trial", f"--reactor={kind}"]
            command += [f"--temp-directory={Path(self.mktemp()).absolute()}"]
            command += [f"tests.relay.test_relay.ContractTests.test_{name}" for name in names]
            ran = await in_thread(lambda command: programs.run(command, cwd=ROOT, capture_output=True), command)
            self.assertEqual(0, ran.returncode, ran.stdout[-2000:] + ran.stderr[-2000:])
