"""Tests for sniproxy.server.listeners."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import ExitStack

from twisted.internet.defer import DeferredList
from twisted.internet.error import CannotListenError

from sniproxy.config.parser import parse
from sniproxy.events import Result
from sniproxy.net.listener import can_defer
from sniproxy.net.reuseport import KeptEndpoint
from sniproxy.server.listeners import Listeners, ListenerSpec, raise_descriptor_limit, why_not_listening
from tests.support.conversation import route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Proxy
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase, in_thread, read_to_end


class StartTests(SocketTestCase):
    """why_not_listening: the reason for which a listener cannot be opened."""

    async def test_busy_port(self) -> None:
        """A busy port is an error that names its process; nothing listens afterwards."""
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            port = holder.getsockname()[1]
            text = LISTENER + f'[[listener]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n' + route("127.0.0.1:9")
            error = self.assertRaises(CannotListenError, Proxy, self, text)
            message = why_not_listening(error)
        self.assertIn(f"cannot listen on 127.0.0.1 port {port}: Address already in use", message)
        self.assertIn(f"it is held by pid {os.getpid()}", message)
        await in_thread(int)  # the first listener is closed in the reactor's next round

    def test_not_a_socket(self) -> None:
        """An endpoint without a listening socket is refused with a message."""
        error = CannotListenError("weird:1", None, ValueError("no socket"))
        self.assertEqual("cannot listen on weird:1: no socket", why_not_listening(error))

    def test_privileged_port(self) -> None:
        """For a privileged port the error names the missing privilege."""
        error = CannotListenError("127.0.0.1", 1, PermissionError(13, "Permission denied"))
        self.assertEqual(
            "cannot listen on 127.0.0.1 port 1: Permission denied; ports below 1024 require CAP_NET_BIND_SERVICE",
            why_not_listening(error),
        )

    def test_descriptor_limit(self) -> None:
        """The soft limit is raised to the hard limit."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1]), before[1]))
        self.assertEqual(before[1], raise_descriptor_limit())
        self.assertEqual((before[1], before[1]), resource.getrlimit(resource.RLIMIT_NOFILE))


class ChangeTests(SocketTestCase):
    """Listeners that a reload adds, keeps and removes."""

    def reload(self, proxy: Proxy, text: str) -> str | None:
        return proxy.service.reload(lambda: parse(text, "test.toml"))

    async def test_kept(self) -> None:
        """A kept listener keeps its socket and backlog; its name may change."""
        proxy = Proxy(self, LISTENER)
        before = proxy.service.addresses["public"]
        with proxy.connect() as client:
            self.assertIsNone(self.reload(proxy, LISTENER.replace("public", "renamed") + route("127.0.0.1:9")))
            self.assertEqual({"renamed": before}, proxy.service.addresses)
            client.sendall(hello(name="nobody.test"))
            await in_thread(read_to_end, client)
        record = await proxy.ended()
        self.assertEqual(("renamed", Result.NO_ROUTE), (record.listener, record.result))

    async def test_deferred_accept(self) -> None:
        """It can be switched on and off for a kept listener."""
        proxy = Proxy(self, LISTENER)
        [one] = proxy.service._listeners._open

        def deferred() -> int:
            return one.acceptor.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT)

        self.assertFalse(deferred())
        self.assertIsNone(self.reload(proxy, LISTENER.replace("[[listener]]", "[[listener]]\ndeferred_accept = true")))
        self.assertTrue(deferred())
        self.assertIsNone(self.reload(proxy, LISTENER))
        self.assertFalse(deferred())

    if not can_defer:
        test_deferred_accept.skip = "this system has no TCP_DEFER_ACCEPT"  # type: ignore[attr-defined]

    async def test_new_and_gone(self) -> None:
        """An added listener listens, a removed one does not, and clients that had connected to it are served."""
        proxy = Proxy(self, LISTENER)
        old = proxy.service.addresses["public"]
        new = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.2"\nname = "new"\n'
        with proxy.connect() as client:
            self.assertIsNone(self.reload(proxy, new))
            await in_thread(int)
            self.assertRaises(ConnectionRefusedError, socket.create_connection, old)
            client.sendall(hello(name="nobody.test"))
            await in_thread(read_to_end, client)
        self.assertEqual("public", (await proxy.ended()).listener)
        with proxy.connect("new") as client:
            client.sendall(hello(name="nobody.test"))
            await in_thread(read_to_end, client)
        self.assertEqual("new", (await proxy.ended(1)).listener)

    async def test_systemd(self) -> None:
        """A socket from systemd is closed only here: a waiting client is left to the next process."""
        [one] = parse('[[listener]]\nendpoint = "systemd:domain=INET:name=front"\n', "test.toml").listeners
        with socket.create_server(("127.0.0.1", 0)) as theirs, ExitStack() as undo:
            listeners = Listeners(reactor, lambda: None)
            change = listeners.prepare([ListenerSpec(one, KeptEndpoint(reactor, theirs.dup()))], undo)
            undo.pop_all()
            change(lambda entrance: lambda sock, client: sock.close())
            with socket.create_connection(theirs.getsockname()) as client:
                await DeferredList(listeners.stop())
                theirs.setblocking(False)
                accepted, came_from = theirs.accept()
                accepted.close()
                self.assertEqual(client.getsockname(), came_from)

    async def test_busy(self) -> None:
        """An added listener with a busy port fails the reload; its other new sockets are closed."""
        proxy = Proxy(self, LISTENER)
        before = proxy.service.addresses
        with socket.create_server(("127.0.0.1", 0)) as holder:
            text = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.2"\n'
            why = self.reload(proxy, text + f'[[listener]]\nendpoint = "tcp:{holder.getsockname()[1]}"\n')
        assert why is not None
        self.assertIn("Address already in use; it is held by pid", why)
        self.assertEqual(before, proxy.service.addresses)
        await in_thread(int)

    async def test_needs_a_restart(self) -> None:
        """A port of an existing listener cannot be taken over with other socket options: the error says so."""
        proxy = Proxy(self, LISTENER)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            port = probe.getsockname()[1]
        self.assertIsNone(self.reload(proxy, f'[[listener]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n'))
        why = self.reload(proxy, f'[[listener]]\nendpoint = "tcp:{port}"\n')
        assert why is not None
        self.assertIn(f"uses this port as tcp:{port}:interface=127.0.0.1:backlog=1024", why)
        self.assertIn("restart to change", why)
        await in_thread(int)
