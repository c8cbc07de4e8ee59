"""Tests for sniproxy.cli.who.command, against running proxies."""

from __future__ import annotations

import io
import json
import socket
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl
from sniproxy.cli.who.command import Connections
from sniproxy.logs.access import json_line
from sniproxy.net.listener import address_text
from sniproxy.proxyprotocol.header import Address
from sniproxy.proxyprotocol.writer import write_v1
from sniproxy.util.text import printable
from tests.cli.who.stats import AdminAPI, stats
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.sockets import SocketTestCase, in_thread, read_exactly

STATS = "/admin/v2/persistent/public/default/t/stats"
ADMIN = '[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n'


class ConnectionsTests(SynchronousTestCase):
    """Connections."""

    def test_preference(self) -> None:
        """An address is that of a proxy first; only without one it is that of a client whose target got a header."""
        found = Connections()
        for number, (local, client, sent) in enumerate(
            (("p:1", "a:1", True), ("a:1", "b:1", True), ("p:2", "c:1", False))
        ):
            found.add({"id": number, "upstream_local": local, "client": client, "header_sent": sent})
        found.add({"id": 3, "upstream_local": "p:3", "client": "b:1"})
        for address, ids in (("p:1", [0]), ("a:1", [1]), ("b:1", [1]), ("c:1", []), ("p:3", [3])):
            self.assertEqual(ids, [one["id"] for one in found.at(address)])


