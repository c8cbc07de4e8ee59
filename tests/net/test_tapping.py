"""Looking at bytes as they pass."""

from __future__ import annotations

from twisted.internet import reactor

from sniproxy.events import Result
from sniproxy.net.linger import Closer
from sniproxy.net.relay import Ending, Relay
from sniproxy.net.tapping import TappedDirection, tapped
from tests.net import relaycontract
from tests.net.support import SocketTestCase, connected, in_thread, read_exactly


class Recorder:
    """A tap that keeps what it is shown."""

    def __init__(self) -> None:
        self.from_client = b""
        self.from_target = b""

    def client(self, data: bytes) -> None:
        self.from_client += data

    def target(self, data: bytes) -> None:
        self.from_target += data


def recorded(*arguments: object) -> TappedDirection:
    """A direction for the contract, which has its own tap."""
    return TappedDirection(*arguments, Recorder())  # type: ignore[arg-type, call-arg]


class TappedContractTests(relaycontract.RelayContract):
    """The relay's contract with somebody who looks."""

    way = staticmethod(recorded)


class TapTests(SocketTestCase):
    """What is shown."""

    async def test_shown(self) -> None:
        """Each direction's bytes are shown, in order, those read before the relay first."""
        client, ours_client = connected()
        upstream, ours_upstream = connected()
        tap = Recorder()
        relay = Relay(
            reactor,
            ours_client,
            ours_upstream,
            b"head ",
            way=tapped(tap),
            closer=Closer(reactor),
            idle=300.0,
            half_closed=60.0,
        )
        done = relay.run()
        client.sendall(b"question")
        self.assertEqual(b"head question", await in_thread(read_exactly, upstream, 13))
        upstream.sendall(b"answer")
        self.assertEqual(b"answer", await in_thread(read_exactly, client, 6))
        client.close()
        upstream.close()
        self.assertEqual(Ending(Result.OK), await done)
        self.assertEqual((b"head question", b"answer"), (tap.from_client, tap.from_target))
