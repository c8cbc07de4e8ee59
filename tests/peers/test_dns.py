"""The dns resolver with a real name server, Knot DNS."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from sniproxy.interfaces import Refused, Resolution, Unavailable
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.cache.cache import CachedResolver
from sniproxy.resolvers.dns import resolver as dns_resolver
from sniproxy.testing import ResolverContract, question
from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.peers.needs import require
from tests.resolvers.cache.scripted import request
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy
from tests.support.reactor import reactor
from tests.support.sockets import in_thread

ZONE = """
$ORIGIN pulsar.test.
$TTL 1
@ SOA ns admin {serial} 3600 600 86400 2
@ NS ns
ns A 127.0.0.1
broker-1 A {address}
broker-1 AAAA 2001:db8::1
alias 30 CNAME broker-1
text TXT "no address"
_pulsar._tcp 20 SRV 1 60 6651 broker-1
_pulsar._tcp 20 SRV 1 40 6652 broker-1
_pulsar._tcp 20 SRV 2 0 6653 ns
{many}
"""
MANY = 200
"""Addresses of one name: more than fit into a datagram."""


class KnotCase(TestCase):
    """A zone on its own server, and a port without a server."""

    timeout = 60

    def setUp(self) -> None:
        require("knotd", "knotc")
        # On a busy machine the second family may be later than that; tests/resolvers/dns has what happens then.
        self.patch(dns_resolver, "FAMILY_DELAY_S", float(self.timeout))
        # A short path: the server ends when that of its control socket has more than 107 characters.
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)
        self.closed = free_ports(1)[0]
        self.write("127.0.0.1", 1)
        self.port = self.start("knot")

    def start(self, name: str, zone: str | None = None) -> int:
        """Start a server. @param zone: the text of the zone file; None: as L{write} makes it. @return: its port."""
        folder = self.folder / name
        (folder / "db").mkdir(parents=True)
        file = self.folder / "zone"
        if zone is not None:
            file = folder / "zone"
            file.write_text(zone)
        port = free_ports(1)[0]
        config = folder / "knot.conf"
        config.write_text(
            f"server:\n  listen: 127.0.0.1@{port}\n  rundir: {folder}\n  pidfile: {folder}/pid\n"
            f"database:\n  storage: {folder}/db\n"
            "log:\n  - target: stdout\n    any: info\n"
            f"zone:\n  - domain: pulsar.test\n    file: {file}\n"
        )
        server = Child(["knotd", "-c", str(config)], cwd=folder)
        self.addCleanup(server.stop)
        server.wait_for(_serves if zone is None else _started, "the zone")
        if zone is None:
            self.server = server
        return port

    def write(self, address: str, serial: int) -> None:
        """Write the next version of the zone."""
        many = "\n".join(f"many A 192.0.2.{number}" for number in range(1, MANY + 1))
        (self.folder / "zone").write_text(ZONE.format(address=address, serial=serial, many=many))

    def resolver(self, *servers: str, **options: Any) -> Any:
        default = (f"127.0.0.1:{self.port}",)
        return make_resolver("dns", {"servers": list(servers or default), **options}, reactor)

    def ask(self, resolver: Any, name: str) -> Deferred[Resolution]:
        return Deferred.fromCoroutine(resolver.resolve(request(name)))

    def control(self, *arguments: str) -> None:
        """Run knotc in a thread."""
        command = ["knotc", "-s", str(self.folder / "knot" / "knot.sock"), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=20)


class ContractTests(ResolverContract, KnotCase):
    """The contract of all resolvers."""

    known = question("broker-1.pulsar.test")
    unknown = question("gone.pulsar.test")

    def make(self) -> Any:
        return self.resolver()

    def silence(self) -> Any:
        mute = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(mute.close)
        mute.bind(("127.0.0.1", 0))
        return self.resolver(f"127.0.0.1:{mute.getsockname()[1]}")


class KnotTests(KnotCase):
    """Names in the zone."""

    async def test_addresses(self) -> None:
        """Addresses of both families, aliases and TTLs are those of the zone."""
        for name in ("broker-1.pulsar.test", "alias.pulsar.test"):
            found = await self.ask(self.resolver(), name)
            self.assertEqual([("2001:db8::1", "127.0.0.1")], [target.addresses for target in found.targets])
            self.assertEqual(1.0, found.ttl)

    async def test_services(self) -> None:
        """SRV records by priority and weight."""
        found = await self.ask(self.resolver(srv="_pulsar._tcp.pulsar.test", ipv6=False), "any.test")
        self.assertEqual([(6651, 3), (6652, 2), (6653, 0)], [(target.port, target.weight) for target in found.targets])

    async def test_refusals(self) -> None:
        """A missing name, and a name without addresses, are refused for the TTL of the zone."""
        for name, said in (("gone.pulsar.test", "does not exist"), ("text.pulsar.test", "has no address")):
            error: Any = await self.assertFailure(self.ask(self.resolver(), name), Refused)
            self.assertEqual((f"{name} {said}", 1.0), (error.reason, error.ttl))

    async def test_truncation(self) -> None:
        """A truncated answer is fetched over TCP."""
        found = await self.ask(self.resolver(), "many.pulsar.test")
        self.assertEqual(MANY, len(found.targets[0].addresses))

    async def test_servers(self) -> None:
        """A port without a server is skipped; a name in a zone that the server does not serve is unavailable."""
        found = await self.ask(self.resolver(f"127.0.0.1:{self.closed}", f"127.0.0.1:{self.port}"), "ns.pulsar.test")
        self.assertEqual([("127.0.0.1",)], [target.addresses for target in found.targets])
        error = await self.assertFailure(self.ask(self.resolver(), "a.elsewhere.test"), Unavailable)
        self.assertIn("REFUSED", str(error))

    async def test_servfail(self) -> None:
        """A server with a broken zone fails: the stale answer is used until the zone is repaired."""
        asked = CachedResolver("dns", self.resolver(ipv6=False), reactor, deadline=5)
        self.addCleanup(asked.stop)
        name = request("broker-1.pulsar.test")
        self.assertEqual(("127.0.0.1",), (await asked.ask(name)).targets[0].addresses)
        await in_thread(self.control, "-f", "zone-purge", "+expire", "pulsar.test")
        await self.until_fails()
        asked.forget()
        self.assertEqual(("127.0.0.1",), (await asked.ask(name)).targets[0].addresses)
        self.assertEqual((1, 1), (asked.counts.stale, asked.counts.failures))
        error = await self.assertFailure(Deferred.fromCoroutine(asked.ask(request("ns.pulsar.test"))), Unavailable)
        self.assertIn(f"127.0.0.1:{self.port}: server failed (SERVFAIL)", str(error))
        self.write("127.0.0.2", 2)
        await in_thread(self.control, "reload")
        await self.follow()
        asked.forget()
        self.assertEqual(("127.0.0.2",), (await asked.ask(name)).targets[0].addresses)

    async def test_servfail_by_the_first(self) -> None:
        """A failing first server is skipped."""
        broken = self.start("broken", 'this is "no zone')
        self.assertNotEqual(self.port, broken)
        error = await self.assertFailure(
            self.ask(self.resolver(f"127.0.0.1:{broken}"), "broker-1.pulsar.test"), Unavailable
        )
        self.assertIn("SERVFAIL", str(error))
        both = self.resolver(f"127.0.0.1:{broken}", f"127.0.0.1:{self.port}", ipv6=False)
        found = await self.ask(both, "broker-1.pulsar.test")
        self.assertEqual([("127.0.0.1",)], [target.addresses for target in found.targets])

    async def test_silence(self) -> None:
        """A suspended server is silent: the stale answer is used, and later the server is queried again."""
        asked = CachedResolver("dns", self.resolver(ipv6=False), reactor, deadline=3)
        self.addCleanup(asked.stop)
        name = request("broker-1.pulsar.test")
        self.assertEqual(("127.0.0.1",), (await asked.ask(name)).targets[0].addresses)
        self.server.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.server.process.pid, os.WUNTRACED)  # until then it may still answer
        self.addCleanup(self.server.process.send_signal, signal.SIGCONT)  # else it would not hear that it shall end
        asked.forget()
        self.assertEqual(("127.0.0.1",), (await asked.ask(name)).targets[0].addresses)
        self.assertEqual(1, asked.counts.stale)
        error = await self.assertFailure(Deferred.fromCoroutine(asked.ask(request("x.pulsar.test"))), Unavailable)
        self.assertIn("no answer within 3 s", str(error))
        self.server.process.send_signal(signal.SIGCONT)
        asked.forget()
        self.assertEqual(("127.0.0.1",), (await asked.ask(request("ns.pulsar.test"))).targets[0].addresses)
        self.assertEqual(1, asked.counts.stale)

    async def test_change(self) -> None:
        """The proxy follows the zone: a changed record is used when the TTL of the previous answer is over."""
        backend = Backend(self)
        proxy = Proxy(
            self,
            '[[route]]\nserver_name = "*.pulsar.test"\nresolver = "zone"\n[resolver.zone]\ntype = "dns"\nipv6 = false\n'
            f'target = "broker-1.pulsar.test:{backend.port}"\nservers = "127.0.0.1:{self.port}"\n',
        )
        with proxy.connect() as client:
            client.sendall(hello(name="vip.pulsar.test"))
            (await in_thread(backend.accept)).close()
        self.assertEqual(f"broker-1.pulsar.test:{backend.port}", (await proxy.ended()).target)
        asked = CachedResolver("dns", self.resolver(ipv6=False), reactor)
        self.addCleanup(asked.stop)
        before = await asked.ask(request("broker-1.pulsar.test"))
        self.write("127.0.0.2", 2)
        await in_thread(self.control, "zone-reload", "pulsar.test")
        await self.follow()
        after = before
        while after == before:  # for the second that it holds
            after = await asked.ask(request("broker-1.pulsar.test"))
            await deferLater(reactor, 0)
        self.assertEqual(("127.0.0.2",), after.targets[0].addresses)

    async def until_fails(self) -> None:
        """The zone's answers, and those of a server that fails."""
        resolver = self.resolver(ipv6=False)
        while True:
            try:
                await self.ask(resolver, "broker-1.pulsar.test")
            except Unavailable:
                return

    async def follow(self) -> Resolution:
        """Load the zone's next answer."""
        resolver = self.resolver(ipv6=False)
        while True:
            try:
                found = await self.ask(resolver, "broker-1.pulsar.test")
            except Unavailable:
                continue
            if found.targets[0].addresses != ("127.0.0.1",):
                return found


def _serves(lines: list[str]) -> bool | None:
    """Whether the zone is loaded."""
    return all(any(said in line for line in lines) for said in ("loaded, serial", "server started")) or None


def _started(lines: list[str]) -> bool | None:
    """Whether the server answers, with or without the zone."""
    return any("server started" in line for line in lines) or None
