"""What stands beside the tunnels, in a running proxy: the admin endpoint above all."""

from __future__ import annotations

import json
import os
import re
import socket
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from twisted.internet.error import CannotListenError

from sniproxy.events import Result
from sniproxy.server.listeners import why_not_listening
from tests.support.adminendpoint import ADMIN
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.lookups import ASK, TOPIC, answer
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread, read_exactly, read_to_end


class AdminTests(SocketTestCase):
    """The admin endpoint shows what the proxy does."""

    async def get(self, proxy: Proxy, path: str, **headers: str) -> tuple[int, str]:
        """Ask. @return: the status and the body."""
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

    async def test_tunnels(self) -> None:
        """/status has the live tunnel, /metrics the ended one, and neither the name that was refused as a label."""
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
        """/ready says 503 while it drains; then nobody answers any more."""
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

    async def test_foreign_host(self) -> None:
        """A page elsewhere that names this address as its own host learns nothing."""
        proxy = Proxy(self, route("127.0.0.1:9") + ADMIN)
        self.assertEqual(403, (await self.get(proxy, "/status", Host="evil.example"))[0])

    async def test_prometheus_example(self) -> None:
        """The configuration in docs/howto/scale.md answers what Prometheus, configured as that page says, asks for."""
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
        """Connections of the admin endpoint count in the limit of open files, and no longer when they have ended."""
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
        """A busy admin port is an error like a listener's; nothing listens then."""
        with socket.create_server(("127.0.0.1", 0)) as holder:
            text = f'{LISTENER}[admin]\nendpoint = "tcp:{holder.getsockname()[1]}:interface=127.0.0.1"\n'
            error = self.assertRaises(CannotListenError, Proxy, self, text)
            self.assertIn(f"it is held by pid {os.getpid()}", why_not_listening(error))
        await in_thread(int)

    async def test_unix(self) -> None:
        """The admin endpoint may be a unix socket; one that cannot be made is an error in one line."""
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

    async def test_not_a_target(self) -> None:
        """The admin endpoint is a listener of ours: it is no target."""
        proxy = Proxy(self, route("127.0.0.1:9") + ADMIN)
        assert proxy.service.admin_address is not None
        self.assertIsNotNone(proxy.service._guard.denies(*proxy.service.admin_address))
        self.assertEqual([], [record for record in proxy.records if record.result is not Result.OK])
