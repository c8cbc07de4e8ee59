"""The relay apart from how bytes are moved; the contract itself is in relaycontract and runs for each way."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay import splice
from sniproxy.relay.copy import CopyDirection
from sniproxy.relay.poller import ReactorPoller
from sniproxy.relay.relay import Ending, Relay
from sniproxy.relay.splice import SpliceDirection
from sniproxy.util.buffered import BufferAccount
from tests.relay import relaycontract
from tests.relay.relaycontract import Tunnel
from tests.support.reactor import reactor
from tests.support.sockets import connected


class PlainPollerTests(relaycontract.RelayContract):
    """The relay's contract where the reactor alone tells of sockets, by copying."""

    way = CopyDirection
    poller = staticmethod(ReactorPoller)


class PlainSpliceTests(relaycontract.RelayContract):
    """The same, by splice."""

    way = SpliceDirection
    poller = staticmethod(ReactorPoller)
    if not splice.available:
        skip = "this system has no os.splice (Linux, Python 3.10)"


class RelayTests(TestCase):
    """What does not depend on the way."""

    async def test_cancel(self) -> None:
        """Cancelling the relay ends both sides."""
        tunnel = Tunnel(CopyDirection)
        self.addCleanup(tunnel.close)
        tunnel.done.cancel()
        self.assertEqual(Ending(Result.SHUTDOWN, "cancelled"), await tunnel.done)
        self.assertEqual((b"", b""), (tunnel.client.recv(1), tunnel.upstream.recv(1)))
        tunnel.close()
        await tunnel.closer.settled()

    async def test_lost_without_a_reset(self) -> None:
        """A failure other than a reset is reported with the system's text."""
        client, ours_client = connected()
        upstream, ours_upstream = connected()
        relay = Relay(
            reactor,
            ours_client,
            ours_upstream,
            b"",
            directions=CopyDirection,
            closer=LingeringCloser(reactor),
            idle=9.0,
            half_closed=9.0,
            account=BufferAccount(),
        )
        done = relay.run()
        relay.lost(relay._upstream, TimeoutError(110, "Connection timed out"))
        self.assertEqual(Ending(Result.RESET, "the target's connection was lost: Connection timed out"), await done)
        client.close()
        upstream.close()

    async def test_ending_twice(self) -> None:
        """What comes after the end changes nothing."""
        tunnel = Tunnel(CopyDirection)
        client = tunnel.relay._client
        tunnel.close()
        ending = await tunnel.done
        tunnel.relay.end(Ending(Result.DRAINED))
        tunnel.relay.lost(client, ConnectionResetError(104, "reset"))
        self.assertEqual(Ending(Result.OK), ending)
