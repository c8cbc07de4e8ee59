"""Tests for sniproxy.service: start, logs, reload and stop."""

from __future__ import annotations

import gc
import json
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

from msgspec.structs import replace
from twisted.logger import capturedLogs

from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.events import Result
from sniproxy.logs.writer import CannotOpen
from sniproxy.relay import engine
from sniproxy.relay.state import NOBODY
from sniproxy.server import resolverset
from sniproxy.server.upgrade.program import CannotStart
from tests.support.conversation import NAME, route
from tests.support.fakeengine import use_fake, use_none
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy, open_tunnel
from tests.support.sockets import SocketTestCase, in_thread, links, read_exactly, read_to_end
from tests.tls.material import CA, folder


def watched() -> set[int]:
    """The descriptors in the epoll sets of this process, as in proc(5)."""
    sets = [fd for fd, what in links().items() if what == "anon_inode:[eventpoll]"]
    texts = [Path("/proc/self/fdinfo", fd).read_text() for fd in sets]
    return {int(line.split()[1]) for text in texts for line in text.splitlines() if line.startswith("tfd:")}


class StartTests(SocketTestCase):
    """The start of a proxy."""

    async def test_addresses(self) -> None:
        """While the proxy runs, the bound address of each listener is available by its name."""
        proxy = Proxy(
            self, LISTENER + '[[listener]]\nendpoint = "tcp6:0:interface=\\\\:\\\\:1"\n' + route("127.0.0.1:9")
        )
        self.assertEqual(["public", "tcp6:0:interface=\\:\\:1"], list(proxy.service.addresses))
        self.assertEqual(["127.0.0.1", "::1"], [host for host, _ in proxy.service.addresses.values()])
        await proxy.service.stopService()
        self.assertEqual({}, proxy.service.addresses)

    async def test_first_in_the_log(self) -> None:
        """The first address in the log, which scripts parse, is a listener's, not the admin endpoint's."""
        with capturedLogs() as logged:
            Proxy(self, '[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n')
        found = [event["log_format"] for event in logged if "listening on" in str(event.get("log_format"))]
        self.assertEqual(["listener {name}: listening on {where}", "admin: listening on {where}"], found)