class WhoTests(SocketTestCase):
    """sniproxyctl who."""

    def proxy(self, more: str = "", rest: str = "", route_more: str = "") -> tuple[Proxy, str]:
        self.backend = Backend(self)
        return self.serve(more, rest, route_more)

    def serve(self, more: str = "", rest: str = "", route_more: str = "") -> tuple[Proxy, str]:
        """A proxy in front of the backend, and the URL of its endpoint."""
        proxy = Proxy(self, LISTENER + more + route(self.backend.address, more=route_more) + ADMIN + rest)
        address = proxy.service.admin_address
        assert address is not None
        return proxy, "http://{}:{}".format(*address)

    async def tunnel(self, proxy: Proxy, before: bytes = b"", sent: bytes = b"") -> tuple[socket.socket, str]:
        """Open a tunnel. @param before: the client sends it before its hello. @param sent: the proxy does.

        @return: the client, and the address that the backend sees.
        """
        client = proxy.connect()
        self.addCleanup(client.close)
        client.sendall(before + hello(name=NAME))
        upstream = await in_thread(self.backend.accept)
        self.addCleanup(upstream.close)
        self.assertEqual(sent, (await in_thread(read_exactly, upstream, len(sent + hello(name=NAME))))[: len(sent)])
        return client, address_text(upstream.getpeername())

    async def ctl(self, *arguments: str) -> tuple[int, str, str]:
        out, error = io.StringIO(), io.StringIO()
        status = await in_thread(ctl.main, list(arguments), ctl.Streams(io.BytesIO(), out, error))
        return status, out.getvalue(), error.getvalue()

    async def test_live(self) -> None:
        """An open connection of one of several proxies, and an address that none of them knows."""
        (one, url), (other, other_url) = self.proxy(), self.proxy()
        client, address = await self.tunnel(other)
        shown = "{}:{}".format(*client.getsockname())
        status, out, error = await self.ctl("who", address, "--admin", url, "--admin", other_url)
        self.assertEqual((0, ""), (status, error))
        self.assertEqual(address, out.splitlines()[0])
        self.assertRegex(out, rf"\n  client {shown}  {NAME} -> {self.backend.address}  open for \d+ s, up ")
        self.assertIn(f"(proxy {other_url}, ", out)
        status, out, _ = await self.ctl("who", "192.0.2.1:9", address, "--admin", other_url)
        self.assertEqual((1, "192.0.2.1:9"), (status, out.splitlines()[0]))
        self.assertIn("not found: it came by another way", out)
        self.assertEqual([], one.records)

    async def test_forms(self) -> None:
        """An IPv4 address is found in each form of Java, live and in logs."""
        proxy, url = self.proxy()
        _, address = await self.tunnel(proxy)
        port = address.rpartition(":")[2]
        log = Path(self.mktemp())
        log.write_text(json_line(next(iter(proxy.service.view.live())).record))
        for text in (f"/{address}", f"localhost/{address}", f"[::ffff:127.0.0.1]:{port}"):
            for source in (("--admin", url), ("--log", str(log))):
                status, out, error = await self.ctl("who", text, *source)
                self.assertEqual((0, "", address), (status, error, out.splitlines()[0]))

    async def test_ipv6(self) -> None:
        """An IPv6 address is found as Java prints it, live, in logs and of a topic."""
        self.backend = Backend(self, "::1")
        proxy, url = self.serve()
        _, address = await self.tunnel(proxy)
        port = address.rpartition(":")[2]
        log = Path(self.mktemp())
        log.write_text(json_line(next(iter(proxy.service.view.live())).record))
        java = f"[0:0:0:0:0:0:0:1]:{port}"
        for text in (java, f"/{java}", f"0:0:0:0:0:0:0:1:{port}"):
            for source in (("--admin", url), ("--log", str(log))):
                status, out, error = await self.ctl("who", text, *source)
                self.assertEqual((0, "", f"[::1]:{port}"), (status, error, out.splitlines()[0]))
        api = AdminAPI(self, {STATS: stats(f"/{java}", "local")})
        topic = ("--topic", "t", "--broker-admin", api.url)
        status, out, _ = await self.ctl("who", *topic, "--admin", url, "--log", str(log))
        self.assertEqual((1, 1, 1), (status, out.count("  client "), out.count("not found")), out)

    async def test_through_a_balancer(self) -> None:
        """The client is the one that the load balancer's header names."""
        proxy, url = self.proxy('proxy_protocol = "required"\n')
        client, address = await self.tunnel(proxy, write_v1(Address("192.0.2.7", 5), Address("192.0.2.8", 6)))
        _, out, _ = await self.ctl("who", address, "--admin", url)
        self.assertIn("client 192.0.2.7:5 through {}:{}".format(*client.getsockname()), out)

    async def test_header_sent(self) -> None:
        """Brokers that get the client's address in a header show it: the client is found, live and in logs."""
        proxy, url = self.proxy('proxy_protocol = "required"\n', route_more='send_proxy = "v1"\n')
        source, destination = Address("2001:db8::7", 5), Address("2001:db8::1", 6)
        _, address = await self.tunnel(proxy, write_v1(source, destination), write_v1(source, destination))
        log = Path(self.mktemp())
        log.write_text(json_line(next(iter(proxy.service.view.live())).record))
        api = AdminAPI(self, {STATS: stats("2001:db8::7:5")})
        for asked in (["[2001:db8::7]:5"], [address], ["--topic", "t", "--broker-admin", api.url]):
            for source_of in (("--admin", url), ("--log", str(log))):
                status, out, error = await self.ctl("who", *asked, *source_of)
                self.assertEqual((0, ""), (status, error))
                self.assertIn("\n  client [2001:db8::7]:5 through ", out)

    async def test_log(self) -> None:
        """A past connection in a log; one that is still open is listed once."""
        proxy, url = self.proxy()
        _, address = await self.tunnel(proxy)
        log = Path(self.mktemp())
        live = next(iter(proxy.service.view.live()))
        log.write_text("\n".join(map(json_line, [*proxy.records, live.record])))
        status, out, _ = await self.ctl("who", address, "--log", str(log), "--json")
        self.assertEqual(0, status)
        (found,) = [json.loads(line) for line in out.splitlines()]
        self.assertEqual((address, str(log)), (found["address"], found["connections"][0]["log"]))
        _, out, _ = await self.ctl("who", address, "--log", str(log), "--admin", url)
        self.assertEqual(1, out.count("  client "), out)

    async def test_opened(self) -> None:
        """With [access_log] opened, the log knows open tunnels; the last line of a connection counts."""
        log = Path(self.mktemp()).resolve()
        proxy, _ = self.proxy(rest=f'[access_log]\npath = "{log}"\nopened = true\n')
        client, address = await self.tunnel(proxy)
        while not log.exists() or not log.read_text():  # lines wait for others for a moment
            await in_thread(int)
        status, out, _ = await self.ctl("who", address, "--log", str(log))
        self.assertEqual((0, 1), (status, out.count("  open at ")))
        with log.open("a") as file:
            live = next(iter(proxy.service.view.live()))
            print(json_line(live.record), file=file)
        _, out, _ = await self.ctl("who", address, "--log", str(log))
        self.assertEqual((1, 0), (out.count("  client "), out.count("  open at ")))
        client.close()

    async def test_topic(self) -> None:
        """The producers and consumers of a topic, each with its client."""
        proxy, url = self.proxy()
        client, address = await self.tunnel(proxy)
        api = AdminAPI(self, {STATS: stats(f"/{address}", sub="/192.0.2.1:9")})
        status, out, error = await self.ctl("who", "--topic", "t", "--broker-admin", api.url, "--admin", url)
        self.assertEqual((1, ""), (status, error))
        first, second, third, _ = out.splitlines()
        self.assertEqual([f"producer p0 {address}", "consumer sub/c 192.0.2.1:9"], [first, third])
        self.assertIn("client {}:{} ".format(*client.getsockname()), second)

    async def test_errors(self) -> None:
        """A source that cannot be read is named, and the others are shown."""
        proxy, url = self.proxy()
        _, address = await self.tunnel(proxy)
        for bad, why in (
            (["--log", "/nowhere.jsonl"], "/nowhere.jsonl: No such file"),
            (["--admin", "http://127.0.0.1:1"], "http://127.0.0.1:1: "),
        ):
            status, out, error = await self.ctl("who", address, "--admin", url, *bad)
            self.assertEqual(1, status)
            self.assertIn("  client ", out)
            self.assertIn(f"sniproxyctl: {why}", error)
        status, out, error = await self.ctl("who", address, "--admin", "http://127.0.0.1:1")
        self.assertEqual(1, status)
        api = AdminAPI(self, {STATS: stats()})
        for topic, why in (("t", "no producer and no consumer"), ("u", "knows no topic"), ("a/b", "invalid topic")):
            status, _, error = await self.ctl("who", "--topic", topic, "--broker-admin", api.url, "--admin", url)
            self.assertEqual(1, status)
            self.assertIn(why, error)

    async def test_usage(self) -> None:
        """Wrong usage exits with 2."""
        for arguments in (
            ["10.0.0.5:1"],
            ["--admin", "http://a:1"],
            ["--topic", "t", "--admin", "http://a:1"],
            ["10.0.0.5:1", "--broker-admin", "http://a:1", "--admin", "http://a:1"],
        ):
            self.patch(sys, "stderr", io.StringIO())
            error = self.assertRaises(SystemExit, ctl.main, ["who", *arguments])
            self.assertEqual(2, error.code)

    async def test_no_address(self) -> None:
        """A text that is not an IP address and a port is wrong usage, with the value and the cure."""
        for text in ("127.0.0.1", "localhost:80", "::1", "a\x1b[31m:1"):
            error = io.StringIO()
            self.patch(sys, "stderr", error)
            status = self.assertRaises(SystemExit, ctl.main, ["who", text, "--admin", "http://127.0.0.1:1"])
            self.assertEqual(2, status.code)
            self.assertIn(
                f"{printable(text)!r}: write an IP address and a port, as in 10.0.0.5:43210 or", error.getvalue()
            )
