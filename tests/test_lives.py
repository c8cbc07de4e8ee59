"""The connections that have not ended."""

from __future__ import annotations

from sniproxy.events import Result
from tests.hellos import NAME, hello
from tests.net.support import SocketTestCase, in_thread, read_exactly
from tests.proxies import Backend, Proxy
from tests.test_conversation import route


class RoomTests(SocketTestCase):
    """Near the limit of open files."""

    async def test_connections_wait(self) -> None:
        """When the descriptors would not suffice for a dial, new connections wait until another one has ended."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        self.patch(proxy.service._lives, "descriptors", 4)  # one is kept in reserve: one connection and its dial
        with proxy.connect() as first, proxy.connect() as second:
            first.sendall(hello(name=NAME))
            second.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
                self.assertEqual(1, len(proxy.service._live))
                first.close()
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
        self.assertEqual(Result.OK, (await proxy.ended(1)).result)

    async def test_ids(self) -> None:
        """Each connection has an id of its own, and those of another proxy are others."""
        proxies = [Proxy(self, route("127.0.0.1:9")) for _ in range(2)]
        for proxy in proxies:
            for number in range(2):
                proxy.connect().close()
                await proxy.ended(number)
        ids = [record.id for proxy in proxies for record in proxy.records]
        self.assertEqual(4, len(set(ids)), ids)
