"""Forward proxying with running proxies: names, the policy, and chains of proxies."""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from typing import Any

from twisted.logger import capturedLogs, formatEvent

from sniproxy.config.parser import parse
from sniproxy.demo.client import Connected, DemoClient, ReadBack, Step
from sniproxy.events import Result
from sniproxy.testing.pulsar import PulsarCluster
from sniproxy.tls.alerts import Alert, fatal_alert
from tests.support.conversation import ConversationCase
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.reactor import reactor
from tests.support.sockets import in_thread, read_exactly, read_to_end

ROUTE = '[[route]]\nserver_name = "*.pulsar.test"\ntarget = "{target}"\n'


def forward(target: str, ports: Sequence[int] = (), cidrs: Sequence[str] = (), more: str = "") -> str:
    """A configuration with a route for all names below pulsar.test to one target, and a policy."""
    policy = f"[policy]\nallow_cidrs = {json.dumps(list(cidrs))}\n"
    if ports:
        policy += f"allow_ports = {list(ports)}\n"
    return ROUTE.replace("{target}", target) + policy + more


class ForwardCase(ConversationCase):
    """A test with a fake resolver of host names."""

    def names(self, **names: list[list[str]]) -> list[str]:
        """Set the answers of getaddrinfo for ``broker_1`` and so on, below pulsar.test; the last one repeats.

        @return: the names that are looked up.
        """
        asked: list[str] = []
        real = socket.getaddrinfo

        def getaddrinfo(host: str, port: Any, *args: Any, **more: Any) -> list[Any]:
            label, _, domain = host.partition(".")
            answers = names.get(label.replace("-", "_"))
            if domain != "pulsar.test":
                return list(real(host, port, *args, **more))
            asked.append(host)
            if not answers:
                raise socket.gaierror(socket.EAI_NONAME, "unknown")
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
            # As an alias (CNAME) comes: only the addresses count.
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "alias.example", (address, port)) for address in answer]

        self.patch(socket, "getaddrinfo", getaddrinfo)
        return asked

    async def passes(self, proxy: Proxy, backend: Backend, name: str) -> None:
        """Assert that a connection with this name reaches the backend with an unchanged hello."""
        number, data = len(proxy.records), hello(name=name)
        with proxy.connect() as client:
            client.sendall(data)
            with await in_thread(backend.accept) as upstream:
                self.assertEqual(data, await in_thread(read_exactly, upstream, len(data)))
        self.assertEqual(Result.OK, (await proxy.ended(number)).result)

    async def denied(self, proxy: Proxy, name: str, *said: str) -> None:
        """Assert that a connection with this name is denied, with this text in the reason."""
        record = await self.refused(proxy, hello(name=name), Result.DENIED, Alert.ACCESS_DENIED)
        for part in said:
            self.assertIn(part, record.reason)


class ForwardTests(ForwardCase):
    """Names that lead to the host of that name."""

    async def test_server_name(self) -> None:
        """The name in the hello is looked up and dialled; the record has the target."""
        backend = Backend(self)
        asked = self.names(broker_1=[["127.0.0.1"]], broker_2=[["127.0.0.1"]])
        proxy = Proxy(self, forward(f"{{server_name}}:{backend.port}", [backend.port], ["127.0.0.0/8"]))
        for name in ("Broker-1.Pulsar.Test", "broker-2.pulsar.test"):
            await self.passes(proxy, backend, name)
        self.assertEqual(["broker-1.pulsar.test", "broker-2.pulsar.test"], asked)
        self.assertEqual([f"{name}:{backend.port}" for name in asked], [record.target for record in proxy.records])

    async def test_parts_of_a_name(self) -> None:
        """Captured parts form host and port; the listener's port is available."""
        backend = Backend(self)
        policy = f'[policy]\nallow_cidrs = ["127.0.0.1"]\nallow_ports = [{backend.port}]\n'
        last = str(backend.port)[-1]
        for pattern, target, name in (
            ("*.ip.test", f"{{1}}:{backend.port}", "127.0.0.1.ip.test"),
            ("~b-([0-9])[.]test", f"127.0.0.1:{backend.port // 10}{{1}}", f"b-{last}.test"),
        ):
            text = f'[[route]]\nserver_name = "{pattern}"\ntarget = "{target}"\n'
            await self.passes(Proxy(self, text + policy), backend, name)
        own = Proxy(self, '[[route]]\nserver_name = "*.test"\ntarget = "127.0.0.2:{port}"\n')
        record = await self.refused(own, hello(name="a.test"), Result.CONNECT_FAILED, None)
        self.assertEqual(f"127.0.0.2:{own.port}", record.target)

    async def test_no_target_of_this_name(self) -> None:
        """A name that forms no host name has no route."""
        proxy = Proxy(self, forward("{1}." + ("x" * 60 + ".") * 2 + "test"))
        long = ".".join(["a" * 60] * 3) + ".a.pulsar.test"
        record = await self.refused(proxy, hello(name=long), Result.NO_ROUTE, Alert.UNRECOGNIZED_NAME)
        self.assertIn("cannot form a target from this name", record.reason)


