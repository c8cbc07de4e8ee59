"""Tests for sniproxy.server.targetview over loopback: what the admin endpoint says is what was sent through."""

from __future__ import annotations

import json
import socket
import urllib.error
import urllib.request
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from tests.support.adminendpoint import ADMIN
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy, open_tunnel
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread, read_exactly, read_to_end

DEAD = "127.0.0.1:1"


class LoopbackTests(SocketTestCase):
    """/status, /metrics and /tunnels of a proxy with traffic."""

    def start(self, more: str = "") -> Proxy:
        self.one, self.two = Backend(self), Backend(self)
        routes = {
            "a.test": f'"{self.one.address}"',
            "b.test": f'["{DEAD}", "{self.two.address}"]',
            "c.test": f'"{DEAD}"',
            "*.d.test": '"{1}.invalid:6651"',
        }
        text = "".join(f'[[route]]\nserver_name = "{name}"\ntarget = {to}\n' for name, to in routes.items())
        policy = '[policy]\nallow_names = ["*.invalid"]\n'
        return Proxy(self, text + ADMIN + policy + more)

    async def ask(self, proxy: Proxy, path: str) -> bytes:
        assert proxy.service.admin_address is not None
        host, port = proxy.service.admin_address

        def asked() -> bytes:
            with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=TIMEOUT_S) as answer:
                body: bytes = answer.read()
                return body

        return await in_thread(asked)

    async def status(self, proxy: Proxy) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(await self.ask(proxy, "/status"))
        return document

    async def refused(self, proxy: Proxy, name: str) -> None:
        """Connect by a name that leads nowhere."""
        with proxy.connect() as client:
            client.sendall(hello(name=name))
            await in_thread(read_to_end, client)

    async def pass_bytes(self, client: socket.socket, upstream: socket.socket, up: int, down: int) -> None:
        client.sendall(bytes(up))
        await in_thread(read_exactly, upstream, up)
        upstream.sendall(bytes(down))
        await in_thread(read_exactly, client, down)

    async def test_counts(self) -> None:
        """Targets, routes and listeners have the connections, results and bytes that passed, ended ones included."""
        proxy = self.start()
        tunnels = [await open_tunnel(self, proxy, self.one, "a.test") for _ in range(3)]
        for client, upstream in tunnels:
            await self.pass_bytes(client, upstream, 1000, 5000)
        tunnels[0][0].close()
        tunnels[0][1].close()
        await proxy.ended(0)
        other = await open_tunnel(self, proxy, self.two, "b.test")
        await self.pass_bytes(*other, 10, 20)
        # The tunnel is open, and the failed connect before it is counted already.
        found = {one["target"]: one for one in (await self.status(proxy))["targets"]}
        self.assertEqual(1, found[DEAD]["connects"]["refused"])
        for name in ("c.test", "x.d.test", "none.test"):
            await self.refused(proxy, name)
        document = await self.status(proxy)
        size = len(hello(name="a.test"))
        targets = {one["target"]: one for one in document["targets"]}
        self.assertEqual({self.one.address, DEAD, self.two.address}, set(targets))
        self.assertEqual(3, document["target_count"])
        one = targets[self.one.address]
        self.assertEqual((2, 3), (one["connections"], one["most"]))
        self.assertEqual((3 * (1000 + size), 3 * 5000), (one["bytes_up"], one["bytes_down"]))
        self.assertEqual({"ok": 3, "refused": 0, "timeout": 0, "unreachable": 0, "failed": 0}, one["connects"])
        self.assertTrue(0 <= one["connect_p50_s"] <= one["connect_p99_s"] <= 10.0)
        self.assertEqual((["a.test"], ["a.test"], "unchecked"), (one["names"], one["routes"], one["state"]))
        dead = targets[DEAD]
        self.assertEqual((0, 2, "Connection refused"), (dead["connections"], dead["connects"]["refused"], dead["why"]))
        self.assertEqual((["b.test", "c.test"], None), (dead["names"], dead["connect_p50_s"]))
        routes = {one["server_name"]: one for one in document["routes"]}
        self.assertEqual(
            {"a.test": 2, "b.test": 1, "c.test": 0, "*.d.test": 0},
            {name: one["connections"] for name, one in routes.items()},
        )
        self.assertEqual((0, 1, 1), tuple(routes[name]["refused"] for name in ("a.test", "c.test", "*.d.test")))
        self.assertEqual((None, f"{DEAD}: Connection refused"), (routes["b.test"]["error"], routes["c.test"]["error"]))
        self.assertEqual({"connect_failed": 2, "no_route": 1}, document["refusals_by"])
        (listener,) = document["listeners"]
        self.assertEqual((3, 3), (listener["connections"], listener["refused"]))
        metrics = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families((await self.ask(proxy, "/metrics")).decode())
            for sample in family.samples
        }
        self.assertEqual(7, metrics["sniproxy_listener_accepted_total", "public"])
        self.assertEqual(3 * 5000, metrics["sniproxy_target_bytes_total", self.one.address, "down"])
        self.assertEqual(2, metrics["sniproxy_target_connects_total", DEAD, "refused"])
        self.assertEqual(1, metrics["sniproxy_target_connects_total", "failed", "other"])
        self.assertEqual(3, metrics["sniproxy_target_connect_seconds_count", self.one.address])
        listed = json.loads(await self.ask(proxy, "/tunnels?filter=A.TEST&sort=bytes"))
        self.assertEqual(
            (3, 2, [5000] * 2), (listed["live"], listed["matched"], [one["bytes_down"] for one in listed["tunnels"]])
        )

    async def test_ejected(self) -> None:
        """A target that is ejected is shown so, and the route that has no other fails."""
        proxy = self.start("[health]\neject = 60\nfall = 1\n")
        await self.refused(proxy, "c.test")
        document = await self.status(proxy)
        states = {one["target"]: (one["state"], one["why"]) for one in document["targets"]}
        self.assertEqual(("ejected", "Connection refused"), states[DEAD])
        self.assertEqual(("up", ""), states[self.one.address])
        errors = {one["server_name"]: one["error"] for one in document["routes"]}
        self.assertEqual((None, f"{DEAD}: Connection refused"), (errors["b.test"], errors["c.test"]))

    async def test_stopped(self) -> None:
        """The endpoint's samples end with the service: trial would report a timer that is left."""
        proxy = self.start()
        self.assertEqual([], json.loads(await self.ask(proxy, "/history"))["series"]["new"])
        await proxy.service.stopService()
        with self.assertRaises((urllib.error.URLError, AssertionError)):
            await self.ask(proxy, "/history")
