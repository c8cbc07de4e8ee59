"""A relay's direction whose frames are rewritten."""

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
from sniproxy.relay.relay import Ending, Relay
from sniproxy.util.buffered import TOTAL
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
        self.client, ours = connected()
        self.broker, upstream = connected()
        told = BridgeCallbacks(lambda lookup, answer: True, lambda broker: None, lambda message: None)
        answers = Answers(Allowing(None), told, None, True)

        def way(source: Side, target: Side, head: bytes) -> Direction:
            if source.name == "client":
                return Direction(source, target, head)
            self.down = RewrittenDirection(source, target, head, answers, Paced(pace_of(reactor), self.tap))
            return self.down

        self.relay = Relay(
            reactor, ours, upstream, b"", directions=way, closer=LingeringCloser(reactor), idle=300.0, half_closed=60.0
        )
        self.done: Any = self.relay.run()
        self.addCleanup(self.close)

    def close(self) -> None:
        self.client.close()
        self.broker.close()

    async def test_rewritten(self) -> None:
        """A frame is rewritten on its way; what is shown is what the broker sent, and counts are what was written."""
        self.broker.sendall(PING + CLOSE)
        expected = PING + PLAIN_CLOSE
        self.assertEqual(expected, await in_thread(read_exactly, self.client, len(expected)))
        self.close()
        self.assertEqual(Ending(Result.OK), await self.done)
        self.assertEqual((PING + CLOSE, len(expected)), (self.tap.from_target, self.relay.bytes_down))

    async def test_put(self) -> None:
        """A frame of our own is written when the relay is told to pump, behind a frame that passes."""
        self.broker.sendall(PING)
        await in_thread(read_exactly, self.client, len(PING))
        self.down.put(b"<own>")
        self.relay.pump(self.down)
        self.assertEqual(b"<own>", await in_thread(read_exactly, self.client, 5))
        self.close()
        await self.done

    async def test_held(self) -> None:
        """A frame that is held until it is whole counts as buffered."""
        before = TOTAL.bytes
        self.broker.sendall(PING + CLOSE[:-3])
        await in_thread(read_exactly, self.client, len(PING))
        self.assertEqual(len(CLOSE) - 3, TOTAL.bytes - before)
        self.close()
        await self.done
        self.assertEqual(before, TOTAL.bytes)

    async def test_cut(self) -> None:
        """A broker that ends in a frame: the client gets as much as there is, and the end."""
        self.broker.sendall(PING + CLOSE[:-3])
        self.broker.close()
        self.assertEqual(PING + CLOSE[:-3], await in_thread(read_to_end, self.client))
        self.client.close()
        self.assertEqual(Ending(Result.OK), await self.done)

    async def test_cut_at_once(self) -> None:
        """So it does when the end came together with the frame's beginning, as TLS may hand them out."""
        client, ours = connected()
        far, upstream = tls_pair(0, "target")
        answers = Answers(Allowing(None), BridgeCallbacks(lambda *_: True, lambda _: None, lambda _: None), None, True)

        def way(source: Side, target: Side, head: bytes) -> Direction:
            if source.name == "client":
                return Direction(source, target, head)
            return RewrittenDirection(source, target, head, answers, Paced(pace_of(reactor), self.tap))

        relay = Relay(
            reactor, ours, upstream, b"", directions=way, closer=LingeringCloser(reactor), idle=300.0, half_closed=60.0
        )
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
        """What is no Pulsar ends the tunnel."""
        self.broker.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        ending = await self.done
        self.assertEqual(Result.RESET, ending.result)
        self.assertIn("it does not speak Pulsar", ending.reason)
