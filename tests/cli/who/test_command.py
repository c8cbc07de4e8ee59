"""Tests for sniproxy.cli.who.command, against running proxies."""

from __future__ import annotations

import io
import json
import socket
import sys
from pathlib import Path

from sniproxy import ctl
from sniproxy.logs.access import json_line
from sniproxy.proxyprotocol.header import Address
from sniproxy.proxyprotocol.writer import write_v1
from tests.cli.who.stats import AdminAPI, stats
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.sockets import SocketTestCase, in_thread, read_exactly

ADMIN = '[admin]\nendpoint = "tcp:0:interface=127.0.0.1"\n'


class WhoTests(SocketTestCase):
    """sniproxyctl who."""

    def proxy(self, more: str = "", rest: str = "") -> tuple[Proxy, str]:
        self.backend = Backend(self)
        proxy = Proxy(self, LISTENER + more + route(self.backend.address) + ADMIN + rest)
        address = proxy.service.admin_address
        assert address is not None
        return proxy, "http://{}:{}".format(*address)

    async def tunnel(self, proxy: Proxy, before: bytes = b"") -> tuple[socket.socket, str]:
        """Open a tunnel. @return: the client, and the address that the backend sees."""
        client = proxy.connect()
        self.addCleanup(client.close)
        client.sendall(before + hello(name=NAME))
        upstream = await in_thread(self.backend.accept)
        self.addCleanup(upstream.close)
        await in_thread(read_exactly, upstream, len(hello(name=NAME)))
        return client, "{}:{}".format(*upstream.getpeername())

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

    async def test_through_a_balancer(self) -> None:
        """The client is the one that the load balancer's header names."""
        proxy, url = self.proxy('proxy_protocol = "required"\n')
        client, address = await self.tunnel(proxy, write_v1(Address("192.0.2.7", 5), Address("192.0.2.8", 6)))
        _, out, _ = await self.ctl("who", address, "--admin", url)
        self.assertIn("client 192.0.2.7:5 through {}:{}".format(*client.getsockname()), out)

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
        api = AdminAPI(self, {"/admin/v2/persistent/public/default/t/stats": stats(f"/{address}", sub="/192.0.2.1:9")})
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
        api = AdminAPI(self, {"/admin/v2/persistent/public/default/t/stats": stats()})
        for topic, why in (("t", "no producer and no consumer"), ("u", "knows no topic"), ("a/b", "invalid topic")):
            status, _, error = await self.ctl("who", "--topic", topic, "--broker-admin", api.url, "--admin", url)
            self.assertEqual(1, status)
            self.assertIn(why, error)

    async def test_usage(self) -> None:
        """Wrong usage exits with 2."""
        for arguments in (
            ["a:1"],
            ["--admin", "http://a:1"],
            ["--topic", "t", "--admin", "http://a:1"],
            ["a:1", "--broker-admin", "http://a:1", "--admin", "http://a:1"],
        ):
            self.patch(sys, "stderr", io.StringIO())
            error = self.assertRaises(SystemExit, ctl.main, ["who", *arguments])
            self.assertEqual(2, error.code)
