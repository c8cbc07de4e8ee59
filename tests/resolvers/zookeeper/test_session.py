"""Tests for sniproxy.resolvers.zookeeper.session; tests.peers.test_zookeeper has a real ZooKeeper."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme
from kazoo.exceptions import ConnectionLoss, NoNodeError
from kazoo.protocol.states import EventType, KazooState, KeeperState, WatchedEvent
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.resolvers.zookeeper import session
from sniproxy.resolvers.zookeeper.access import ZooKeeperCredentials
from sniproxy.resolvers.zookeeper.session import KazooHandler, KazooSession, ZooKeeperFailure
from tests.support.reactor import reactor


class Result:
    """kazoo's asynchronous result."""

    value: Any = None
    exception: Exception | None = None
    callback: Callable[[Any], None]

    def rawlink(self, callback: Callable[[Any], None]) -> None:
        self.callback = callback

    def comes(self, value: Any = None, exception: Exception | None = None) -> Any:
        """Fire the result in another thread."""
        self.value, self.exception = value, exception
        return deferToThread(self.callback, self)


class Client:
    """A fake of kazoo's client."""

    connected = True
    auth_data: set[tuple[str, str]]

    def __init__(self, **options: Any) -> None:
        self.options = options
        self.said: list[tuple[str, bool]] = []
        self.results: list[Result] = []

    def add_listener(self, listener: Callable[[Any], None]) -> None:
        self.listener = listener

    def start_async(self) -> None:
        self.say("start")

    def stop(self) -> None:
        self.say("stop")

    def close(self) -> None:
        self.say("close")

    def say(self, what: str) -> None:
        self.said.append((what, threading.current_thread() is threading.main_thread()))

    def get_children_async(self, path: str, watch: Callable[[Any], None]) -> Result:
        self.watch = watch
        return self.get_async(path)

    def get_async(self, path: str) -> Result:
        self.results.append(Result())
        return self.results[-1]


class SessionTests(TestCase):
    """Results of kazoo threads arrive in the reactor thread."""

    def setUp(self) -> None:
        self.calls: list[tuple[str, bool]] = []
        self.next: Deferred[None] = Deferred()

        def recorder(what: str) -> Callable[..., None]:
            def record(*_: str) -> None:
                self.calls.append((what, threading.current_thread() is threading.main_thread()))
                called, self.next = self.next, Deferred()
                called.callback(None)

            return record

        def client(**options: Any) -> Client:
            self.client = Client(**options)
            return self.client

        self.login = Path(self.mktemp())
        access = ZooKeeperCredentials(digest=str(self.login))
        self.session = KazooSession(
            reactor, "zk:1", access, recorder("connected"), recorder("lost"), recorder("changed"), client
        )

    async def test_states(self) -> None:
        """The callbacks run in the reactor thread."""
        self.session.children("/a").addErrback(lambda _: None)
        for call, argument in (
            (self.client.listener, KazooState.CONNECTED),
            (self.client.listener, KazooState.SUSPENDED),
            (self.client.listener, KazooState.LOST),
            (self.client.watch, WatchedEvent(EventType.CHILD, KeeperState.CONNECTED, "/a")),
        ):
            called = self.next
            await deferToThread(call, argument)
            await called
        self.assertEqual([(what, True) for what in ("connected", "lost", "lost", "changed")], self.calls)

    async def test_watches_end(self) -> None:
        """The end of a watch with its session is not a change."""
        self.session.children("/a").addErrback(lambda _: None)
        await deferToThread(self.client.watch, WatchedEvent(EventType.NONE, KeeperState.CONNECTING, None))
        await self.round()
        self.assertEqual([], self.calls)

    async def test_answers(self) -> None:
        """Children and data are returned; the data of a missing node are None."""
        children, data, gone = self.session.children("/a"), self.session.data("/a/b"), self.session.data("/a/c")
        first, second, third = self.client.results
        await first.comes(["b", "c"])
        await second.comes((b"{}", object()))
        await third.comes(exception=NoNodeError())
        self.assertEqual((["b", "c"], b"{}", None), (await children, await data, await gone))

    async def test_failures(self) -> None:
        """The failure has the name of kazoo's error; a missing node has no children."""
        for error, words in ((ConnectionLoss(), "ConnectionLoss"), (NoNodeError(), "no such node")):
            asked = self.session.children("/a")
            await self.client.results.pop().comes(exception=error)
            with self.assertRaises(ZooKeeperFailure) as raised:
                await asked
            self.assertEqual(words in str(raised.exception), True, raised.exception)

    async def test_cancelled(self) -> None:
        """A result after a cancellation is ignored."""
        asked = self.session.children("/a")
        asked.cancel()
        await self.client.results[0].comes([])
        with self.assertRaises(CancelledError):
            await asked

    async def test_stop(self) -> None:
        """Start does not block, stop runs in a thread, and no callback is called afterwards."""
        self.session.start()
        ended = self.session.stop()
        await deferToThread(self.client.listener, KazooState.LOST)
        await ended
        self.assertEqual([("start", True), ("stop", False), ("close", False)], self.client.said)
        await self.round()
        self.assertEqual([], self.calls)

    async def test_stop_waits_for_no_lookup(self) -> None:
        """A stop does not wait for a DNS lookup of kazoo's thread."""
        looked_up = threading.Event()
        self.addCleanup(looked_up.set)
        self.patch(session, "ABORT_TIMEOUT_S", 0.01)
        self.patch(self.client, "connected", False)
        self.patch(self.client, "stop", lambda: looked_up.wait(60))
        await self.session.stop()
        self.assertFalse(looked_up.is_set())

    async def test_stop_unconnected(self) -> None:
        """A stop does not wait for an answer of a server."""
        self.client.connected = False
        await self.session.stop()
        with self.assertRaises(OSError):
            self.client.options["handler"].create_connection(("127.0.0.1", 1), timeout=1.0)

    async def test_login(self) -> None:
        """The login is read for each connect; an invalid one is reported without its contents."""
        connect = self.client.options["handler"].create_connection
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        for text in ("me:one", "me:two"):
            self.login.write_text(text + "\n")
            opened = await deferToThread(connect, listening.getsockname(), timeout=9.0)
            opened.close()
            self.assertEqual({("digest", text)}, self.client.auth_data)
        self.login.write_text("secret")
        called = self.next
        with self.assertRaises(OSError) as raised:
            await deferToThread(connect, listening.getsockname(), timeout=9.0)
        await called
        self.assertEqual([("lost", True)], self.calls)
        self.assertNotIn("secret", str(raised.exception))

    async def round(self) -> None:
        """Wait until the pending calls have run."""
        done: Deferred[None] = Deferred()
        reactor.callFromThread(done.callback, None)
        await done


