"""Tunnels with faults whose sides wait for each other, and their ends."""

from __future__ import annotations

import socket
from functools import partial
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy.config.faults import make_fault
from sniproxy.config.schema import FaultEntry
from sniproxy.events import Connection, Result
from sniproxy.faults import relay as relays
from sniproxy.faults.active import ActiveFaults
from sniproxy.faults.gate import MAX_INSERTED_BYTES
from sniproxy.faults.relay import FaultRelay
from sniproxy.faults.tunnel import TunnelFaults
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.relay import Ending
from sniproxy.util.buffered import BufferAccount
from tests.faults.faulty import CONNECTED, PING, PONG, FaultCase, commands, fault, lookup, send
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, in_thread, read_exactly, read_to_end
from tests.tls.material import tls_pair

LARGE = send(1, 1, b"x" * 24_000_000)  # more than the sockets between two peers hold


class WaitTests(FaultCase):
    """Directions that wait."""

    async def until(self, condition: Any) -> None:
        """Let the reactor run until a condition holds; the test's timeout bounds it."""
        while not condition():
            await in_thread(int)

    async def tunnel_of(self) -> Any:
        """The relay of the only connection."""
        await self.until(lambda: [one for one in self.through.service.view.live() if one.tunnel is not None])
        return self.through.service.view.live()[0].tunnel

    async def test_answers_wait(self) -> None:
        """While answers wait behind a delay, the client is read only up to a bound; later all come."""
        client, broker = await self.open(
            fault(action="delay", seconds=5, on="CONNECTED")
            + fault(action="error", error="TooManyRequests", on="LOOKUP")
        )
        tunnel = await self.tunnel_of()
        broker.sendall(CONNECTED)
        await self.until(lambda: self.through.service.view.faults.counts["delay"])
        sending = in_thread(client.sendall, b"".join(lookup(number) for number in range(3_000)))
        await self.until(lambda: tunnel.blocked("up"))
        held = self.through.service._account.bytes
        self.assertTrue(MAX_INSERTED_BYTES < held < 2_000_000, held)
        self.clock.advance(5)
        await in_thread(read_exactly, client, len(CONNECTED))
        await in_thread(self.read_answers, client, 3_000)
        await sending
        client.close()
        self.assertEqual(b"", await in_thread(read_to_end, broker))
        broker.close()
        await self.through.ended()
        self.assertEqual(0, self.through.service._account.bytes)

    def read_answers(self, client: socket.socket, count: int) -> None:
        """Read so many answers, in order."""
        rest, number = b"", 0
        while number < count:
            rest += client.recv(1 << 20)
            at = 0
            while len(rest) - at >= 4 and len(rest) - at >= (size := 4 + int.from_bytes(rest[at : at + 4])):
                if number % 1000 == 0:
                    ((_, found),) = commands(rest[at : at + size])
                    self.assertEqual(number, found.request_id)
                number, at = number + 1, at + size
            rest = rest[at:]

    async def test_slow_client(self) -> None:
        """An answer is inserted behind a frame for which the client has no room yet."""
        client, broker = await self.open(fault(action="error", error="TooManyRequests", on="LOOKUP"))
        sending = in_thread(broker.sendall, LARGE + PING)
        tunnel = await self.tunnel_of()
        await self.until(lambda: tunnel.blocked("down"))
        client.sendall(lookup(1) + PING)
        self.assertEqual(PING, await in_thread(read_exactly, broker, len(PING)))
        self.assertEqual(LARGE, await in_thread(read_exactly, client, len(LARGE)))
        await sending
        broker.close()
        names = [name for name, _ in commands(await in_thread(read_to_end, client))]
        self.assertEqual(["LOOKUP_RESPONSE", "PING"], sorted(names))

    async def test_end_of_slow_client(self) -> None:
        """A reset after seconds does not wait for a client that does not read."""
        client, broker = await self.open(fault(action="reset", after_seconds=5))
        tunnel = await self.tunnel_of()
        sending = in_thread(broker.sendall, LARGE)
        await self.until(lambda: tunnel.blocked("down"))
        self.clock.advance(5)
        with self.assertRaises(OSError):
            await sending
        self.assertEqual(Result.RESET, (await self.through.ended()).result)
        client.close()

    async def test_not_pulsar(self) -> None:
        """Bytes of another protocol pass, and the log says so once."""
        said: list[str] = []
        self.patch(relays, "log", SimpleNamespace(warn=lambda text, why: said.append(why)))
        client, broker = await self.open(fault(action="drop", on="PING"))
        for _ in range(2):
            client.sendall(b"GET / HTTP/1.1")
            self.assertEqual(b"GET / HTTP/1.1", await in_thread(read_exactly, broker, 14))
        self.assertEqual(1, len(said))
        self.assertIn("frame of", said[0])

    async def test_removed(self) -> None:
        """A fault that is removed before its time does nothing; one whose tunnel has ended does nothing."""
        client, broker = await self.open(
            fault(action="cut", after_seconds=5, name="a") + fault(action="cut", after_seconds=9)
        )
        await self.tunnel_of()
        self.through.service.view.faults.remove("a")
        self.clock.advance(6)
        client.sendall(PING)
        self.assertEqual(PING, await in_thread(read_exactly, broker, len(PING)))
        client.close()
        broker.close()
        self.assertEqual(Result.OK, (await self.through.ended()).result)
        self.clock.advance(9)
        self.assertEqual([], [one.applied for one in self.through.service.view.faults.rules if one.applied])

    async def test_half_close_of_slow_client(self) -> None:
        """The end follows the bytes for which the client has no room yet, at the rate."""
        client, broker = await self.open(
            fault(action="rate", rate=1e9, on="SEND", sender="client", times=1) + fault(action="half_close", on="PONG")
        )
        sending = in_thread(broker.sendall, LARGE + PING)
        tunnel = await self.tunnel_of()
        await self.until(lambda: tunnel.blocked("down"))
        self.assertEqual(LARGE + PING, await in_thread(read_exactly, client, len(LARGE + PING)))
        await sending
        broker.sendall(PONG)
        self.assertEqual(b"", await in_thread(read_to_end, client))


class TLSTests(SocketTestCase):
    """Sides with TLS."""

    async def test_end(self) -> None:
        """An end that comes together with the last bytes waits with these."""
        client, ours_client = tls_pair(0, "client")
        target, ours_target = tls_pair(0, "target")
        active, record = ActiveFaults(), Connection("1", 0.0, "public", "c")
        entry = FaultEntry("delay", on="CONNECTED", seconds=0.05)
        active.change([make_fault(entry, {"public": True}, ())])
        applied: Deferred[str] = Deferred()

        def apply(rule: Any, what: str) -> None:
            active.applied(rule, record, what)
            applied.callback(what)

        faults = TunnelFaults(active, "public", None, True, apply)
        make = partial(FaultRelay, closer=LingeringCloser(reactor), idle=300.0, half_closed=60.0)
        relay = make(reactor, ours_client, ours_target, b"", account=BufferAccount(), faults=faults)
        done: Deferred[Ending] = relay.run()
        self.assertFalse(relay.movable)
        target.sendall(CONNECTED + PING[:5])
        target.shutdown(socket.SHUT_WR)
        self.assertEqual("CONNECTED", await applied)
        self.assertEqual(CONNECTED + PING[:5], await in_thread(read_to_end, client))
        client.close()
        self.assertEqual(b"", await in_thread(read_to_end, target))
        target.close()
        self.assertEqual(Result.OK, (await done).result)
        relay.end(Ending(Result.OK))
