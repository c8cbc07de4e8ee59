"""Tests for sniproxy.server.workers.admin.endpoint."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.internet.error import CannotListenError
from twisted.internet.task import deferLater
from twisted.logger import capturedLogs
from twisted.trial.unittest import TestCase

from sniproxy.admin.sources import Reloads
from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.net.listener import hand_over
from sniproxy.server.build import build
from sniproxy.server.workers.admin.endpoint import SupervisorAdmin
from tests.admin.token import TOKEN
from tests.server.workers.admin.fakes import AskedWorker, draining
from tests.server.workers.handovers import worker_state
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, in_thread

TEXT = 'workers = 2\n[[listener]]\nendpoint = "tcp:4443"\n'


class EndpointTests(TestCase):
    """SupervisorAdmin: listens where the configuration says."""

    def setUp(self) -> None:
        self.admin = SupervisorAdmin(reactor, parse(TEXT, "a.toml"), tuple)
        self.addCleanup(self.admin.close)

    def checked(self, admin: str) -> Configuration:
        """A configuration with these lines in C{[admin]}, as the supervisor has checked it."""
        found = parse(f"{TEXT}[admin]\n{admin}" if admin else TEXT, "a.toml")
        self.admin.built = build(found, reactor)
        return found

    @property
    def port(self) -> Any:
        return self.admin._port

    def test_start(self) -> None:
        """It listens, and the proxy is ready; without an endpoint, too."""
        with capturedLogs() as events:
            self.admin.start(self.checked('endpoint = "tcp:0:interface=127.0.0.1"'))
        self.assertEqual([f"127.0.0.1:{self.port.getHost().port}"], [one["where"] for one in events if "where" in one])
        self.assertTrue(self.admin.state.ready)
        self.admin.stopping()
        self.assertFalse(self.admin.state.ready)
        self.admin.close()
        self.admin.close()
        other = SupervisorAdmin(reactor, parse(TEXT, "a.toml"), tuple)
        other.start(parse(TEXT, "a.toml"))
        self.assertTrue(other.state.ready)

    def test_move(self) -> None:
        """A reload keeps the port, moves it, and takes hosts and the token; a failure changes nothing."""
        token, sock = Path(self.mktemp()), Path(self.mktemp())
        token.write_text(TOKEN)
        token.chmod(0o600)
        self.admin.start(self.checked('endpoint = "tcp:0:interface=127.0.0.1"'))
        before = self.port
        more = f'endpoint = "tcp:0:interface=127.0.0.1"\nhosts = ["a"]\ntoken_file = "{token.absolute()}"'
        self.admin.prepare(self.checked(more))(True)
        self.assertIs(before, self.port)
        site = before.factory
        self.assertEqual((TOKEN.encode(), frozenset({"a"})), (site.token, site.hosts))
        missing = self.checked('endpoint = "unix:/nonexistent/folder/socket"')
        self.assertRaises(CannotListenError, self.admin.prepare, missing)
        self.assertIs(before, self.port)
        with capturedLogs() as events:
            self.admin.prepare(self.checked(f'endpoint = "unix:{sock}"'))(True)
        self.assertTrue(sock.is_socket())
        self.assertIn(f"unix:{sock}", next(one["where"] for one in events if "where" in one))
        self.assertEqual((None, frozenset()), (site.token, site.hosts))
        self.assertTrue(before.disconnecting)
        self.admin.prepare(self.checked(""))(True)
        self.assertIsNone(self.port)

    async def test_not_used(self) -> None:
        """A port that is not used is closed, and the present one stays."""
        sock = Path(self.mktemp())
        self.admin.start(self.checked('endpoint = "tcp:0:interface=127.0.0.1"'))
        before = self.port
        self.admin.prepare(self.checked(f'endpoint = "unix:{sock}"'))(False)
        while sock.exists():  # the port closes in a later turn of the reactor
            await deferLater(reactor, 0)
        self.admin.prepare(self.checked('endpoint = "tcp:0:interface=127.0.0.1"'))(False)
        self.admin.prepare(self.checked(""))(False)
        self.assertIs(before, self.port)
        self.assertFalse(before.disconnecting)

    async def test_close(self) -> None:
        """When the endpoint is closed, the path of its socket is gone."""
        sock = Path(self.mktemp())
        self.admin.start(self.checked(f'endpoint = "unix:{sock}"'))
        self.assertTrue(sock.exists())
        await self.admin.close()
        self.assertFalse(sock.exists())
        await self.admin.close()

    def test_replaced(self) -> None:
        """What a worker has counted stays in the sums when another one has taken over from it."""
        worker: Any = AskedWorker(1)
        calls: list[object] = []
        self.patch(self.admin.drains, "ended", calls.append)
        self.patch(self.admin._site, "ended", calls.append)
        self.admin.replaced(worker)
        self.assertEqual([worker, worker], calls)

    def test_ended(self) -> None:
        """A worker that ends does not hold a reload up."""
        worker: Any = AskedWorker(1)
        self.admin.drains.started(worker, {})
        self.admin.state.reload_sent([1])
        self.admin.ended(worker)
        self.assertEqual(1, self.admin.state.reloads.succeeded)

    async def test_left(self) -> None:
        """The socket of another process, which continues with it, is closed here only; it serves when it is to."""
        with socket.create_server(("127.0.0.1", 0)) as sock:
            address = sock.getsockname()
            text = f'endpoint = "tcp:{address[1]}:interface=127.0.0.1"'
            self.admin.use_socket(sock.dup())
            self.admin.start(self.checked(text))
            self.admin.hold()
            self.admin.state.ready = False
            self.admin.serve()
            self.assertTrue(self.admin.state.ready)
            with socket.create_connection(address, TIMEOUT_S) as client:
                client.sendall(b"GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
                self.assertIn(b" 503 ", await in_thread(client.recv, 100))
            self.admin.leave()
            self.admin.leave()
            socket.create_connection(address, TIMEOUT_S).close()
        self.admin._site.doStop()

    async def test_drains_of_one(self) -> None:
        """The drains of a worker are those of all; without an endpoint there are none."""
        worker: Any = AskedWorker(0, status={"drains": [draining()({"name": "a.test", "rate": "4"})]})
        await self.admin.learn_drains(worker)
        self.assertEqual({}, self.admin.drains.drains)
        self.admin.state.use(self.checked('endpoint = "unix:/a"'))
        await self.admin.learn_drains(worker)
        self.assertEqual([("route", "a.test")], list(self.admin.drains.drains))

    async def test_handed_over(self) -> None:
        """Another program continues with the listening socket, the drains, and what the page shows."""
        self.admin.hold()  # without an endpoint there is nothing to hold
        self.admin.release()
        self.admin.lock(True)
        nothing, _ = self.admin.hand_over({})
        self.assertIsNone(nothing.socket)
        self.admin.adopt(nothing, {})
        path = Path(self.mktemp())
        settings = self.checked(f'endpoint = "unix:{path}"')
        assert settings.admin is not None
        self.admin.start(settings)
        self.admin.drains.restore([("route", "a.test", 2.0, 3.0)])
        self.admin.state.adopt(1.0, 2.0, Reloads(4, 5, "bad", 6.0))
        worker: Any = AskedWorker(1)
        self.admin.drains.adopt(worker, [("route", "a.test", 1.0)])
        self.admin.hold()
        self.assertFalse(self.admin.busy)
        state, (one,) = self.admin.hand_over({worker: worker_state(1)})
        self.assertEqual((settings.admin.endpoint.text, (("route", "a.test", 1.0),)), (state.endpoint, one.drains))
        lock = Path(f"{path}.lock")
        self.admin.lock(False)
        self.assertFalse(lock.is_symlink())
        self.admin.lock(True)
        self.assertTrue(lock.is_symlink())
        self.admin.lock(False)
        # As execve(2): the descriptor is open, and the port is gone.
        assert state.socket is not None
        state = replace(state, socket=os.dup(state.socket))
        hand_over(self.port)
        self.admin._port = None
        self.admin._site.doStop()
        self.admin = SupervisorAdmin(reactor, settings, tuple)
        self.admin.built = build(settings, reactor)
        self.addCleanup(self.admin.close)
        self.admin.adopt(state, {worker: one})
        self.admin.start(settings)
        self.assertTrue(path.is_socket())
        again, (other,) = self.admin.hand_over({worker: worker_state(1)})
        self.assertEqual(replace(state, socket=0), replace(again, socket=0))
        self.assertEqual(one, other)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT_S)
            client.connect(str(path))
            client.sendall(b"GET /ready HTTP/1.0\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 503 ", await in_thread(client.recv, 100))
