"""Counting of bytes that wait in memory."""

from __future__ import annotations

import socket

from sniproxy.config.limits import Limits
from sniproxy.connection.admission import Admission
from sniproxy.util.buffered import BufferAccount, Share
from tests.relay.pythonrelay import make_relay
from tests.relay.relaycontract import Tunnel
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.sockets import SocketTestCase, in_thread, read_exactly
from tests.tls.material import tls_pair


class ShareTests(SocketTestCase):
    """Shares of an account."""

    def test_sum(self) -> None:
        """The total is the sum of the last values of all shares."""
        account = BufferAccount()
        one, other = Share(account), Share(account)
        for share, count in ((one, 5), (other, 7), (one, 3), (one, 3)):
            share.holds(count)
        self.assertEqual(10, account.bytes)
        for share in (one, other):
            share.holds(0)
        self.assertEqual(0, account.bytes)

    def test_limit(self) -> None:
        """At the limit new connections wait until bytes are written."""
        account = BufferAccount()
        admission = Admission(lambda: 0.0, lambda limit, client: None, lambda life, why: None, account)
        share = Share(account)
        admission.change(Limits(max_buffered=1 << 20), 100)
        share.holds((1 << 20) - 1)
        self.assertIsNone(admission.full())
        share.holds(1 << 20)
        self.assertEqual("max_buffered", admission.full())
        share.holds(0)
        self.assertIsNone(admission.full())


class ProxyTests(SocketTestCase):
    """The bytes of connections."""

    async def until(self, account: BufferAccount, more: bool) -> None:
        while (account.bytes > 0) != more:
            await in_thread(int)

    async def test_hello(self) -> None:
        """An incomplete hello counts while it waits."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        account = proxy.service._account
        with proxy.connect() as client:
            client.sendall(hello(name=NAME)[:50])
            await self.until(account, True)
            self.assertEqual(50 + 45, account.bytes)  # as they came, and in the reader
        await proxy.ended()
        self.assertEqual(0, account.bytes)

    async def test_slow_reader(self) -> None:
        """Bytes that a tunnel could not write count until the reader reads, or disconnects."""
        backend = Backend(self)
        proxy = Proxy(self, 'relay = "python"\n' + LISTENER + route(backend.address))
        account = proxy.service._account
        for ends_by_reading in (True, False):
            with proxy.connect() as client:
                client.sendall(hello(name=NAME))
                with await in_thread(backend.accept) as target:
                    await in_thread(read_exactly, target, len(hello(name=NAME)))
                    target.setblocking(False)
                    sent = await self.fill(account, target)
                    self.assertGreater(account.bytes, 0)
                    if ends_by_reading:
                        await in_thread(read_exactly, client, sent)
                        await self.until(account, False)
            await proxy.ended(0 if ends_by_reading else 1)
            self.assertEqual(0, account.bytes)

    async def test_slow_reader_behind_tls(self) -> None:
        """Encrypted bytes that do not fit into a client's socket count, too."""
        tunnel = Tunnel(make_relay, pair=tls_pair, buffers=65_536)
        sending = in_thread(tunnel.upstream.sendall, bytes(4 << 20))
        while not tunnel.relay.blocked("down"):
            await in_thread(int)
        self.assertGreater(tunnel.account.bytes, 0)
        await in_thread(read_exactly, tunnel.client, 4 << 20)
        await sending
        tunnel.close()
        await tunnel.done
        self.assertEqual(0, tunnel.account.bytes)

    async def fill(self, account: BufferAccount, target: socket.socket) -> int:
        """Send until the proxy holds bytes. @return: how many were sent."""
        sent = 0
        while account.bytes == 0:
            try:
                sent += target.send(bytes(65_536))
            except BlockingIOError:
                await in_thread(int)
        return sent