class ClosedTests(SocketTestCase):
    """Listeners with closed_when_down."""

    async def test_closed(self) -> None:
        """The port refuses while the health checks find no target up, also after a reload, and accepts again."""
        backend = Backend(self)
        backend.sock.close()
        backend.sock = socket.create_server(("127.0.0.1", 0))  # its port can be used again at once
        where = backend.sock.getsockname()
        with socket.create_server(("127.0.0.1", 0)) as reserved:
            port = reserved.getsockname()[1]
        text = (
            f'[[listener]]\nname = "public"\nendpoint = "tcp:{port}:interface=127.0.0.1"\nclosed_when_down = "{NAME}"\n'
            + route(f"127.0.0.1:{where[1]}")
            + '[health]\ncheck = "tcp"\ninterval = 1\nrise = 1\nfall = 1\n'
        )
        proxy = Proxy(self, text)
        service, address = proxy.service, ("127.0.0.1", port)
        (await in_thread(backend.accept)).close()  # the first health check
        client, upstream = await open_tunnel(self, proxy, backend, NAME)
        backend.sock.close()
        await self.until(lambda: "public" in service._listeners.closed)
        await in_thread(int)
        self.assertRaises(ConnectionRefusedError, socket.create_connection, address)
        client.sendall(b"stays")
        self.assertEqual(b"stays", await in_thread(read_exactly, upstream, 5))
        status = service.view.status()
        self.assertTrue(next(iter(status.listeners)).closed)
        self.assertIn("listener public: closed: no target", status.warnings[0])
        self.assertIsNone(service.reload(lambda: parse(text + "# changed\n", "test.toml")))
        self.assertIn("public", service._listeners.closed)
        with socket.create_server(where):
            await self.until(lambda: not service._listeners.closed)
            socket.create_connection(address).close()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Run the reactor until a condition holds."""
        while not condition():
            await in_thread(int)


class RelayTests(SocketTestCase):
    """The relay of plain tunnels, by the configuration."""

    async def open(self, text: str) -> tuple[Proxy, socket.socket, socket.socket]:
        backend = Backend(self)
        proxy = Proxy(self, text + LISTENER + route(backend.address))
        return (proxy, *await open_tunnel(self, proxy, backend, NAME))

    async def test_engine(self) -> None:
        """The engine starts with the service, and gets the tunnel with the hello."""
        fake = use_fake(self)
        proxy, *_ = await self.open("relay_threads = 3\n")
        self.assertEqual(3, fake.arguments[0])
        self.assertEqual([len(hello(name=NAME))], [len(tunnel.held) for tunnel in fake.opened])
        fake.finish(fake.opened[0], engine.IDLE)
        record = await proxy.ended()
        self.assertEqual((Result.IDLE_TIMEOUT, "no bytes for 300 s"), (record.result, record.reason))
        await proxy.service.stopService()
        self.assertEqual(1, fake.closed)

    async def test_owned(self) -> None:
        """No epoll set of Python has a descriptor that the engine owns: its number may soon be another socket's."""
        fake = use_fake(self)
        backend = Backend(self)
        proxy = Proxy(self, LISTENER + route(f"localhost:{backend.port}"))  # the lookup and the dial wait
        await open_tunnel(self, proxy, backend, NAME)
        tunnel, found = fake.opened[0], watched()
        fake.finish(tunnel, engine.OK)
        await proxy.ended()
        self.assertNotEqual(set(), found)
        self.assertEqual(set(), found & {tunnel.client, tunnel.target})

    async def test_stop(self) -> None:
        """A stop waits until the engine has reported the end of each tunnel, then closes the engine."""
        fake = use_fake(self)
        proxy, client, _ = await self.open("")
        proxy.service.end_now()
        stopped = proxy.service.stopService()
        while "end" not in fake.opened[0].asked:
            await in_thread(int)
        self.assertEqual((False, 0), (stopped.called, fake.closed))
        fake.finish(fake.opened[0], engine.ENDED)
        await stopped
        self.assertEqual((Result.SHUTDOWN, 1), (proxy.records[0].result, fake.closed))
        self.assertEqual(b"", await in_thread(read_to_end, client))

    async def test_python(self) -> None:
        """Python moves the bytes if the configuration says so, or if there is no engine."""
        fake = use_fake(self)
        _, client, upstream = await self.open('relay = "python"\n')
        client.sendall(b"x")
        self.assertEqual(b"x", await in_thread(read_exactly, upstream, 1))
        use_none(self)
        proxy, client, upstream = await self.open("")
        client.sendall(b"x")
        self.assertEqual(b"x", await in_thread(read_exactly, upstream, 1))
        status = proxy.service.view.relay_status()
        self.assertEqual(("python", "no engine here"), (status.relay, status.why))
        self.assertEqual([], fake.opened)

    async def test_required(self) -> None:
        """Asked for the engine and without it, the proxy does not start; a reload keeps the current configuration."""
        text = 'relay = "engine"\n' + LISTENER
        use_none(self)
        error = self.assertRaises(ConfigError, Proxy, self, text)
        self.assertEqual('test.toml:1: relay = "engine": no engine here', str(error))
        proxy = Proxy(self, LISTENER)
        why = proxy.service.reload(lambda: parse(text, "test.toml"))
        self.assertEqual('test.toml:1: relay = "engine": no engine here', why)
        self.assertEqual("auto", proxy.service.configuration.relay)

    async def test_cannot_start(self) -> None:
        """An engine that finds no thread is an error only if it is asked for."""
        fake = use_fake(self)
        fake.refusal = OSError(11, "no thread")
        error = self.assertRaises(ConfigError, Proxy, self, 'relay = "engine"\n' + LISTENER)
        self.assertIn('relay = "engine": the engine cannot start: no thread', str(error))
        self.assertEqual("python", Proxy(self, LISTENER).service.view.relay_status().relay)

    async def test_reload(self) -> None:
        """A reload selects the relay of new tunnels; open ones keep theirs, and end in order with the service."""
        fake = use_fake(self)
        proxy, *_ = await self.open("")
        before = proxy.service.configuration
        self.assertIsNone(proxy.service.reload(lambda: replace(before, relay="python")))
        status = proxy.service.view.relay_status()
        self.assertEqual(("python", 1), (status.relay, status.tunnels))
        self.assertIsNone(proxy.service.reload(lambda: replace(before, relay_threads=2)))
        status = proxy.service.view.relay_status()
        self.assertEqual(("engine", 1, 1), (status.relay, status.threads, status.tunnels))
        fake.finish(fake.opened[0], engine.OK, side=NOBODY)
        self.assertEqual(Result.OK, (await proxy.ended()).result)

    async def test_bridge(self) -> None:
        """A bridge knows the address where it listens, and no bridge may lead there: that would be a loop."""
        files = folder(Path(self.mktemp()), ca_pem=CA.cert_pem.bytes()).resolve()
        tables = "".join(
            f'[[bridge]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "{name}"\n'
            f'service_url = "pulsar+ssl://{name}.test"\ntrust = "{files}/ca.pem"\n'
            for name in ("one", "two")
        )
        proxy = Proxy(self, tables)
        assert proxy.service._built is not None
        for name in ("one", "two"):
            address = proxy.service.addresses[name]
            self.assertEqual(address, proxy.service._built.bridges[name][1].address)
            self.assertIsNotNone(proxy.service._bridge_guard.denies(*address))
        self.assertIsNone(proxy.service._bridge_guard.denies(*proxy.service.addresses["public"]))


