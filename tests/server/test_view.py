"""Tests for sniproxy.server.view: the state of a running proxy."""

from __future__ import annotations

from sniproxy.admin.recording import CannotRecord
from sniproxy.admin.sources import Readiness, UnknownDrainTarget
from sniproxy.admin.upgrades import OldProcess
from sniproxy.config.schema import ConfigError
from sniproxy.conversation.recorder import Recording
from sniproxy.interfaces import BadValue
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.sockets import SocketTestCase, in_thread
from tests.support.targetsof import targets_of


def send(message: str, must: bool) -> bool:
    """A client that takes each message."""
    return True


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
        self.assertEqual([("127.0.0.1:9", "up", 0)], [(x.target, x.state, x.connections) for x in targets_of(view)])
        self.assertEqual((0, 0, []), (status.access_log_lost, status.event_log_lost, list(status.resolvers)))
        self.assertEqual(view.limits_status(), status.limits)
        self.assertEqual(Readiness(True, 1, []), view.readiness())
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

    async def test_summary(self) -> None:
        """Connections, and targets that are down or ejected."""
        proxy = Proxy(self, route("127.0.0.1:9", more="[health]\neject = 30\n"))
        self.assertEqual("0 tunnels", proxy.service.summary())
        (target,) = proxy.service._upstreams.known.values()
        target.up = False
        with proxy.connect():
            while not proxy.service.view.live():
                await in_thread(int)
            self.assertEqual("1 tunnel, 1 target down", proxy.service.summary())

    async def test_old_processes(self) -> None:
        """The processes that upgrades have replaced are in the status."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        view = proxy.service.view
        self.assertEqual([], view.status().old_processes)
        view.find_old_processes = lambda: [OldProcess(7, 3)]
        self.assertEqual([OldProcess(7, 3)], view.status().old_processes)

    async def test_take_fault(self) -> None:
        """A fault of the process before this one continues, if this configuration allows it."""
        proxy = Proxy(self, LISTENER + route("127.0.0.1:1"))
        view = proxy.service.view
        view.take_fault({"action": "cut", "name": "a", "listener": "public"}, 3, 2, True)
        self.assertEqual([("a", 3, 2)], [(one["name"], one["matched"], one["applied"]) for one in view.status().faults])
        self.assertRaises(BadValue, view.take_fault, {"action": "cut", "listener": "gone"}, 3, 2, True)

    async def test_record(self) -> None:
        """One recording at a time, of inspected listeners."""
        view = Proxy(self, LISTENER + route("127.0.0.1:1")).service.view
        error = self.assertRaises(CannotRecord, view.record, [], Recording(), send)
        self.assertIn("no listener is inspected", str(error))
        tap = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nplaintext = true\ninspect = "pulsar"\n'
        text = "".join(f'{tap}name = "{name}"\ntarget = "127.0.0.1:1"\n' for name in ("one", "two"))
        view = Proxy(self, LISTENER + text + route("127.0.0.1:1")).service.view
        for name in ("public", "gone"):
            error = self.assertRaises(CannotRecord, view.record, [name], Recording(), send)
            self.assertIn(f"'{name}' is no inspected listener; inspected: one, two", str(error))
        names, stop = view.record(["two", "two"], Recording(), send)
        self.assertEqual(["two"], names)
        error = self.assertRaises(CannotRecord, view.record, [], Recording(), send)
        self.assertIn("another recording is running", str(error))
        stop()
        self.assertEqual(["one", "two"], view.record([], Recording(), send)[0])

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
                self.assertEqual([NAME], [one.name for one in view.readiness().drains])
                self.assertEqual([NAME], [one.name for one in view.status().drains])
                self.assertEqual(NAME, view.undrain(NAME).name)
                self.assertRaises(UnknownDrainTarget, view.undrain, NAME)
                self.assertRaises(UnknownDrainTarget, view.drain, "nobody.test", 1.0)
                self.assertEqual("target", view.drain("later.test:1", 1.0, "target").kind)
                view.undrain("later.test:1")
        await proxy.ended()
