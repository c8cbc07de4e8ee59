"""Tests for sniproxy.resolvers.zookeeper.session; a real ZooKeeper is asked by tests.peers.test_zookeeper_resolver."""

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
from twisted.internet import reactor as global_reactor
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase

from sniproxy.resolvers.zookeeper import session
from sniproxy.resolvers.zookeeper.access import Credentials
from sniproxy.resolvers.zookeeper.session import Handler, Lost, Session

reactor: Any = global_reactor


class Result:
    """What kazoo gives for an answer that comes later."""

    value: Any = None
    exception: Exception | None = None
    callback: Callable[[Any], None]

    def rawlink(self, callback: Callable[[Any], None]) -> None:
        self.callback = callback

    def comes(self, value: Any = None, exception: Exception | None = None) -> Any:
        """It comes, in another thread."""
        self.value, self.exception = value, exception
        return deferToThread(self.callback, self)


class Client:
    """A client as kazoo has it."""

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
    """What comes in threads goes on in the reactor's."""

    def setUp(self) -> None:
        self.told: list[tuple[str, bool]] = []
        self.next: Deferred[None] = Deferred()

        def teller(what: str) -> Callable[..., None]:
            def tell(*_: str) -> None:
                self.told.append((what, threading.current_thread() is threading.main_thread()))
                told, self.next = self.next, Deferred()
                told.callback(None)

            return tell

        def client(**options: Any) -> Client:
            self.client = Client(**options)
            return self.client

        self.login = Path(self.mktemp())
        access = Credentials(digest=str(self.login))
        self.session = Session(reactor, "zk:1", access, teller("came"), teller("went"), teller("changed"), client)

    async def test_states(self) -> None:
        """That the session stands or not, and that nodes have changed, is told in the reactor's thread."""
        self.session.children("/a").addErrback(lambda _: None)
        for call, argument in (
            (self.client.listener, KazooState.CONNECTED),
            (self.client.listener, KazooState.SUSPENDED),
            (self.client.listener, KazooState.LOST),
            (self.client.watch, WatchedEvent(EventType.CHILD, KeeperState.CONNECTED, "/a")),
        ):
            told = self.next
            await deferToThread(call, argument)
            await told
        self.assertEqual([(what, True) for what in ("came", "went", "went", "changed")], self.told)

    async def test_watches_end(self) -> None:
        """That watches end with their session is no change of nodes."""
        self.session.children("/a").addErrback(lambda _: None)
        await deferToThread(self.client.watch, WatchedEvent(EventType.NONE, KeeperState.CONNECTING, None))
        await self.round()
        self.assertEqual([], self.told)

    async def test_answers(self) -> None:
        """Children and data come, and a node that is gone is none."""
        children, data, gone = self.session.children("/a"), self.session.data("/a/b"), self.session.data("/a/c")
        first, second, third = self.client.results
        await first.comes(["b", "c"])
        await second.comes((b"{}", object()))
        await third.comes(exception=NoNodeError())
        self.assertEqual((["b", "c"], b"{}", None), (await children, await data, await gone))

    async def test_failures(self) -> None:
        """What fails says why, by kazoo's name for it; a node without children to ask for is a failure, too."""
        for error, words in ((ConnectionLoss(), "ConnectionLoss"), (NoNodeError(), "no such node")):
            asked = self.session.children("/a")
            await self.client.results.pop().comes(exception=error)
            with self.assertRaises(Lost) as raised:
                await asked
            self.assertEqual(words in str(raised.exception), True, raised.exception)

    async def test_cancelled(self) -> None:
        """An answer for which nobody waits any more is dropped."""
        asked = self.session.children("/a")
        asked.cancel()
        await self.client.results[0].comes([])
        with self.assertRaises(CancelledError):
            await asked

    async def test_stop(self) -> None:
        """Starting is done at once, ending beside the reactor; nothing is told after it."""
        self.session.start()
        ended = self.session.stop()
        await deferToThread(self.client.listener, KazooState.LOST)
        await ended
        self.assertEqual([("start", True), ("stop", False), ("close", False)], self.client.said)
        await self.round()
        self.assertEqual([], self.told)

    async def test_stop_waits_for_no_lookup(self) -> None:
        """A stop does not wait for a lookup that keeps kazoo's thread from ending."""
        looked_up = threading.Event()
        self.addCleanup(looked_up.set)
        self.patch(session, "CUT_TIMEOUT_S", 0.01)
        self.patch(self.client, "connected", False)
        self.patch(self.client, "stop", lambda: looked_up.wait(60))
        await self.session.stop()
        self.assertFalse(looked_up.is_set())

    async def test_stop_unconnected(self) -> None:
        """What waits for an answer of a server is not waited for."""
        self.client.connected = False
        await self.session.stop()
        with self.assertRaises(OSError):
            self.client.options["handler"].create_connection(("127.0.0.1", 1), timeout=1.0)

    async def test_login(self) -> None:
        """The login is read for each connection; one that cannot be read is told of, without what is in it."""
        connect = self.client.options["handler"].create_connection
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        for text in ("me:one", "me:two"):
            self.login.write_text(text + "\n")
            opened = await deferToThread(connect, listening.getsockname(), timeout=9.0)
            opened.close()
            self.assertEqual({("digest", text)}, self.client.auth_data)
        self.login.write_text("secret")
        told = self.next
        with self.assertRaises(OSError) as raised:
            await deferToThread(connect, listening.getsockname(), timeout=9.0)
        await told
        self.assertEqual([("went", True)], self.told)
        self.assertNotIn("secret", str(raised.exception))

    async def round(self) -> None:
        """What was handed over so far has been done."""
        done: Deferred[None] = Deferred()
        reactor.callFromThread(done.callback, None)
        await done


class HandlerTests(SynchronousTestCase):
    """Connections, over loopback."""

    def setUp(self) -> None:
        self.failed: list[str] = []
        self.context: ssl.SSLContext | None = None
        self.handler = Handler(lambda: self.context, self.failed.append)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(self.listening.close)
        self.address = self.listening.getsockname()

    def connect(self, hostname: str = "zk-1.test") -> socket.socket:
        opened = self.handler.create_connection(address=self.address, hostname=hostname, timeout=9.0, use_ssl=False)
        self.addCleanup(opened.close)
        return opened

    def test_connects(self) -> None:
        """Without TLS it is what kazoo makes."""
        self.connect().sendall(b"a")
        self.assertEqual(([], b"a"), (self.failed, self.listening.accept()[0].recv(1)))

    def test_refused(self) -> None:
        """What cannot be reached is told by the name that the operator gave it."""
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
        """One connection."""
        plain, _ = self.listening.accept()
        with plain, contextlib.suppress(OSError), context.wrap_socket(plain, server_side=True) as opened:
            self.read = [opened.recv(1)]

    def test_cut(self) -> None:
        """Who reads from what is cut reads its end; there is no other connection, and no pause before one."""
        opened = self.connect()
        self.handler.cut()
        self.handler.sleep_func(3600.0)
        self.assertEqual(b"", opened.recv(1))
        self.assertRaises(OSError, self.connect)