class AccessLogTests(SocketTestCase):
    """The access log of a running proxy."""

    async def test_file(self) -> None:
        """The file has one JSON object a line; after a rotation lines go to the new file, the last ones at the stop."""
        path = Path(self.mktemp())
        proxy = Proxy(self, route("127.0.0.1:9") + f'[access_log]\npath = "{path.absolute()}"\n')
        for number in range(2):
            with proxy.connect() as client:
                client.sendall(hello(name="nobody.test"))
                await in_thread(read_to_end, client)
            await proxy.ended(number)
            if not number:
                path.rename(f"{path}.1")
                proxy.service.reopen_logs()
        await proxy.service.stopService()
        for file in (Path(f"{path}.1"), path):
            (line,) = file.read_text().splitlines()
            self.assertEqual(("no_route", "nobody.test"), (json.loads(line)["result"], json.loads(line)["server_name"]))

    def test_cannot_be_opened(self) -> None:
        """A log that cannot be opened is an error, and nothing listens."""
        self.assertRaises(CannotOpen, Proxy, self, route("127.0.0.1:9") + '[access_log]\npath = "/nonexistent/x"\n')

    async def test_silent_connections(self) -> None:
        """A client that leaves without sending a byte is counted and not logged."""
        path = Path(self.mktemp())
        proxy = Proxy(self, route("127.0.0.1:9") + f'[access_log]\npath = "{path.absolute()}"\n')
        proxy.connect().close()
        await proxy.ended()
        self.assertEqual("1 closed without sending data", proxy.service._observers.summary())
        await proxy.service.stopService()
        self.assertEqual("", path.read_text())


