"""Tests for sniproxy.server.view: the state of a running proxy."""

from __future__ import annotations

from sniproxy.admin.sources import UnknownDrainTarget
from sniproxy.config.schema import ConfigError
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import SocketTestCase, in_thread


class ViewTests(SocketTestCase):
    """ServiceView."""

    async def test_status(self) -> None:
        """The status before, while and after the proxy listens; reloads are counted, a failed one has its reason."""
        proxy = Proxy(self, route("127.0.0.1:9", more="[health]\neject = 30\n"))
        view = proxy.service.view
        status = view.status()
        self.assertEqual((True, "test.toml"), (status.ready, status.configuration))
        ((name, address),) = [(one.name, one.where) for one in status.listeners]
        self.assertEqual(("public", f"127.0.0.1:{proxy.port}"), (name, address))
        self.assertEqual([("127.0.0.1:9", "up", 0)], [(x.target, x.state, x.connections) for x in status.targets])
        self.assertEqual((0, 0, []), (status.access_log_lost, status.event_log_lost, list(status.resolvers)))
        self.assertEqual(view.limits_status(), status.limits)
        self.assertEqual(1, view.current_settings(9)["route_count"])

        def broken() -> None:
            raise ConfigError("no")

        self.assertEqual("no", proxy.service.reload(broken))  # type: ignore[arg-type]
        self.assertEqual((0, 1, "no"), (view.reloads.succeeded, view.reloads.failed, view.reloads.error))
        before = proxy.service.configuration
        self.assertIsNone(proxy.service.reload(lambda: before))
        self.assertEqual((1, 1, None), (view.reloads.succeeded, view.reloads.failed, view.reloads.error))
        self.assertGreaterEqual(view.status().since, status.since)
        await proxy.service.stopService()
        self.assertFalse(view.ready)

    async def test_drain(self) -> None:
        """Live connections are listed, and can be drained by the name of their route."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        view = proxy.service.view
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept):
                (live,) = view.live()
                self.assertEqual("open", live.state)
                self.assertEqual(1, view.drain(NAME, 0.001).left)
                self.assertEqual([NAME], [one.name for one in view.status().drains])
                self.assertEqual(NAME, view.undrain(NAME).name)
                self.assertRaises(UnknownDrainTarget, view.undrain, NAME)
                self.assertRaises(UnknownDrainTarget, view.drain, "nobody.test", 1.0)
        await proxy.ended()