class HandlerTests(SynchronousTestCase):
    """Connections over loopback."""

    def setUp(self) -> None:
        self.failed: list[str] = []
        self.context: ssl.SSLContext | None = None
        self.handler = KazooHandler(lambda: self.context, self.failed.append)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        self.address = self.listening.getsockname()

    def connect(self, hostname: str = "zk-1.test") -> socket.socket:
        opened = self.handler.create_connection(address=self.address, hostname=hostname, timeout=9.0, use_ssl=False)
        self.addCleanup(opened.close)
        return opened

    def test_connects(self) -> None:
        """Without TLS kazoo connects as usual."""
        self.connect().sendall(b"a")
        self.assertEqual(([], b"a"), (self.failed, self.listening.accept()[0].recv(1)))

    def test_refused(self) -> None:
        """A failed connect is reported with the configured name."""
        self.listening.close()
        self.assertRaises(OSError, self.connect)
        self.assertEqual([f"zk-1.test:{self.address[1]}: Connection refused"], self.failed)

    def test_tls(self) -> None:
        """With TLS the server's certificate is verified for its name."""
        authority = trustme.CA()
        self.context = ssl.create_default_context()
        authority.configure_trust(self.context)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert("zk-1.test").configure_cert(server)
        for name, good in (("zk-1.test", True), ("zk-2.test", False)):
            thread = threading.Thread(target=self.serve, args=(server,))
            thread.start()
            try:
                if good:
                    self.connect(name).sendall(b"a")
                else:
                    self.assertRaises(OSError, self.connect, name)
            finally:
                thread.join()
        self.assertEqual([b"a"], self.read)
        (why,) = self.failed
        self.assertTrue(why.startswith(f"zk-2.test:{self.address[1]}: "), why)
        self.assertIn("certificate verify failed", why)

    read: list[bytes]

    def serve(self, context: ssl.SSLContext) -> None:
        """Accept one connection."""
        plain, _ = self.listening.accept()
        with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as opened:
            self.read = [opened.recv(1)]

    def test_cut(self) -> None:
        """abort ends the connection, refuses further ones and ends the pause."""
        opened = self.connect()
        self.handler.abort()
        self.handler.sleep_func(3600.0)
        self.assertEqual(b"", opened.recv(1))
        self.assertRaises(OSError, self.connect)
