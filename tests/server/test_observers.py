"""The observers of a running proxy, mainly the admin endpoint."""

from __future__ import annotations

import json
import os
import re
import socket
import urllib.error
import urllib.request
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import attrs
from twisted.internet.error import CannotListenError
from twisted.logger import capturedLogs

from sniproxy.admin.sources import StatusSource
from sniproxy.config.parser import parse
from sniproxy.config.workers import for_worker
from sniproxy.events import Connection, Result
from sniproxy.server.listeners import why_not_listening
from sniproxy.server.observers import Observers
from sniproxy.server.workers.admin.channel import ChannelEndpoint
from sniproxy.util.buffered import BufferAccount
from tests.support.adminendpoint import ADMIN
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.lookups import ASK, TOPIC, answer
from tests.support.proxies import LISTENER, Backend, Proxy, open_tunnel
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread, read_exactly, read_to_end

INSPECTED = '[[listener]]\nname = "tap"\nendpoint = "tcp:6650"\nplaintext = true\ntarget = "h:1"\ninspect = "pulsar"\n'


class LogTests(SocketTestCase):
    """The logs, and observers of ended connections."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.seen: list[str] = []
        self.account = BufferAccount()
        self.observers = Observers(
            reactor, cast(StatusSource, None), lambda host, entrance: None, self.observe, self.account
        )

    def observe(self, connection: Connection) -> None:
        self.seen.append(connection.id)
        if connection.id == "bad":
            raise ZeroDivisionError

    def use(self, text: str) -> None:
        """Prepare a configuration, and activate it."""
        with ExitStack() as undo:
            change = self.observers.prepare(parse(LISTENER + route("h:1") + text, "x.toml"), None, undo)
            undo.pop_all()
        change()

    def lines(self, name: str) -> list[str]:
        return [json.loads(line)["id"] for line in (self.folder / name).read_text().splitlines()]

    def access_log(self, name: str) -> str:
        return f'[access_log]\npath = "{self.folder / name}"\n'

    def both_logs(self, access: str, inspect: str) -> str:
        return f'{INSPECTED}{self.access_log(access)}[inspect_log]\npath = "{self.folder / inspect}"\n'

    async def test_access_log(self) -> None:
        """A reload closes the access log only if its path changes; after a rotation it is opened again."""
        for text in (self.access_log("a"), self.access_log("a"), self.access_log("b")):
            self.use(text)
            self.observers.ended(Connection(str(len(self.seen)), 0.0, "", ""))
        os.rename(self.folder / "b", self.folder / "b.1")
        self.observers.reopen()
        self.observers.ended(Connection("3", 0.0, "", ""))
        await self.observers.close()
        self.assertEqual((["0", "1"], ["2"], ["3"]), (self.lines("a"), self.lines("b.1"), self.lines("b")))
        self.assertEqual(0, self.observers.lost)
        self.assertNotIn("lost", self.observers.summary())

    async def test_opened(self) -> None:
        """Open tunnels have lines as long as the configuration asks for them."""
        tunnel: Any = SimpleNamespace(
            record=Connection("1", 0.0, "", ""), bytes_up=1, bytes_down=2, ended=False, elapsed=lambda: 3.0
        )
        for more, lines in (("", 0), ("opened = true\n", 1), ("opened = true\nrepeat = 60\n", 2), ("", 2)):
            self.use(self.access_log("a") + more)
            self.observers.opened(tunnel)
            self.observers.reopen()  # writes what waits
            self.assertEqual(["1"] * lines, self.lines("a"))
        self.use(self.access_log("a") + "opened = true\nrepeat = 60\n")
        self.observers.opened(tunnel)
        await self.observers.close()

    async def test_lost(self) -> None:
        """Lost lines count across reloads, and are in the summary."""
        self.use(self.both_logs("a", "b"))
        for log in (self.observers._access_log, self.observers._event_log):
            assert log is not None
            assert log._writer is not None
            log._writer.lost = 2
        for _ in range(2):
            self.use(self.both_logs("c", "d"))
        self.assertEqual((2, 2), (self.observers.lost, self.observers.events_lost))
        self.assertIn("; 2 lines of the access log lost; 2 lines of the event log lost", self.observers.summary())
        await self.observers.close()

    async def test_inspector(self) -> None:
        """The inspector outlives a reload, and counts its bytes in the account of the proxy."""
        self.use(INSPECTED)
        inspector = self.observers.inspector
        assert inspector is not None
        self.assertIs(self.account, inspector.account)
        self.use(INSPECTED)
        self.assertIs(inspector, self.observers.inspector)
        await self.observers.close()

    async def test_not_configured(self) -> None:
        """Before the first configuration an ended connection is counted, and written nowhere."""
        self.observers.ended(Connection("early", 0.0, "", "", result=Result.NO_ROUTE))
        self.assertEqual((["early"], "1 no_route"), (self.seen, self.observers.summary()))
        await self.observers.close()

    async def test_observer_fails(self) -> None:
        """An observer that fails is logged, and the others are called."""
        self.use(self.access_log("a"))
        self.observers.ended(Connection("bad", 0.0, "", ""))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
        self.observers.ended(Connection("good", 0.0, "", ""))
        await self.observers.close()
        self.assertEqual((["bad", "good"], ["bad", "good"]), (self.seen, self.lines("a")))


class AdminTests(SocketTestCase):
    """The admin endpoint of a running proxy."""

    async def get(self, proxy: Proxy, path: str, **headers: str) -> tuple[int, str]:
        """Send a request. @return: the status and the body."""
        assert proxy.service.admin_address is not None
        request = urllib.request.Request("http://{}:{}{}".format(*proxy.service.admin_address, path), headers=headers)

        def ask() -> tuple[int, str]:
            try:
                with urllib.request.urlopen(request, timeout=TIMEOUT_S) as reply:
                    return reply.status, reply.read().decode()
            except urllib.error.HTTPError as error:
                with error:
                    return error.code, error.read().decode()

        return await in_thread(ask)

    async def document(self, proxy: Proxy, path: str) -> dict[str, Any]:
        status, body = await self.get(proxy, path)
        self.assertEqual(200, status, body)
        document: dict[str, Any] = json.loads(body)
        return document

    def log(self) -> str:
        """An access log with lines of open tunnels."""
        return f'[access_log]\npath = "{self.mktemp()}"\nopened = true\nrepeat = 60\n'

    def bytes_up(self, metrics: str) -> list[float]:
        """The bytes to targets of all routes."""
        found = re.findall(r"^sniproxy_bytes_total\{.*direction=\"up\".*\} (\S+)$", metrics, re.MULTILINE)
        return [float(value) for value in found]

    async def test_left_and_adopted(self) -> None:
        """The counts of a tunnel that leaves for another process stay; those of an adopted one begin at zero."""
        backend = Backend(self)
        proxy = Proxy(self, LISTENER + ADMIN + route(backend.address) + self.log())
        observers = proxy.service._observers
        client, target = await open_tunnel(self, proxy, backend, NAME)
        client.sendall(b"more")
        await in_thread(read_exactly, target, 4)
        before = self.bytes_up((await self.get(proxy, "/metrics"))[1])
        self.assertEqual(len(hello(name=NAME)) + 4, sum(before))
        [conn] = proxy.service._connections.live
        observers.adopted(conn, conn.bytes_up, conn.bytes_down)
        self.assertEqual(0, sum(self.bytes_up((await self.get(proxy, "/metrics"))[1])))
        record = attrs.evolve(conn.record, bytes_up=100)
        observers.left(record)
        self.assertEqual(100, sum(self.bytes_up((await self.get(proxy, "/metrics"))[1])))

    async def test_no_admin(self) -> None:
        """Without an admin endpoint nothing is counted, held or handed over."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        observers = proxy.service._observers
        tunnel: Any = None
        observers.left(tunnel)
        observers.adopted(tunnel, 0, 0)
        observers.hold()
        observers.release()
        observers.hand_over([])
        self.assertIsNone(observers.admin_socket)

    async def test_hand_over(self) -> None:
        """The endpoint can wait; another process can have its socket, while open connections are still answered."""
        proxy = Proxy(self, LISTENER + ADMIN + route("127.0.0.1:9"))
        observers, address = proxy.service._observers, proxy.service.admin_address
        assert address is not None and observers.admin_socket is not None
        _, sock = observers.admin_socket
        self.assertEqual(address, sock.getsockname())
        observers.hold()
        client = socket.create_connection(address, TIMEOUT_S)
        self.addCleanup(client.close)
        client.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
        client.setblocking(False)
        for _ in range(5):
            await in_thread(int)
        self.assertRaises(BlockingIOError, client.recv, 1)
        client.settimeout(TIMEOUT_S)
        observers.release()
        self.assertIn(b" 200 ", await in_thread(client.recv, 9999))
        with sock.dup() as theirs:
            observers.hand_over([sock])
            self.assertIsNone(observers.admin_socket)
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 200 ", await in_thread(client.recv, 9999))
            theirs.settimeout(TIMEOUT_S)
            with socket.create_connection(address, TIMEOUT_S) as other:
                accepted, peer = await in_thread(theirs.accept)
                accepted.close()
                self.assertEqual(other.getsockname(), peer)
        await proxy.service.stopService()

    async def test_not_taken(self) -> None:
        """A UNIX socket that the other process does not use is removed; open connections are still answered."""
        path = os.path.relpath(self.mktemp())
        proxy = Proxy(self, f'{LISTENER}[admin]\nendpoint = "unix:{path}"\n{route("127.0.0.1:9")}')
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(TIMEOUT_S)
            client.connect(path)
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 200 ", await in_thread(client.recv, 9999))
            proxy.service._observers.hand_over([])
            while os.path.lexists(path):
                await in_thread(int)
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b" 200 ", await in_thread(client.recv, 9999))
        self.assertFalse(os.path.lexists(f"{path}.lock"))

    async def test_taken(self) -> None:
        """The socket of another process is used for the endpoint."""
        sock = socket.create_server(("127.0.0.1", 0))
        asked: list[str] = []

        def take(endpoint: str) -> socket.socket:
            asked.append(endpoint)
            return sock

        keeper: Any = SimpleNamespace(
            take=lambda endpoint: None,
            take_admin=take,
            keep=lambda endpoint, sock: None,
            forget=lambda endpoint: None,
            forget_rest=lambda: None,
        )
        address = sock.getsockname()
        proxy = Proxy(self, LISTENER + ADMIN + route("127.0.0.1:9"), predecessor=keeper)
        self.assertEqual((address, ["tcp:0:interface=127.0.0.1:backlog=1024"]), (proxy.service.admin_address, asked))
        self.assertEqual(-1, sock.fileno())

    async def test_tunnels(self) -> None:
        """/status has the open tunnel, and /metrics the ended one; a refused name is no label."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address) + ADMIN)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
                status = await self.document(proxy, "/status")
                (tunnel,) = status["tunnels"]
                self.assertEqual([NAME, backend.address, "open"], [tunnel[k] for k in ("name", "target", "state")])
                self.assertEqual(len(hello(name=NAME)), tunnel["bytes_up"])
        await proxy.ended()
        with proxy.connect() as client:
            client.sendall(hello(name="nobody.test"))
            await in_thread(read_to_end, client)
        await proxy.ended(1)
        code, metrics = await self.get(proxy, "/metrics")
        self.assertEqual(200, code)
        self.assertIn(f'result="ok",route="{NAME}"', metrics)
        self.assertIn('result="no_route"', metrics)
        self.assertNotIn("nobody.test", metrics)

    async def test_topics(self) -> None:
        """/topics has the ledger of an inspected listener."""
        backend = Backend(self)
        path = Path(self.mktemp()).absolute()
        proxy = Proxy(
            self,
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "plain"\nplaintext = true\n'
            f'inspect = "pulsar"\ntarget = "{backend.address}"\n[inspect_log]\npath = "{path}"\n{ADMIN}',
        )
        with proxy.connect("plain") as client, await in_thread(backend.accept) as broker:
            client.sendall(ASK)
            await in_thread(read_exactly, broker, len(ASK))
            broker.sendall(answer("broker-1.test"))
            await in_thread(read_exactly, client, len(answer("broker-1.test")))
        await proxy.ended()
        (entry,) = (await self.document(proxy, "/topics"))["topics"]
        url = "pulsar+ssl://broker-1.test:6651"
        self.assertEqual((TOPIC, url, 1), (entry["topic"], entry["broker"], entry["lookups"]))

    async def test_ready(self) -> None:
        """/ready returns 503 during a drain; then the port is closed."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address) + ADMIN)
        address = proxy.service.admin_address
        assert address is not None
        self.assertEqual((200, "ready\n"), await self.get(proxy, "/ready"))
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                await in_thread(read_exactly, upstream, len(hello(name=NAME)))
                stopped = proxy.service.stopService()
                self.assertEqual(503, (await self.get(proxy, "/ready"))[0])
        await stopped
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address)

    def reload(self, proxy: Proxy, text: str) -> None:
        self.assertIsNone(proxy.service.reload(lambda: parse(LISTENER + text, "test.toml")))

    async def test_reload(self) -> None:
        """The admin endpoint is added, kept, moved and removed; its counts stay, and a loop to it is always denied."""
        proxy = Proxy(self, "")
        self.assertIsNone(proxy.service.admin_address)
        addresses = set()
        for _ in range(2):
            self.reload(proxy, ADMIN)
            addresses.add(proxy.service.admin_address)
            with proxy.connect() as client:
                client.sendall(hello(name=NAME))
                await in_thread(read_to_end, client)
        await proxy.ended(1)
        [first] = addresses
        assert first is not None
        self.assertEqual(200, (await self.get(proxy, "/ready"))[0])
        self.reload(proxy, ADMIN.replace("127.0.0.1", "127.0.0.2"))
        second = proxy.service.admin_address
        assert second is not None
        await in_thread(int)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, first)
        self.assertIsNotNone(proxy.service._guard.denies(*second))
        self.assertIsNone(proxy.service._guard.denies(*first))
        site = proxy.service._observers._site
        assert site is not None
        self.assertEqual(2, site.metrics.totals()["refused"])
        self.reload(proxy, "")
        self.assertIsNone(proxy.service.admin_address)
        await in_thread(int)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, second)

    async def test_foreign_host(self) -> None:
        """A request with another Host header is refused."""
        proxy = Proxy(self, route("127.0.0.1:9") + ADMIN)
        self.assertEqual(403, (await self.get(proxy, "/status", Host="evil.example"))[0])

    async def test_prometheus_example(self) -> None:
        """The configuration in docs/howto/scale.md serves the requests of Prometheus as configured there."""
        page = (Path(__file__).parent.parent.parent / "docs" / "howto" / "scale.md").read_text()
        (scrape,) = re.findall(r"targets: \[(.*)\]", page)
        (text,) = (one for one in re.findall(r"```toml\n(.*?)```", page, re.DOTALL) if "hosts = " in one)
        text = text.replace("workers = 4\n", "").replace("tcp:9090:", "tcp:0:")
        proxy = Proxy(self, text.replace("tcp:4443:", "tcp:0:interface=127.0.0.1:"))
        for target in scrape.split(", "):
            code, body = await self.get(proxy, "/metrics", Host=target)
            self.assertEqual(200, code, body)
            self.assertIn("sniproxy_tunnels", body)

    async def test_descriptors(self) -> None:
        """Open connections of the admin endpoint count in the limit of open files."""
        proxy = Proxy(self, route("127.0.0.1:9") + ADMIN)
        assert proxy.service.admin_address is not None
        admission = proxy.service._connections.admission
        with socket.create_connection(proxy.service.admin_address, timeout=TIMEOUT_S) as client:
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n")
            await in_thread(client.recv, 1)
            self.assertEqual(1, admission.extra_descriptors)
            client.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            await in_thread(read_to_end, client)
        await self.get(proxy, "/ready")
        self.assertLessEqual(admission.extra_descriptors, 1)

    async def test_busy_port(self) -> None:
        """A busy admin port is an error as for a listener, and nothing listens."""
        with socket.create_server(("127.0.0.1", 0)) as holder:
            text = f'{LISTENER}[admin]\nendpoint = "tcp:{holder.getsockname()[1]}:interface=127.0.0.1"\n'
            error = self.assertRaises(CannotListenError, Proxy, self, text)
            self.assertIn(f"it is held by pid {os.getpid()}", why_not_listening(error))
        await in_thread(int)

    async def test_unix(self) -> None:
        """The admin endpoint can be a unix socket; a failure to create it is an error of one line."""
        path = Path(self.mktemp()).absolute()
        proxy = Proxy(self, f'{LISTENER}[admin]\nendpoint = "unix:{path}"\n')
        self.assertIsNone(proxy.service.admin_address)
        self.assertTrue(path.is_socket())
        self.assertEqual(0o600, path.stat().st_mode & 0o777)
        open_to_group = Path(self.mktemp()).absolute()
        Proxy(self, f'{LISTENER}[admin]\nendpoint = "unix:{open_to_group}:mode=660"\n')
        self.assertEqual(0o660, open_to_group.stat().st_mode & 0o777)
        text = f'{LISTENER}[admin]\nendpoint = "unix:/nonexistent/socket"\n'
        error = self.assertRaises(CannotListenError, Proxy, self, text)
        self.assertIn("cannot listen on unix:/nonexistent/socket", why_not_listening(error))
        await in_thread(int)

    async def test_worker(self) -> None:
        """A worker serves what its supervisor gives it, and the address of the supervisor's endpoint is no target."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        proxy = Proxy(self, LISTENER, admin=ChannelEndpoint(reactor, theirs))
        ports = []
        with capturedLogs() as events:
            for number in (9090, 9091):
                text = f'{LISTENER}[admin]\nendpoint = "tcp:{number}:interface=127.0.0.1"\n'
                self.assertIsNone(proxy.service.reload(partial(lambda text: for_worker(parse(text, "a"), 0), text)))
                self.assertEqual(("127.0.0.1", number), proxy.service.admin_address)
                self.assertIsNotNone(proxy.service._guard.denies("127.0.0.1", number))
                ports.append(proxy.service._observers._port)
        self.assertIs(ports[0], ports[1])
        self.assertIsNone(proxy.service._guard.denies("127.0.0.1", 9090))
        self.assertEqual([], [event for event in events if event["log_format"] == "admin: listening on {where}"])

    async def test_not_a_target(self) -> None:
        """The admin endpoint counts as a listener of the proxy, which is no target."""
        proxy = Proxy(self, route("127.0.0.1:9") + ADMIN)
        assert proxy.service.admin_address is not None
        self.assertIsNotNone(proxy.service._guard.denies(*proxy.service.admin_address))
        self.assertEqual([], [record for record in proxy.records if record.result is not Result.OK])