class ReloadTests(SocketTestCase):
    """Reloads of a running proxy."""

    def test_uncollected(self) -> None:
        """The garbage collector is off while a configuration is read and built, then on again, also after errors."""
        proxy = Proxy(self, LISTENER)
        seen = []

        def read(text: str) -> Configuration:
            seen.append(gc.isenabled())
            return parse(text, "test.toml")

        for text in (LISTENER, "bad"):
            proxy.service.reload(partial(read, text))
            seen.append(gc.isenabled())
        self.assertEqual([False, True] * 2, seen)

    def reload(self, proxy: Proxy, text: str) -> str | None:
        return proxy.service.reload(lambda: parse(LISTENER + text, "test.toml"))

    async def tunnel(self, proxy: Proxy, backend: Backend) -> tuple[socket.socket, socket.socket]:
        return await open_tunnel(self, proxy, backend, NAME)

    async def test_tunnels_stay(self) -> None:
        """A tunnel whose route is removed continues; new connections use the new routes."""
        backend, other = Backend(self), Backend(self)
        proxy = Proxy(self, route(backend.address))
        client, upstream = await self.tunnel(proxy, backend)
        self.assertIsNone(self.reload(proxy, route(other.address)))
        client.sendall(b"still")
        self.assertEqual(b"still", await in_thread(read_exactly, upstream, 5))
        await self.tunnel(proxy, other)
        self.assertEqual(1, proxy.service.view.reloads.succeeded)

    async def test_one_configuration_each(self) -> None:
        """A connection uses the configuration with which it was accepted, even if its hello comes after a reload."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address))
        with proxy.connect() as client:
            while not proxy.service.view.live():
                await in_thread(int)
            self.assertIsNone(self.reload(proxy, ""))
            client.sendall(hello(name=NAME))
            (await in_thread(backend.accept)).close()

    async def test_bad(self) -> None:
        """An invalid configuration changes nothing, and is reported in the log, the status and the metrics."""
        path = Path(self.mktemp()).absolute()
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address) + f'[access_log]\npath = "{path}"\n')
        before = proxy.service.configuration
        line = LISTENER.count("\n") + 1
        for text, said in (
            ("colour = 1", f"test.toml:{line}: listener[0].colour = 1: unknown key"),
            ('[access_log]\npath = "/nonexistent/x"\n', "access log /nonexistent/x: cannot open: "),
            ('[resolver.x]\ntype = "odd"\n[default]\nresolver = "x"\n', "unknown resolver type"),
            ('certificates = "none.pem"\nupstream_trust = "none.pem"\n', "none.pem: cannot read"),
            ('[admin]\nendpoint = "unix:/nonexistent/socket"\n', "cannot listen on unix:/nonexistent/socket"),
        ):
            with capturedLogs() as logged:
                why = self.reload(proxy, text)
            self.assertIn(said, str(why))
            self.assertIn(str(why), "".join(map(str, (event.get("why") for event in logged))))
            self.assertEqual(why, proxy.service.view.status().reloads.error)
            self.assertIs(before, proxy.service.configuration)
        self.assertEqual((0, 5), (proxy.service.view.reloads.succeeded, proxy.service.view.reloads.failed))
        client, upstream = await self.tunnel(proxy, backend)
        client.close()
        upstream.close()
        await proxy.ended()
        await proxy.service.stopService()
        self.assertEqual(1, len(path.read_text().splitlines()))

    async def test_fault(self) -> None:
        """An exception of a plugin's maker is logged with its traceback, and changes nothing."""
        proxy = Proxy(self, "")
        self.patch(resolverset, "StaticResolver", lambda targets: 1 / 0)
        why = self.reload(proxy, route("127.0.0.1:9"))
        self.assertEqual("internal error while reading it: ZeroDivisionError: division by zero", why)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    async def test_everything_else(self) -> None:
        """Logs, timeouts and the policy are replaced; a log with the same path is not reopened."""
        first, second = Path(self.mktemp()).absolute(), Path(self.mktemp()).absolute()
        proxy = Proxy(self, f'[access_log]\npath = "{first}"\n')
        log = proxy.service._observers._access_log
        self.assertIsNone(self.reload(proxy, f'[access_log]\npath = "{first}"\n[timeouts]\nhello = 3\n'))
        self.assertIs(log, proxy.service._observers._access_log)
        self.assertIsNone(
            self.reload(proxy, f'[access_log]\npath = "{second}"\n[default]\ntarget = "{{server_name}}"\n')
        )
        with proxy.connect() as client:
            client.sendall(hello(name="localhost"))
            await in_thread(read_to_end, client)
        self.assertEqual(Result.DENIED, (await proxy.ended()).result)
        allowed = '[policy]\nallow_cidrs = ["127.0.0.0/8", "::1/128"]\nallow_ports = [9]\n'
        self.assertIsNone(self.reload(proxy, f'[default]\ntarget = "{{server_name}}:9"\n{allowed}'))
        with proxy.connect() as client:
            client.sendall(hello(name="localhost"))
            await in_thread(read_to_end, client)
        self.assertEqual(Result.CONNECT_FAILED, (await proxy.ended(1)).result)
        await proxy.service.stopService()
        self.assertEqual(["", 1], [first.read_text(), len(second.read_text().splitlines())])

    async def test_inspector(self) -> None:
        """An added inspected listener starts the inspector; a full reload keeps the ledger."""
        path = Path(self.mktemp()).absolute()
        plain = (
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "plain"\nplaintext = true\n'
            f'inspect = "pulsar"\ntarget = "127.0.0.1:9"\n[inspect_log]\npath = "{path}"\n'
            '[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
        )
        proxy = Proxy(self, '[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n')
        site = proxy.service._observers._site
        assert site is not None
        self.assertIsNone(site.topics)
        self.assertIsNone(self.reload(proxy, plain))
        topics = site.topics
        self.assertIsNotNone(topics)
        self.assertIn(b"sniproxy_topics", site.metrics.text())
        self.assertIsNone(self.reload(proxy, plain.replace("[admin]", "reveal = true\n[admin]")))
        self.assertIs(topics, site.topics)
        inspector = proxy.service._observers.inspector
        assert inspector is not None
        self.assertTrue(inspector.reveal)
        self.assertIsNone(self.reload(proxy, plain.replace("[admin]", 'commands = ["SEND"]\n[admin]')))
        self.assertEqual((False, {"SEND"}), (inspector.reveal, inspector.commands))

    async def test_stopping(self) -> None:
        """A stopping proxy is not reloaded."""
        proxy = Proxy(self, "")
        await proxy.service.stopService()
        self.assertEqual("the proxy is stopping", self.reload(proxy, ""))


