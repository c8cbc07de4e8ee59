"""Tests for the reload beside the traffic of sniproxy.service."""

from __future__ import annotations

import gc
import threading
import weakref
from functools import partial
from typing import Any

from sniproxy import resolvers, service
from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.server import build as building
from sniproxy.server import resolverset
from sniproxy.util import offload
from tests.support.conversation import route
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread, read_exactly


class ReloadBesideTests(SocketTestCase):
    """A reload beside the traffic."""

    def setUp(self) -> Any:
        self.may_read = threading.Event()
        self.addCleanup(self.may_read.set)
        self.read_texts: list[str] = []
        return super().setUp()

    def read(self, text: str) -> Configuration:
        self.read_texts.append(text)
        if not self.may_read.wait(TIMEOUT_S):
            raise ConfigError("it was not allowed to read")
        return parse(LISTENER + text, "test.toml")

    async def test_traffic(self) -> None:
        """An echo on an inspected tunnel continues while a configuration is read, and while it is built."""
        backend = Backend(self)
        may_build = threading.Event()
        self.addCleanup(may_build.set)
        target = f'plaintext = true\ninspect = "pulsar"\ntarget = "{backend.address}"\n'
        proxy = Proxy(self, LISTENER + target)
        client = proxy.connect()
        self.addCleanup(client.close)
        client.sendall(b"first")
        upstream = await in_thread(backend.accept)
        self.addCleanup(upstream.close)
        self.assertEqual(b"first", await in_thread(read_exactly, upstream, 5))

        async def echo() -> None:
            client.sendall(b"ping")
            self.assertEqual(b"ping", await in_thread(read_exactly, upstream, 4))
            upstream.sendall(b"pong")
            self.assertEqual(b"pong", await in_thread(read_exactly, client, 4))

        def build_routing(*arguments: Any) -> Any:
            may_build.wait(TIMEOUT_S)
            return real(*arguments)

        real = building.build_routing
        self.patch(building, "build_routing", build_routing)
        reloaded = proxy.service.reload_beside(partial(self.read, target + "[timeouts]\nhello = 3\n"))
        for event in (self.may_read, may_build):
            for _ in range(3):
                await echo()
            self.assertNoResult(reloaded)
            self.assertFalse(gc.isenabled())
            event.set()
        self.assertIsNone(await reloaded)
        self.assertTrue(gc.isenabled())
        self.assertEqual(3, proxy.service.configuration.timeouts.hello)

    async def test_order(self) -> None:
        """Of two reloads at once, the later one begins when the earlier one has ended, and stays."""
        proxy = Proxy(self, LISTENER)
        texts = [f"[timeouts]\nhello = {seconds}\n" for seconds in (3, 4)]
        reloads = [proxy.service.reload_beside(partial(self.read, text)) for text in texts]
        self.may_read.set()
        self.assertIsNone(await reloads[1])
        self.assertIsNone(self.successResultOf(reloads[0]))
        self.assertEqual(texts, self.read_texts)
        self.assertEqual(4, proxy.service.configuration.timeouts.hello)
        self.assertEqual(2, proxy.service.view.reloads.succeeded)

    async def test_failure(self) -> None:
        """A failed one keeps the configuration, and the next one is not affected."""
        proxy = Proxy(self, LISTENER)
        self.may_read.set()
        why = await proxy.service.reload_beside(partial(self.read, '[[route]]\nserver_name = "a.test"\n'))
        self.assertIn("route[0]", why or "")
        self.assertEqual(why, proxy.service.view.status().reloads.error)
        self.assertIsNone(await proxy.service.reload_beside(partial(self.read, "[timeouts]\nhello = 3\n")))
        self.assertEqual(3, proxy.service.configuration.timeouts.hello)

    async def test_stop(self) -> None:
        """A proxy that stops meanwhile does not change, and reports it."""
        proxy = Proxy(self, LISTENER)
        before = proxy.service.configuration
        reloads = [proxy.service.reload_beside(partial(self.read, "")) for _ in range(2)]
        await proxy.service.stopService()
        self.may_read.set()
        for reload in reloads:
            self.assertEqual("the proxy is stopping", await reload)
        self.assertIs(before, proxy.service.configuration)
        self.assertTrue(gc.isenabled())

    async def test_later(self) -> None:
        """A reload that began before another one, and ends after it, changes nothing."""
        proxy = Proxy(self, LISTENER)
        slow = proxy.service.reload_beside(partial(self.read, "[timeouts]\nhello = 3\n"))
        self.assertIsNone(proxy.service.reload(lambda: parse(LISTENER + "[timeouts]\nhello = 4\n", "test.toml")))
        self.may_read.set()
        self.assertEqual("a later reload has succeeded meanwhile", await slow)
        self.assertEqual(4, proxy.service.configuration.timeouts.hello)

    async def test_plugins(self) -> None:
        """Resolvers are made in the reactor's thread."""
        proxy = Proxy(self, LISTENER)
        threads = []
        real = resolvers.make_resolver

        def make_resolver(*arguments: Any) -> Any:
            threads.append(threading.current_thread())
            return real(*arguments)

        self.patch(resolverset, "make_resolver", make_resolver)
        self.may_read.set()
        text = '[[route]]\nserver_name = "a.test"\nresolver = "x"\n[resolver.x]\ntype = "static"\ntarget = "a:1"\n'
        self.assertIsNone(await proxy.service.reload_beside(partial(self.read, text)))
        self.assertEqual([threading.main_thread()], threads)

    async def test_freed(self) -> None:
        """The routes of the configuration before are freed in slices, without the collector of cycles."""
        proxy = Proxy(self, LISTENER + route("127.0.0.1:9"))
        (before,) = (weakref.ref(one) for one in proxy.service._built.routing.table.routes())
        freed: list[bool] = []

        def free(objects: list[object]) -> None:
            real(objects)
            freed.append(before() is None)

        real = offload.free
        self.patch(service, "free", free)
        self.may_read.set()
        gc.disable()
        self.addCleanup(gc.enable)
        self.assertIsNone(await proxy.service.reload_beside(partial(self.read, "")))
        self.assertEqual([True], freed)
