"""What waits in memory is counted."""

from __future__ import annotations

import socket

from sniproxy.config.limits import Limits
from sniproxy.connection.admission import Admission
from sniproxy.relay.relay import Relay
from sniproxy.util.buffered import TOTAL, Share
from tests.relay.relaycontract import Tunnel
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.sockets import SocketTestCase, in_thread, read_exactly
from tests.tls.material import tls_pair


class ShareTests(SocketTestCase):
    """Shares of the total."""

    def test_total(self) -> None:
        """The total is that of all shares, as they were told last."""
        before = TOTAL.bytes
        one, other = Share(), Share()
        for share, count in ((one, 5), (other, 7), (one, 3), (one, 3)):
            share.holds(count)
        self.assertEqual(before + 10, TOTAL.bytes)
        for share in (one, other):
            share.holds(0)
        self.assertEqual(before, TOTAL.bytes)

    def test_limit(self) -> None:
        """At the limit new connections wait until bytes have gone on."""
        admission = Admission(lambda: 0.0, lambda limit, client: None, lambda life, why: None)
        share = Share()
        self.addCleanup(share.holds, 0)
        admission.change(Limits(max_buffered=TOTAL.bytes + (1 << 20)), 100)
        share.holds((1 << 20) - 1)
        self.assertIsNone(admission.full())
        share.holds(1 << 20)
        self.assertEqual("max_buffered", admission.full())
        share.holds(0)
        self.assertIsNone(admission.full())


class ProxyTests(SocketTestCase):
    """The bytes of connections."""

    async def until(self, more: bool) -> None:
        while (TOTAL.bytes > self.before) != more:
            await in_thread(int)

    async def test_hello(self) -> None:
        """A hello that is not whole waits in memory, and its bytes count until it has gone."""
        self.before = TOTAL.bytes
        proxy = Proxy(self, route("127.0.0.1:9"))
        with proxy.connect() as client:
            client.sendall(hello(name=NAME)[:50])
            await self.until(True)
            self.assertEqual(50 + 45, TOTAL.bytes - self.before)  # as they came, and in the reader
        await proxy.ended()
        self.assertEqual(self.before, TOTAL.bytes)

    async def test_slow_reader(self) -> None:
        """What a copied tunnel could not write counts until its reader reads, or has gone."""
        self.before = TOTAL.bytes
        backend = Backend(self)
        proxy = Proxy(self, 'relay = "python"\n' + LISTENER + route(backend.address))
        for ends_by_reading in (True, False):
            with proxy.connect() as client:
                client.sendall(hello(name=NAME))
                with await in_thread(backend.accept) as target:
                    await in_thread(read_exactly, target, len(hello(name=NAME)))
                    target.setblocking(False)
                    sent = await self.fill(target)
                    self.assertGreater(TOTAL.bytes, self.before)
                    if ends_by_reading:
                        await in_thread(read_exactly, client, sent)
                        await self.until(False)
            await proxy.ended(0 if ends_by_reading else 1)
            self.assertEqual(self.before, TOTAL.bytes)

    async def test_slow_reader_behind_tls(self) -> None:
        """What is encrypted already, and finds no room in a client's socket, counts as well."""
        before = TOTAL.bytes
        tunnel = Tunnel(Relay, pair=tls_pair, buffers=65_536)
        sending = in_thread(tunnel.upstream.sendall, bytes(4 << 20))
        while not tunnel.relay.blocked("down"):
            await in_thread(int)
        self.assertGreater(TOTAL.bytes, before)
        await in_thread(read_exactly, tunnel.client, 4 << 20)
        await sending
        tunnel.close()
        await tunnel.done
        self.assertEqual(before, TOTAL.bytes)

    async def fill(self, target: socket.socket) -> int:
        """Send until the proxy holds bytes. @return: how many were sent."""
        sent = 0
        while TOTAL.bytes == self.before:
            try:
                sent += target.send(bytes(65_536))
            except BlockingIOError:
                await in_thread(int)
        return sent
