"""Tests for sniproxy.server.listeners."""

from __future__ import annotations

import os
import resource
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import cast

import attrs
from msgspec.structs import replace
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.endpoints import TCP4ServerEndpoint, serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import capturedLogs, formatEvent
from zope.interface import implementer

from sniproxy.config.parser import parse
from sniproxy.events import Result
from sniproxy.net.listener import can_defer
from sniproxy.net.reuseport import KeptEndpoint
from sniproxy.server.listeners import Listeners, ListenerSpec, raise_descriptor_limit, why_not_listening
from tests.support.conversation import route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Proxy
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread, read_to_end


class Keeper:
    """A SocketKeeper that records its calls. @param predecessor: the socket of the previous process."""

    def __init__(self, predecessor: socket.socket | None = None) -> None:
        self.predecessor = predecessor
        self.calls: list[tuple[str, ...]] = []

    def take(self, endpoint: str) -> socket.socket | None:
        taken, self.predecessor = self.predecessor, None
        return taken

    def keep(self, endpoint: str, sock: socket.socket) -> None:
        self.calls.append(("keep", endpoint))

    def forget(self, endpoint: str) -> None:
        self.calls.append(("forget", endpoint))

    def forget_rest(self) -> None:
        self.calls.append(("forget rest",))


@implementer(IStreamServerEndpoint)
class Socketless:
    """An endpoint whose port has no socket."""

    stopped = False

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:
        return succeed(cast(IListeningPort, self))

    def stopListening(self) -> None:
        self.stopped = True