class LoopTests(ForwardCase):
    """Names that lead back to this proxy through another one."""

    async def test_two_proxies(self) -> None:
        """The second visit is denied, which ends the chain; it is counted, and logged once with the cure."""
        self.names(broker_1=[["127.0.0.1"]])
        first = Proxy(self, forward("{server_name}:1"))

        def lead(port: int) -> str:
            return forward(f"{{server_name}}:{port}", [port], ["127.0.0.0/8"])

        second = Proxy(self, lead(first.port))
        text = LISTENER + lead(second.port)
        self.assertIsNone(first.service.reload(lambda: parse(text, "test.toml")))
        with capturedLogs() as events:
            for loops in (1, 2):
                with first.connect() as client:
                    client.sendall(hello(name="broker-1.pulsar.test"))
                    alert = fatal_alert(Alert.ACCESS_DENIED)
                    self.assertEqual(alert, await in_thread(read_exactly, client, len(alert)))
                records = [await first.ended(2 * loops - 2), await first.ended(2 * loops - 1)]
                self.assertEqual({Result.DENIED, Result.OK}, {record.result for record in records})
                self.assertEqual(loops, first.service.view.status().limits.loops)
                while first.service._connections.live:
                    await in_thread(int)
                self.assertEqual(0, len(first.service._connections.randoms))
        said = [formatEvent(event) for event in events if "loop denied" in formatEvent(event)]
        self.assertEqual(1, len(said))
        self.assertIn("[policy] allow_names", said[0])

    async def test_not_formed(self) -> None:
        """The same hello twice on a route with a fixed target is not a loop."""
        backend = Backend(self)
        proxy = Proxy(self, forward(backend.address))
        with proxy.connect() as one, proxy.connect() as other:
            for client in (one, other):
                client.sendall(hello(name="broker-1.pulsar.test"))
                self.addCleanup((await in_thread(backend.accept)).close)
        self.assertEqual(0, proxy.service.view.status().limits.loops)


class PolicyTests(ForwardCase):
    """Destinations that the policy allows."""

    async def test_special_addresses(self) -> None:
        """A name of this machine or its networks is denied, and nothing is dialled."""
        backend = Backend(self)
        addresses = [
            "127.0.0.1",
            "0.0.0.0",
            "10.0.0.7",
            "169.254.169.254",
            "::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
        ]
        self.names(broker_1=[[address] for address in addresses])
        proxy = Proxy(self, forward(f"{{server_name}}:{backend.port}", [backend.port]))
        for address in addresses:
            await self.denied(proxy, "broker-1.pulsar.test", f"{address}: the address is ", "[policy] allow_cidrs")
        backend.sock.setblocking(False)
        self.assertRaises(BlockingIOError, backend.sock.accept)

    async def test_address_as_a_name(self) -> None:
        """An IP address in a client's name is checked as any other, in every spelling."""
        backend = Backend(self)
        text = f'[[route]]\nserver_name = "*.ip.test"\ntarget = "{{1}}:{backend.port}"\n'
        proxy = Proxy(self, f"{text}[policy]\nallow_ports = [{backend.port}]\n")
        for spelled in ("127.0.0.1", "2130706433", "0x7f.1", "127.1", "localhost"):
            await self.denied(proxy, f"{spelled}.ip.test", "loopback (127.0.0.0/8)")

    async def test_rebinding(self) -> None:
        """If a name's addresses change, each connection dials the address that was checked."""
        backend = Backend(self)
        inner = socket.socket()
        self.addCleanup(inner.close)
        inner.bind(("127.0.0.2", backend.port))
        inner.listen(1)
        asked = self.names(broker_1=[["127.0.0.1"], ["127.0.0.2"]])
        proxy = Proxy(self, forward(f"{{server_name}}:{backend.port}", [backend.port], ["127.0.0.1"]))
        await self.passes(proxy, backend, "broker-1.pulsar.test")
        await self.denied(proxy, "broker-1.pulsar.test", "127.0.0.2: the address is loopback")
        self.assertEqual(["broker-1.pulsar.test"] * 2, asked)
        inner.setblocking(False)
        self.assertRaises(BlockingIOError, inner.accept)

    async def test_some_of_the_addresses(self) -> None:
        """Only the allowed addresses of a name are dialled."""
        backend = Backend(self)
        self.names(broker_1=[["127.0.0.2", "10.0.0.7", "127.0.0.1"]])
        proxy = Proxy(self, forward(f"{{server_name}}:{backend.port}", [backend.port], ["127.0.0.1"]))
        await self.passes(proxy, backend, "broker-1.pulsar.test")

    async def test_not_looked_up(self) -> None:
        """A port or host that is not allowed is denied before the lookup."""
        asked = self.names(broker_1=[["127.0.0.1"]])
        for target, more, said in (
            ("{server_name}:22", "", "port 22 is not in [policy] allow_ports (6651)"),
            (
                "{server_name}:6651",
                'allow_names = ["broker-2.pulsar.test"]\n',
                "the host is not in [policy] allow_names",
            ),
        ):
            await self.denied(Proxy(self, forward(target, more=more)), "broker-1.pulsar.test", said)
        self.assertEqual([], asked)

    async def test_written_out(self) -> None:
        """A target that the operator wrote is dialled at any address, despite a strict policy."""
        backend = Backend(self)
        self.names(broker_1=[["127.0.0.1"]])
        for target in (backend.address, f"broker-1.pulsar.test:{backend.port}"):
            await self.passes(Proxy(self, forward(target)), backend, "broker-9.pulsar.test")

    async def test_loop(self) -> None:
        """A name that leads back to the proxy is denied under any policy."""
        self.names(broker_1=[["127.0.0.1"]])
        proxy = Proxy(self, forward("{server_name}:{port}", range(1024, 65536), ["127.0.0.0/8"]))
        await self.denied(proxy, "broker-1.pulsar.test", "127.0.0.1: a listener of this proxy (loop)")


