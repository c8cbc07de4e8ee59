"""Tests for sniproxy.cli.adminclient, with a running proxy."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path

from sniproxy import ctl
from sniproxy.cli.adminclient import (
    MAX_ASKED,
    AdminError,
    as_url,
    drain,
    fetch_ledger,
    fetch_status,
    fetch_who,
    undrain,
    upgrade,
)
from sniproxy.inspector.layouts import Segment
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from tests.support.adminendpoint import ADMIN
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.lookups import ASK, TOPIC, answer
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import SocketTestCase, in_thread, read_exactly


class TopicsTests(SocketTestCase):
    """The ledger of a running proxy, as entries and as `sniproxyctl topics URL` shows it."""

    async def inspected(self, *more: bytes) -> str:
        """A proxy that has inspected lookups of a topic at two brokers. @return: the URL of its admin endpoint.

        @param more: what the broker sends then.
        """
        backend = Backend(self)
        proxy = Proxy(
            self,
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "plain"\nplaintext = true\n'
            f'inspect = "pulsar"\ntarget = "{backend.address}"\n{ADMIN}',
        )
        with proxy.connect("plain") as client, await in_thread(backend.accept) as broker:
            for name in ("broker-1.test", "broker-2.test"):
                client.sendall(ASK)
                await in_thread(read_exactly, broker, len(ASK))
                broker.sendall(answer(name))
                await in_thread(read_exactly, client, len(answer(name)))
            broker.sendall(b"".join(more))
            await in_thread(read_exactly, client, len(b"".join(more)))
        await proxy.ended()
        return self.url(proxy)

    def url(self, proxy: Proxy) -> str:
        assert proxy.service.admin_address is not None
        return "http://{}:{}".format(*proxy.service.admin_address)

    async def test_who(self) -> None:
        """Connections are found by any number of addresses, in several queries."""
        backend = Backend(self)
        proxy = Proxy(self, route(backend.address) + ADMIN)
        with proxy.connect() as client:
            client.sendall(hello(name=NAME))
            with await in_thread(backend.accept) as upstream:
                asked = [f"192.0.2.1:{port}" for port in range(1, MAX_ASKED + 1)]
                asked.append("{}:{}".format(*upstream.getpeername()))
                while not (found := await in_thread(fetch_who, self.url(proxy), asked)):
                    await in_thread(int)
                self.assertEqual([NAME], [one["name"] for one in found])
        self.assertEqual([], await in_thread(fetch_who, self.url(proxy), []))

    async def test_entries(self) -> None:
        """Entries and moves equal those of the proxy."""
        ledger = await in_thread(fetch_ledger, f"{await self.inspected()}/")
        (entry,), (namespace,) = ledger.topics, ledger.namespaces
        self.assertEqual(("public/default", 2, 1), (namespace.namespace, namespace.lookups, namespace.moves))
        self.assertEqual(
            (TOPIC, "pulsar+ssl://broker-2.test:6651", 2), (entry.topic, entry.broker_url_tls, entry.lookups)
        )
        (move,) = entry.moves
        self.assertEqual("pulsar+ssl://broker-1.test:6651", move.from_url_tls)

    async def test_scalable(self) -> None:
        """Layouts and segments equal those of the proxy."""
        broker = pb.ScalableTopicSegmentBroker(segment_id=1, broker_url="pulsar://broker-1.test:6650")
        segment = pb.ScalableTopicSegment(segment_id=1, hash_start=0, hash_end=65535, parent_ids=[0])
        dag = pb.ScalableTopicDag(
            epoch=1, segments=[segment], segment_brokers=[broker], controller_broker_url="pulsar://c"
        )
        update = pb.CommandScalableTopicUpdate(session_id=1, dag=dag, resolved_topic_name="topic://a/b/t")
        ledger = await in_thread(fetch_ledger, await self.inspected(write(update)))
        found = {entry.topic: entry for entry in ledger.topics}
        layout = found["topic://a/b/t"].layout
        assert layout is not None
        self.assertEqual((1, "pulsar://c"), (layout.epoch, layout.controller_url))
        expected = Segment("topic://a/b/t", 1, 0, 65535, False, (0,), layout.listed)
        self.assertEqual(expected, found["segment://a/b/t/0000-ffff-1"].segment)

    async def test_command(self) -> None:
        """sniproxyctl topics takes the URL in place of a file."""
        url = await self.inspected()
        out, error = io.StringIO(), io.StringIO()
        streams = ctl.Streams(io.BytesIO(), out, error)
        self.assertEqual(0, await in_thread(ctl.main, ["topics", url, "--fold"], streams))
        self.assertIn(f"{TOPIC}  pulsar+ssl://broker-2.test:6651", out.getvalue())
        self.assertEqual("1 topic\n", error.getvalue())

    async def test_bare_address(self) -> None:
        """It also takes a host and port, as in [admin], unless a file has this name."""
        url = await self.inspected()
        out, error = io.StringIO(), io.StringIO()
        streams = ctl.Streams(io.BytesIO(), out, error)
        address = url.removeprefix("http://")
        self.assertEqual(0, await in_thread(ctl.main, ["topics", address, address], streams))
        self.assertEqual("1 topic\n", error.getvalue())
        Path(address).touch()
        self.addCleanup(Path(address).unlink)
        self.assertEqual(1, await in_thread(ctl.main, ["topics", address], streams))
        self.assertIn("the file is empty", error.getvalue())

    def test_url(self) -> None:
        """A host and port become a URL; other texts are unchanged, and fail on use."""
        for text in ("127.0.0.1:9090", "[::1]:9090", "proxy-1.example.com:9090", "localhost:9090/"):
            self.assertEqual(f"http://{text}", as_url(text))
        for text in ("http://127.0.0.1:9090", "https://a:1", "orders.pcap", "-", "a:b", "/tmp/x:1", "a:123456", ""):
            self.assertEqual(text, as_url(text))

    async def test_nothing_inspected(self) -> None:
        """For a proxy without inspection the error has the cure."""
        proxy = Proxy(self, route("127.0.0.1:9") + ADMIN)
        error = await self.assertFailure(in_thread(fetch_ledger, self.url(proxy)), AdminError)
        self.assertIn('inspect = "pulsar"', str(error))

    async def test_unix_socket(self) -> None:
        """An endpoint on a Unix socket needs no token to drain, and to cancel the drain."""
        path = os.path.relpath(self.mktemp())
        proxy = Proxy(self, f'{route("127.0.0.1:9")}[admin]\nendpoint = "unix:{path}"\n')
        url = f"unix:{path}"
        self.assertEqual(0, (await in_thread(fetch_status, url, 5, 5))["live"])
        draining = await in_thread(drain, url, NAME, 2.5)
        self.assertEqual((NAME, 2.5), (draining["name"], draining["rate"]))
        self.assertEqual([NAME], [status.name for status in proxy.service.view.drains.status()])
        self.assertEqual(NAME, (await in_thread(undrain, url, NAME))["name"])
        self.assertEqual([], list(proxy.service.view.drains.status()))
        error = await self.assertFailure(in_thread(drain, url, "unknown.test", 1.0), AdminError)
        self.assertIn("HTTP 404: ", str(error))

    async def answered(self, body: str) -> str:
        """The error for this answer of the endpoint."""
        backend = Backend(self)
        fetching = self.assertFailure(in_thread(fetch_ledger, f"http://{backend.address}"), AdminError)
        with await in_thread(backend.accept) as server:
            await in_thread(server.recv, 4096)
            server.sendall(f"HTTP/1.0 200 OK\r\n\r\n{body}".encode())
        return str(await fetching)

    async def test_other_answers(self) -> None:
        """Answers of another program, or of another release, are errors with the reason."""
        self.assertEqual("the answer is not a JSON object", await self.answered("[]"))
        self.assertIn("check that this is the [admin] endpoint", await self.answered("hello"))
        self.assertEqual(
            "unexpected answer, perhaps from another release: KeyError('topics')",
            await self.answered('{"inspecting": true}'),
        )

    async def upgraded(self, answer: bytes) -> str:
        """The error of an upgrade for these bytes of the endpoint."""
        backend = Backend(self)
        asking = self.assertFailure(in_thread(upgrade, f"http://{backend.address}"), AdminError)
        with await in_thread(backend.accept) as server:
            await in_thread(server.recv, 4096)
            server.sendall(answer)
        return str(await asking)

    async def test_upgrade(self) -> None:
        """Why there was no upgrade: the proxy's reason, escaped; an older release; another error; no HTTP at all."""
        for status, text, expected in (
            ("409 Conflict", "an upgrade is running", "no upgrade: an upgrade is running"),
            ("500 Error", "a\nb\x1b", "upgrade failed: a\nb\\x1b"),
            ("404 Not Found", "use /", "this release of the proxy cannot upgrade itself: restart it"),
            ("403 Forbidden", "Origin is another site", "HTTP 403: Origin is another site"),
        ):
            self.assertEqual(expected, await self.upgraded(f"HTTP/1.0 {status}\r\n\r\n{text}".encode()))
        self.assertIn("check that this is", await self.upgraded(b"HTTP/1.0 x\r\n\r\n"))

    async def test_timeout(self) -> None:
        """An endpoint that does not answer in time."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"http://127.0.0.1:{silent.getsockname()[1]}"
            error = await self.assertFailure(in_thread(upgrade, url, None, 0.05), AdminError)
        self.assertEqual("no answer within 0.05 s", str(error))

    async def test_no_endpoint(self) -> None:
        """A closed port and another server give errors."""
        with socket.create_server(("127.0.0.1", 0)) as nobody:
            url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        error = await self.assertFailure(in_thread(fetch_ledger, url), AdminError)
        self.assertIn("Connection refused; check that this is the [admin] endpoint", str(error))
        proxy = Proxy(self, route("127.0.0.1:9") + ADMIN)
        error = await self.assertFailure(in_thread(fetch_ledger, f"{self.url(proxy)}/nowhere"), AdminError)
        self.assertIn("HTTP 404", str(error))
        out, told = io.StringIO(), io.StringIO()
        status = await in_thread(ctl.main, ["topics", url], ctl.Streams(io.BytesIO(), out, told))
        self.assertEqual((1, ""), (status, out.getvalue()))
        self.assertIn(url, told.getvalue())
