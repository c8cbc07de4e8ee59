"""A relay direction that rewrites frames."""

from __future__ import annotations

import socket
from typing import Any

from sniproxy.bridge.answers import Answers, BridgeCallbacks
from sniproxy.bridge.direction import RewrittenDirection
from sniproxy.config.allowed import Allowing
from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.relay.direction import Direction, Side
from sniproxy.relay.pacing import Paced, pace_of
from sniproxy.relay.relay import Relay
from sniproxy.util.buffered import BufferAccount
from tests.relay.taps import Recorder
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, connected, in_thread, read_exactly, read_to_end
from tests.tls.material import tls_pair

PING = write(pb.CommandPing())
CLOSE = write(pb.CommandCloseProducer(producer_id=7, request_id=1, assignedBrokerServiceUrl="pulsar://10.0.0.7:6650"))
PLAIN_CLOSE = write(pb.CommandCloseProducer(producer_id=7, request_id=1))


class RewrittenTests(SocketTestCase):
    """RewrittenDirection, in a relay."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.tap = Recorder()
        self.account = BufferAccount()
        self.client, ours = connected()
        self.broker, upstream = connected()
        self.relay = self.relay_of(ours, upstream)
        self.done: Any = self.relay.run()
        self.addCleanup(self.close)

    def relay_of(self, ours: socket.socket, upstream: Any) -> Relay:
        """A relay that rewrites the frames of the broker at C{upstream}, for the client at C{ours}."""
        answers = Answers(Allowing(None), BridgeCallbacks(lambda *_: True, lambda _: None, lambda _: None), None, True)

        def make_direction(source: Side, target: Side, head: bytes) -> Direction:
            if source.name == "client":
                return Direction(source, target, head)
            paced = Paced(pace_of(reactor), self.tap, self.account)
            self.down = RewrittenDirection(source, target, head, answers, paced)
            return self.down

        return Relay(
            reactor,
            ours,
            upstream,
            b"",
            directions=make_direction,
            closer=LingeringCloser(reactor),
            idle=300.0,
            half_closed=60.0,
            account=self.account,
        )

    def close(self) -> None:
        self.client.close()
        self.broker.close()

    async def test_rewritten(self) -> None:
        """A frame is rewritten; the inspector gets the broker's bytes, and counts are of written bytes."""
        self.broker.sendall(PING + CLOSE)
        expected = PING + PLAIN_CLOSE
        self.assertEqual(expected, await in_thread(read_exactly, self.client, len(expected)))
        self.close()
        self.assertEqual(Result.OK, (await self.done).result)
        self.assertEqual((PING + CLOSE, len(expected)), (self.tap.from_target, self.relay.bytes_down))

    async def test_put(self) -> None:
        """A frame of the bridge is written at once, or after the frame that is passing."""
        self.broker.sendall(PING)
        await in_thread(read_exactly, self.client, len(PING))
        self.relay.add(self.down, self.down.put(b"<own>"))
        self.assertEqual(b"<own>", await in_thread(read_exactly, self.client, 5))
        self.close()
        await self.done

    async def test_held(self) -> None:
        """An incomplete frame counts as buffered."""
        self.broker.sendall(PING + CLOSE[:-3])
        await in_thread(read_exactly, self.client, len(PING))
        self.assertEqual(len(CLOSE) - 3, self.account.bytes)
        self.close()
        await self.done
        self.assertEqual(0, self.account.bytes)

    async def test_cut(self) -> None:
        """If a broker ends within a frame, the client gets the incomplete frame and the FIN."""
        self.broker.sendall(PING + CLOSE[:-3])
        self.broker.close()
        self.assertEqual(PING + CLOSE[:-3], await in_thread(read_to_end, self.client))
        self.client.close()
        self.assertEqual(Result.OK, (await self.done).result)

    async def test_cut_at_once(self) -> None:
        """The same if the incomplete frame and the FIN arrive together, as TLS can deliver them."""
        client, ours = connected()
        far, upstream = tls_pair(0, "target")
        relay = self.relay_of(ours, upstream)
        far.sendall(PING + CLOSE[:-3])
        far.shutdown(socket.SHUT_WR)
        done = relay.run()
        self.assertEqual(PING + CLOSE[:-3], await in_thread(read_to_end, client))
        client.close()
        await done
        far.close()
        self.close()
        await self.done

    async def test_not_pulsar(self) -> None:
        """Bytes that are not Pulsar end the tunnel."""
        self.broker.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        ending = await self.done
        self.assertEqual(Result.RESET, ending.result)
        self.assertIn("it does not speak Pulsar", ending.reason)