class ChainTests(ForwardCase):
    """A forward proxy whose target is another proxy."""

    async def visit(self, targets: str, **policy: Any) -> tuple[Proxy, Proxy, list[Step]]:
        """Send a message to the demo cluster and receive it, through two proxies.

        @param targets: of the first proxy; ``PORT`` is the second one's port.
        """
        cluster = PulsarCluster(reactor=reactor, tls=True, behind_proxy=True, service_name="vip.pulsar.test")
        cluster.start()
        self.addCleanup(cluster.stop)
        where = {name: f"{host}:{port}" for name, (host, port) in cluster.addresses.items()}
        where[cluster.service_name] = next(iter(where.values()))
        rows = "".join(f'[[route]]\nserver_name = "{name}"\ntarget = "{to}"\n' for name, to in where.items())
        second = Proxy(self, LISTENER + rows)
        text = forward(targets.replace("PORT", str(second.port)), [second.port], **policy)
        first = Proxy(self, text)
        steps: list[Step] = []
        client = DemoClient(reactor, ("127.0.0.1", first.port), cluster.authority_pem, steps.append)
        topic = "persistent://public/default/chained"
        await client.round_trip(
            await client.look_up(f"pulsar+ssl://{cluster.service_name}", topic), topic, b"through two"
        )
        for proxy in (first, second):
            for number in range(2):
                self.assertEqual(Result.OK, (await proxy.ended(number)).result)
        return first, second, steps

    def check(self, first: Proxy, second: Proxy, steps: list[Step]) -> None:
        """Assert that both proxies saw both phases, with equal byte counts."""
        seen = [{(r.server_name, r.bytes_up, r.bytes_down) for r in proxy.records} for proxy in (first, second)]
        self.assertEqual(seen[0], seen[1])
        self.assertEqual(2, len(seen[0]))
        self.assertEqual(2, sum(isinstance(step, Connected) for step in steps))
        self.assertEqual(ReadBack(b"through two"), steps[-1])

    async def test_written_out(self) -> None:
        """With a written next proxy, no policy applies, and the last proxy resolves the names."""
        self.check(*await self.visit("127.0.0.1:PORT"))

    async def test_by_name(self) -> None:
        """The names themselves lead to the next proxy, by the DNS of the client's network."""
        self.names(vip=[["127.0.0.1"]], broker_1=[["127.0.0.1"]], broker_2=[["127.0.0.1"]])
        self.check(*await self.visit("{server_name}:PORT", cidrs=["127.0.0.0/8"]))

    async def test_refused_by_the_last(self) -> None:
        """The alert of the last proxy reaches the client through the first."""
        last = Proxy(self, "")
        first = Proxy(self, forward(f"127.0.0.1:{last.port}"))
        with first.connect() as client:
            client.sendall(hello(name="broker-1.pulsar.test"))
            self.assertEqual(b"\x15\x03\x03\x00\x02\x02\x70", await in_thread(read_to_end, client))
        self.assertEqual((Result.OK, 7), ((await first.ended()).result, first.records[0].bytes_down))
        self.assertEqual(Result.NO_ROUTE, (await last.ended()).result)
