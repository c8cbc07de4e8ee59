"""Looking at bytes as they pass."""

from __future__ import annotations

import random
import socket

from twisted.internet.defer import Deferred

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.pacing import ROUND_BYTES, ROUND_S, SLICE_BYTES, Pace, Paced, pace_of
from sniproxy.relay.relay import Ending, Relay
from sniproxy.relay.tee import TappedDirection, tapped_directions
from sniproxy.util.buffered import BufferAccount
from tests.relay import pythonrelay
from tests.relay.taps import Recorder
from tests.support.reactor import as_reactor, reactor
from tests.support.rounds import Rounds
from tests.support.sockets import SocketTestCase, connected, in_thread, read_exactly, read_to_end, reset
from tests.tls.material import tls_pair


def recorded(*arguments: object) -> TappedDirection:
    """A direction for the contract, which has its own tap."""
    return TappedDirection(*arguments, Paced(pace_of(reactor), Recorder(), BufferAccount()))  # type: ignore[arg-type, call-arg]


def run(client: socket.socket, upstream: socket.socket, head: bytes, paced: Paced) -> Deferred[Ending]:
    """Run a relay with a tap between our ends of two connections."""
    relay = Relay(
        reactor,
        client,
        upstream,
        head,
        directions=tapped_directions(paced),
        closer=LingeringCloser(reactor),
        idle=300.0,
        half_closed=60.0,
        account=BufferAccount(),
    )
    return relay.run()


class TappedContractTests(pythonrelay.PythonRelayContract):
    """The relay's contract with a tap."""

    way = staticmethod(recorded)


class TapTests(SocketTestCase):
    """What is shown."""

    async def test_shown(self) -> None:
        """Each direction's bytes are shown, in order, those read before the relay first."""
        client, ours_client = connected()
        upstream, ours_upstream = connected()
        tap = Recorder()
        done = run(ours_client, ours_upstream, b"head ", Paced(pace_of(reactor), tap, BufferAccount()))
        client.sendall(b"question")
        self.assertEqual(b"head question", await in_thread(read_exactly, upstream, 13))
        upstream.sendall(b"answer")
        self.assertEqual(b"answer", await in_thread(read_exactly, client, 6))
        client.close()
        upstream.close()
        self.assertEqual(Result.OK, (await done).result)
        self.assertEqual((b"head question", b"answer"), (tap.from_client, tap.from_target))

    async def test_broken(self) -> None:
        """If the tunnel breaks while the budget is spent, no direction waits for its turn."""
        client, ours_client = connected()
        target, ours_target = connected()
        rounds = Rounds()
        pace = Pace(as_reactor(rounds))
        pace.charge(count=ROUND_BYTES)
        reset(target)
        done = run(ours_client, ours_target, b"head", Paced(pace, Recorder(), BufferAccount()))
        self.assertEqual(Result.RESET, (await done).result)
        client.close()
        while rounds.calls:
            rounds.round()

    async def test_much(self) -> None:
        """More than a round's budget passes whole and is shown whole, though the tap needs its time."""
        client, ours_client = connected()
        upstream, ours_upstream = connected()
        now = [0.0]

        class Slow(Recorder):
            def client(self, data: bytes) -> None:
                super().client(data)
                now[0] += ROUND_S / 3

        paced = Paced(Pace(reactor, lambda: now[0]), tap := Slow(), BufferAccount())
        done = run(ours_client, ours_upstream, b"", paced)
        data = random.Random(1).randbytes(500_000)
        sending = in_thread(client.sendall, data)
        self.assertEqual(data, await in_thread(read_exactly, upstream, len(data)))
        await sending
        client.close()
        upstream.close()
        self.assertEqual(Result.OK, (await done).result)
        self.assertEqual(data, tap.from_client)
        self.assertLessEqual(max(tap.shown), SLICE_BYTES)

    async def test_tls(self) -> None:
        """Bytes of TLS connections are shown as plaintext, and an end that comes with them is seen."""
        client, ours_client = tls_pair(0, "client")
        target, ours_target = tls_pair(0, "target")
        tap = Recorder()
        done = run(ours_client, ours_target, b"", Paced(pace_of(reactor), tap, BufferAccount()))
        client.sendall(b"question")
        client.shutdown(socket.SHUT_WR)
        self.assertEqual(b"question", await in_thread(read_to_end, target))
        target.close()
        self.assertEqual(b"", await in_thread(read_to_end, client))
        client.close()
        self.assertEqual(Result.OK, (await done).result)
        self.assertEqual(b"question", tap.from_client)
