"""Tests for sniproxy.server.healthchecks, in a running proxy with real sockets and a manual clock."""

from __future__ import annotations

import socket

import trustme
from twisted.internet.defer import Deferred

from sniproxy.events import Result
from sniproxy.interfaces import Target
from sniproxy.net.closer import LINGER_TIMEOUT_S
from sniproxy.routing.upstreams import FORGET_S, Upstream
from sniproxy.util.timerwheel import TICK_S
from tests.support.conversation import NAME
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import HandClock, SocketTestCase, in_thread, read_exactly
from tests.support.targetsof import targets_of
from tests.support.tlsservers import SayingFactory, ServerTLS, listen

AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)


class CheckTests(SocketTestCase):
    """Targets go down and up."""

    def start(self, target: str, *others: str, check: str = "tcp", fall: int = 2) -> Proxy:
        self.clock = HandClock()
        targets = [target, *others]
        text = f'[[route]]\nserver_name = "{NAME}"\ntarget = {targets}\n'
        text += f'[health]\ncheck = "{check}"\ninterval = 1\nrise = 2\nfall = {fall}\n'
        return Proxy(self, text, self.clock)

    async def checked(self, proxy: Proxy) -> None:
        """Run one more round of checks."""
        checker = proxy.service._checker
        for seconds in (0, 1.2):  # those of before are done first: their time must not run out
            self.clock.advance(seconds)
            while checker._running:
                await in_thread(int)

    def states(self, proxy: Proxy) -> list[str]:
        return [one.state for one in targets_of(proxy.service.view)]

    async def test_down_and_up(self) -> None:
        """A target is down after `fall` failed checks, and up after `rise` good ones; the status shows the reason."""
        accepts = "{}:{}".format(*listen(self, SayingFactory(ends=False), None))
        other = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(other.close)
        host, port = other.getsockname()
        proxy = self.start(f"{host}:{port}", accepts)
        await self.checked(proxy)
        self.assertEqual(["up", "up"], self.states(proxy))
        other.close()
        await self.checked(proxy)
        self.assertEqual(["up", "up"], self.states(proxy))
        await self.checked(proxy)
        self.assertEqual(["down", "up"], self.states(proxy))
        self.assertEqual("Connection refused", targets_of(proxy.service.view)[0].why)
        for number in range(2):  # the other has both turns, without a try
            with proxy.connect() as client:
                client.sendall(hello(name=NAME))
                while [life.state for life in proxy.service.view.live()] != ["open"]:
                    await in_thread(int)
            self.assertEqual(accepts, (await proxy.ended(number)).target)
        with socket.create_server((host, port)):
            await self.checked(proxy)
            self.assertEqual(["down", "up"], self.states(proxy))
            await self.checked(proxy)
        self.assertEqual(["up", "up"], self.states(proxy))

    async def test_first(self) -> None:
        """A target whose first check fails is down at once."""
        proxy = self.start("127.0.0.1:1", fall=9)
        await self.checked(proxy)
        self.assertEqual(["down"], self.states(proxy))
        self.assertEqual(self.clock.seconds(), proxy.service._upstreams.known["127.0.0.1:1"].checked_at)

    async def test_all_down(self) -> None:
        """If all targets are down they are still dialled, because checks can be wrong."""
        proxy = self.start("127.0.0.1:1")
        for _ in range(3):
            await self.checked(proxy)
        self.assertEqual(["down"], self.states(proxy))
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            self.assertEqual(b"", await in_thread(read_exactly, client, 1))
        self.assertEqual(Result.CONNECT_FAILED, (await proxy.ended()).result)

    async def test_tls(self) -> None:
        """A TLS check makes a handshake; a target that speaks no TLS is down."""
        host, port = listen(self, SayingFactory(ends=False), ServerTLS(AUTHORITY, NAME))
        plain_host, plain_port = listen(self, SayingFactory(b"SSH-2.0-x\r\n"), None)
        proxy = self.start(f"{host}:{port}", f"{plain_host}:{plain_port}", check="tls")
        for _ in range(3):
            await self.checked(proxy)
        self.assertEqual(["up", "down"], self.states(proxy))
        self.assertIn("the TLS handshake failed", targets_of(proxy.service.view)[1].why)

    async def test_tls_beside_plaintext(self) -> None:
        """A TLS check only connects to targets of plaintext listeners, with or without a resolver."""
        plain_host, plain_port = listen(self, SayingFactory(b"hi"), None)
        self.clock = HandClock()
        text = '[[listener]]\nname = "p"\nendpoint = "tcp:0:interface=127.0.0.1"\nplaintext = true\n'
        text += f'target = "{plain_host}:{plain_port}"\n[health]\ncheck = "tls"\ninterval = 1\n'
        proxy = Proxy(self, text, self.clock)
        for _ in range(3):
            await self.checked(proxy)
        self.assertEqual(["up"], self.states(proxy))
        standing = proxy.service._upstreams
        standing.record_answer([Target("127.0.0.9", 1)], None, 0.0, plaintext=True)
        self.assertIn("127.0.0.9:1", standing.plaintext)

    async def test_header(self) -> None:
        """A TLS check of a target that wants PROXY protocol headers begins with one, whoever names the target."""
        backend = Backend(self)
        self.clock = HandClock()
        text = f'[[route]]\nserver_name = "{NAME}"\ntarget = "{backend.address}"\nsend_proxy = "v1"\n'
        proxy = Proxy(self, text + '[health]\ncheck = "tls"\ninterval = 1\n', self.clock)
        self.clock.advance(0.1)
        with await in_thread(backend.accept) as upstream:
            self.assertEqual(b"PROXY UNKNOWN\r\n\x16\x03", await in_thread(read_exactly, upstream, 17))
        table = proxy.service._upstreams
        table.record_answer([Target("127.0.0.9", 1)], None, self.clock.seconds(), header=b"PROXY UNKNOWN\r\n")
        self.assertEqual(b"PROXY UNKNOWN\r\n", table.headers["127.0.0.9:1"])
        table.forget(self.clock.seconds() + FORGET_S + 1)
        self.assertEqual([backend.address], list(table.headers))

    async def test_stop(self) -> None:
        """A stop of the proxy cancels a running check, and nothing is left open."""
        silent = Backend(self)
        proxy = self.start(silent.address, check="tls")
        self.clock.advance(0.1)
        while not proxy.service._checker._running:
            await in_thread(int)
        stopped: Deferred[None] = proxy.service.stopService()
        self.clock.advance(LINGER_TIMEOUT_S + TICK_S)
        await stopped
        self.assertEqual({}, proxy.service._checker._running)

    async def test_broker_name(self) -> None:
        """A TLS check asks for the broker's own name, not for the service name of all brokers."""
        text = (
            '[[route]]\nserver_name = "vip.test"\ntarget = ["127.0.0.1:1", "127.0.0.1:2"]\n'
            '[[route]]\nserver_name = "b-1.test"\ntarget = "127.0.0.1:1"\n'
            '[[route]]\nserver_name = "*.x"\ntarget = "h"\n'
            "[health]\neject = 1\n"
        )
        proxy = Proxy(self, text)
        known: list[Upstream] = list(proxy.service._upstreams.known.values())
        self.assertEqual(["b-1.test", "vip.test", "h"], [one.server_name for one in known])