class UpgradeTests(SocketTestCase):
    """Upgrades; tests/server/upgrade has all else."""

    def start(self) -> NoReturn:
        raise CannotStart("no memory")

    async def test_failure(self) -> None:
        """An upgrade that fails has a reason, and the proxy continues; one that stops or was replaced begins none."""
        proxy = Proxy(self, route("127.0.0.1:9"))
        service = proxy.service

        async def why() -> str | None:
            report = await service.upgrade(self.start, lambda pid: None, lambda: None)
            return report.why

        self.assertEqual("no memory", await why())
        with proxy.connect():
            pass
        service._succession.over = True
        self.assertEqual("another process has taken over", await why())
        self.assertEqual("another process has taken over", service.reload(lambda: service.configuration))
        service._succession.over = False
        await service.stopService()
        self.assertEqual("the proxy is stopping", await why())

    async def test_take_over(self) -> None:
        """A process with a predecessor listens, but accepts nothing before it is in charge."""
        commits: list[Callable[[object], None]] = []
        settled: list[Callable[[], None]] = []

        def begin(
            reactor: object, adopt: object, commit: Callable[[object], None], settle: Callable[[], None], *more: object
        ) -> object:
            commits.append(commit)
            settled.append(settle)
            return SimpleNamespace(open=False, order=nothing, close=nothing)

        def nothing(*given: object) -> None:
            pass

        predecessor: Any = SimpleNamespace(
            take=nothing, take_admin=nothing, keep=nothing, forget=nothing, forget_rest=nothing, begin=begin
        )
        proxy = Proxy(self, route("127.0.0.1:9"), predecessor=predecessor)
        taken: list[bool] = []
        proxy.service.take_over(taken.append)
        with proxy.connect() as client:
            client.sendall(hello(name="nowhere.test"))
            for _ in range(5):
                await in_thread(int)
            self.assertEqual((0, False, []), (proxy.service.connections, proxy.service.view.ready, taken))
            commits[0](None)
            self.assertEqual([], taken)
            settled[0]()
            self.assertEqual(([True], True), (taken, proxy.service.view.ready))
            self.assertNotEqual(b"", await in_thread(read_to_end, client))
