"""Loading the kernel relay, and a proxy that uses it."""

from __future__ import annotations

from twisted.logger import capturedLogs

from sniproxy.events import Result
from sniproxy.relay.kernel import loader, selftest
from sniproxy.relay.kernel.factory import KernelRelayUnavailable
from sniproxy.relay.kernel.loader import KernelRelayLoader
from tests.relay.kernel.support import KernelTestCase, sockmap
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.reactor import reactor
from tests.support.sockets import in_thread, read_exactly, read_to_end

KERNEL = f'relay = "kernel"\n{LISTENER}'


def cannot() -> None:
    raise KernelRelayUnavailable("a reason, and its cure")


class LoaderTests(KernelTestCase):
    """KernelRelayLoader."""

    def test_not_wanted(self) -> None:
        """Nothing is loaded or tested unless the configuration asks for it."""
        self.patch(selftest, "run", cannot)
        kernel_relay = KernelRelayLoader(reactor)
        with capturedLogs() as logged:
            self.assertIsNone(kernel_relay.open_if_wanted(wanted=False))
        self.assertEqual([], logged)
        kernel_relay.close()

    def test_once(self) -> None:
        """It is loaded and logged once. Capabilities are dropped unless another program embeds the proxy."""
        sockmap()
        given: list[bool] = []
        self.patch(loader, "drop_loading_capabilities", lambda: given.append(True))
        for keep in (True, False):
            kernel_relay = KernelRelayLoader(reactor, keep)
            with capturedLogs() as logged:
                first = kernel_relay.open_if_wanted(wanted=True)
                self.assertIsNotNone(first)
                self.assertIs(first, kernel_relay.open_if_wanted(wanted=True))
                self.assertIsNone(kernel_relay.open_if_wanted(wanted=False))
            self.assertEqual(1, len(logged))
            self.assertEqual([] if keep else [True], given)
            kernel_relay.close()
            kernel_relay.close()

    def test_unavailable(self) -> None:
        """A failure is tried once, and logged at each request. Capabilities are dropped all the same."""
        tried: list[bool] = []
        given: list[bool] = []

        def unavailable() -> None:
            tried.append(True)
            cannot()

        self.patch(selftest, "run", unavailable)
        self.patch(loader, "drop_loading_capabilities", lambda: given.append(True))
        for keep in (True, False):
            tried.clear()
            kernel_relay = KernelRelayLoader(reactor, keep)
            with capturedLogs() as logged:
                for wanted in (True, False, True):
                    self.assertIsNone(kernel_relay.open_if_wanted(wanted))
            self.assertEqual(["a reason, and its cure"] * 2, [event["why"] for event in logged])
            self.assertEqual([True], tried)
            self.assertEqual([] if keep else [True], given)
            kernel_relay.close()


class ProxyTests(KernelTestCase):
    """A proxy with relay = "kernel"."""

    async def passes(self, proxy: Proxy, backend: Backend) -> None:
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                size = len(hello(name=NAME))
                await in_thread(read_exactly, upstream, size)
                client.sendall(b"question")
                self.assertEqual(b"question", await in_thread(read_exactly, upstream, 8))
                upstream.sendall(b"answer")
                self.assertEqual(b"answer", await in_thread(read_exactly, client, 6))
                client.close()
                self.assertEqual(b"", await in_thread(read_to_end, upstream))
        record = await proxy.ended()
        self.assertEqual((Result.OK, size + 8, 6), (record.result, record.bytes_up, record.bytes_down))

    async def test_passes(self) -> None:
        """Its tunnels pass bytes and FINs, and its records count them."""
        sockmap()
        backend = Backend(self)
        proxy = Proxy(self, KERNEL + route(backend.address))
        await self.passes(proxy, backend)
        self.assertIsNotNone(proxy.service.kernel_relay.open_if_wanted(wanted=True))

    async def test_cannot(self) -> None:
        """Without the kernel relay one line gives the reason, and tunnels use the user-space relay."""
        self.patch(selftest, "run", cannot)
        backend = Backend(self)
        with capturedLogs() as logged:
            proxy = Proxy(self, KERNEL + route(backend.address))
        said = [event for event in logged if "unavailable" in str(event.get("log_format"))]
        self.assertEqual(["a reason, and its cure"], [event["why"] for event in said])
        await self.passes(proxy, backend)