def spec(text: str = "tcp:0:interface=127.0.0.1") -> ListenerSpec:
    """A listener with this endpoint."""
    [one] = parse(f'[[listener]]\nendpoint = "{text}"\nname = "public"\n', "test.toml").listeners
    return ListenerSpec(one, serverFromString(reactor, text))


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

    def test_no_such_address(self) -> None:
        """A port that nobody holds, and that needs no privilege: the system's reason alone."""
        error = CannotListenError("192.0.2.1", 0, OSError(99, "Cannot assign requested address"))
        self.assertEqual("cannot listen on 192.0.2.1 port 0: Cannot assign requested address", why_not_listening(error))

    def test_unix(self) -> None:
        """A unix socket is named by its path, with the cure if there is one."""
        for problem, said in (
            (PermissionError(13, "Permission denied"), "cannot listen on /nowhere/x: Permission denied"),
            (ValueError("too long"), "cannot listen on /nowhere/x: too long"),
        ):
            self.assertEqual(said, why_not_listening(CannotListenError(None, "/nowhere/x", problem)))
        path = Path(self.mktemp())
        path.touch()
        error = CannotListenError(None, str(path), OSError(98, "Address already in use"))
        self.assertEqual(
            f"cannot listen on {path}: Address already in use; it is not a socket; remove it or use another path",
            why_not_listening(error),
        )

    def test_descriptor_limit_fixed(self) -> None:
        """Where the limit may not be raised, it stays."""
        before = resource.getrlimit(resource.RLIMIT_NOFILE)
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, before)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(512, before[1] - 1), before[1]))

        def refuse(kind: int, limits: tuple[int, int]) -> None:
            raise ValueError("not allowed to raise maximum limit")

        self.patch(resource, "setrlimit", refuse)
        self.assertEqual(min(512, before[1] - 1), raise_descriptor_limit())

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
            assert one.acceptor is not None
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
        with socket.create_server(("127.0.0.1", 0)) as theirs:
            listeners = Listeners(reactor, lambda: None)
            self.change(listeners, ListenerSpec(one, KeptEndpoint(reactor, theirs.dup())))
            with socket.create_connection(theirs.getsockname()) as client:
                await DeferredList(listeners.stop())
                theirs.setblocking(False)
                accepted, came_from = theirs.accept()
                accepted.close()
                self.assertEqual(client.getsockname(), came_from)

    def listeners(self, keeper: Keeper | None = None) -> Listeners:
        """Listeners that are closed when the test ends."""
        made = Listeners(reactor, lambda: None, keeper)
        self.addCleanup(lambda: DeferredList(made.stop()))
        return made

    def change(self, listeners: Listeners, *specs: ListenerSpec) -> None:
        """Make these the listeners, and close each connection to them."""
        with ExitStack() as undo:
            change = listeners.prepare(specs, undo)
            undo.pop_all()
        change(lambda entrance: lambda sock, client: sock.close())

    async def test_follow(self) -> None:
        """A listener whose port must refuse is closed, and opened again on the same port; others stay open."""
        [one, two] = parse(
            '[[listener]]\nname = "one"\nendpoint = "tcp:0:interface=127.0.0.1"\n'
            '[[listener]]\nname = "two"\nendpoint = "tcp:0:interface=127.0.0.1"\n', "test.toml"
        ).listeners  # fmt: skip
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        fixed = TCP4ServerEndpoint(reactor, port, interface="127.0.0.1")
        listeners = self.listeners()
        self.change(listeners, ListenerSpec(one, fixed), ListenerSpec(two, TCP4ServerEndpoint(reactor, 0)))
        address = listeners.addresses["one"]
        for _ in range(2):
            listeners.follow(lambda entrance: "no target is up" if entrance.name == "one" else None)
            self.assertEqual({"one"}, listeners.closed)
            await in_thread(int)  # the port closes in the next round of the reactor
            self.assertRaises(ConnectionRefusedError, socket.create_connection, address)
            socket.create_connection(("127.0.0.1", listeners.addresses["two"][1])).close()
            self.assertEqual(address, listeners.addresses["one"])
        with socket.create_server(address):
            for _ in range(2):
                listeners.follow(lambda entrance: None)
                self.assertEqual({"one"}, listeners.closed)
        listeners.follow(lambda entrance: None)
        self.assertEqual(frozenset(), listeners.closed)
        with socket.create_connection(address) as client:
            self.assertEqual(b"", await in_thread(read_to_end, client))
        listeners.follow(lambda entrance: "no target is up" if entrance.name == "one" else None)
        await in_thread(int)
        # A configuration without the key opens it.
        self.change(listeners, ListenerSpec(one, fixed), ListenerSpec(two, TCP4ServerEndpoint(reactor, 0)))
        self.assertEqual(frozenset(), listeners.closed)
        socket.create_connection(address).close()

    async def test_keeper(self) -> None:
        """A TCP socket is kept for the next process until the listener closes, unless its port may be closed."""
        keeper = Keeper()
        listeners = self.listeners(keeper)
        one = spec()
        self.change(listeners, one)
        self.change(listeners, one)
        text = one.listener.endpoint.text
        self.assertEqual([("keep", text), ("forget rest",), ("forget rest",)], keeper.calls)
        other = spec(f"unix:{Path(self.mktemp()).absolute()}")
        self.change(listeners, other)
        self.assertEqual([("forget", text), ("forget rest",)], keeper.calls[3:])
        alone = spec("tcp:0:interface=127.0.0.2")
        closing = ListenerSpec(replace(alone.listener, closed_when_down="a.test"), alone.endpoint)
        self.change(listeners, closing)
        self.assertEqual([("forget", other.listener.endpoint.text), ("forget rest",)], keeper.calls[5:])
        await DeferredList(listeners.stop())
        self.assertEqual([("forget", alone.listener.endpoint.text)], keeper.calls[7:])

    async def test_taken(self) -> None:
        """The socket of the previous process is used, with the client that waits in it."""
        sock = socket.create_server(("127.0.0.1", 0))
        address = sock.getsockname()
        listeners = self.listeners(Keeper(sock))
        with socket.create_connection(address, timeout=TIMEOUT_S) as client:
            self.change(listeners, spec())
            self.assertEqual({"public": address}, listeners.addresses)
            self.assertEqual(b"", await in_thread(client.recv, 1))

    async def test_hold(self) -> None:
        """Held listeners accept nothing, also those that a reload opens; released ones accept who waits."""
        listeners = self.listeners()
        self.change(listeners, spec())
        listeners.hold()
        other = attrs.evolve(spec(), listener=replace(spec().listener, name="other"))
        self.change(listeners, spec(), other)
        clients = [socket.create_connection(address, TIMEOUT_S) for address in listeners.addresses.values()]
        for client in clients:
            self.addCleanup(client.close)
            client.setblocking(False)
        for _ in range(5):
            await in_thread(int)
        for client in clients:
            self.assertRaises(BlockingIOError, client.recv, 1)
            client.settimeout(TIMEOUT_S)
        listeners.release()
        for client in clients:
            self.assertEqual(b"", await in_thread(client.recv, 1))

    async def test_hand_over(self) -> None:
        """A socket that another process has stays open there; others are closed, as when the proxy stops."""
        listeners = self.listeners()
        other = attrs.evolve(spec(), listener=replace(spec().listener, name="other"))
        self.change(listeners, spec(), other)
        (text, first), (_, second) = listeners.sockets
        self.assertEqual(spec().listener.endpoint.text, text)
        addresses = [sock.getsockname() for sock in (first, second)]
        with first.dup() as theirs:
            listeners.hold()
            listeners.hand_over([first])
            self.assertEqual(([], {}), (listeners.sockets, listeners.addresses))
            with socket.create_connection(addresses[0], TIMEOUT_S) as client:
                theirs.settimeout(TIMEOUT_S)
                accepted, peer = await in_thread(theirs.accept)
                accepted.close()
                self.assertEqual(client.getsockname(), peer)
        await DeferredList(listeners.stop())
        self.assertRaises(ConnectionRefusedError, socket.create_connection, addresses[1], TIMEOUT_S)
        listeners.hand_over([])

    async def test_closed_meanwhile(self) -> None:
        """A listener that is closed because its targets are down has nothing to hold or to hand over."""
        listeners = self.listeners()
        self.change(listeners, spec())
        listeners.follow(lambda entrance: "down")
        listeners.hold()
        self.assertEqual([], listeners.sockets)
        listeners.follow(lambda entrance: None)
        [address] = listeners.addresses.values()
        with socket.create_connection(address, TIMEOUT_S) as client:
            client.setblocking(False)
            await in_thread(int)
            self.assertRaises(BlockingIOError, client.recv, 1)  # held
            listeners.follow(lambda entrance: "down")
            listeners.release()
            listeners.hand_over([])
        await DeferredList(listeners.stop())

    async def test_nothing_open(self) -> None:
        """To stop without a listener closes nothing."""
        self.assertEqual([], Listeners(reactor, lambda: None).stop())

    async def test_without_a_socket(self) -> None:
        """An endpoint whose port has no socket is refused and closed."""
        endpoint = Socketless()
        listeners = self.listeners()
        wanted = ListenerSpec(spec().listener, endpoint)
        error = self.assertRaises(CannotListenError, self.change, listeners, wanted)
        self.assertTrue(endpoint.stopped)
        self.assertIn("this kind of endpoint has no listening socket of its own", why_not_listening(error))

    async def test_early(self) -> None:
        """A client that comes before its listener is in force is closed."""
        with ExitStack() as undo:
            listeners = Listeners(reactor, lambda: None)
            sock = socket.create_server(("127.0.0.1", 0))
            with socket.create_connection(sock.getsockname(), timeout=TIMEOUT_S) as client:
                listeners.prepare([attrs.evolve(spec(), endpoint=KeptEndpoint(reactor, sock))], undo)
                self.assertEqual(b"", await in_thread(client.recv, 1))
        await in_thread(int)

    async def test_unix(self) -> None:
        """A listener on a unix socket has no address; the log names its endpoint."""
        listeners, wanted = self.listeners(), spec(f"unix:{self.mktemp()}")
        with capturedLogs() as logged:
            self.change(listeners, wanted)
        self.assertEqual({}, listeners.addresses)
        said = f"listener public: listening on {wanted.listener.endpoint.text}"
        self.assertIn(said, [formatEvent(event) for event in logged])

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
