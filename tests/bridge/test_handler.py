"""Connections through a bridge: which broker is dialled, and what is refused."""

from __future__ import annotations

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trustme
from msgspec.structs import replace

from sniproxy.bridge import handler, runtime
from sniproxy.bridge.runtime import BridgeRuntime
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Result
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, write
from sniproxy.pulsar.frames import FrameReader
from sniproxy.tls.alerts import Alert, fatal_alert
from tests.bridge.crowd import BridgeCase, Crowd, connects
from tests.client.scripted import B1, B2, TOPIC, VIP, Script, url
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy, SilentTarget
from tests.support.sockets import HandClock, in_thread, read_to_end
from tests.tls.material import CA, OTHER_CA, folder


class RefusalTests(BridgeCase):
    """Connections that the bridge refuses."""

    async def refused(self, crowd: Crowd, data: bytes) -> tuple[Any, bytes]:
        number = len(crowd.bridge.records)
        sock = self.raw(crowd)
        sock.sendall(data)
        got = await in_thread(read_to_end, sock)
        sock.close()
        return await crowd.bridge.ended(number), got

    def error(self, data: bytes) -> pb.CommandError:
        (frame,) = FrameReader().feed(data)
        found: pb.CommandError = fields_of(read(frame.command))
        self.assertEqual(2**64 - 1, found.request_id)
        return found

    async def test_not_connect(self) -> None:
        """A wrong first frame gets an error frame, TLS an alert, and other bytes a close."""
        crowd = Crowd(self, {})
        record, got = await self.refused(crowd, write(pb.CommandPing()))
        self.assertEqual((Result.NOT_PULSAR, pb.ServerError.NotAllowedError), (record.result, self.error(got).error))
        record, got = await self.refused(crowd, hello())
        self.assertEqual((Result.NOT_PULSAR, fatal_alert(Alert.HANDSHAKE_FAILURE)), (record.result, got))
        record, got = await self.refused(crowd, b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual((Result.NOT_PULSAR, b""), (record.result, got))

    async def test_not_connect_is_logged(self) -> None:
        """The log has the reason and the cure for such a client."""
        said: list[str] = []
        self.patch(runtime, "log", SimpleNamespace(warn=lambda text, message, **more: said.append(message)))
        crowd = Crowd(self, {})
        await self.refused(crowd, hello())
        (message,) = said
        self.assertIn("a client is refused: the client speaks TLS; this port is plaintext: use a pulsar://", message)

    async def test_not_allowed(self) -> None:
        """A broker that neither an answer named nor allow matches is not dialled; no name means the service."""
        crowd = Crowd(self, {VIP: connects(B1), B1: lambda name, fields: []})
        for named in (f"{B1}:6651", "b c", "127.0.0.1:22"):
            record, got = await self.refused(
                crowd, write(pb.CommandConnect(client_version="c", proxy_to_broker_url=named))
            )
            self.assertEqual((Result.DENIED, None), (record.result, record.target))
            self.assertEqual(pb.ServerError.ServiceNotReady, self.error(got).error)
        sock = self.raw(crowd)
        sock.sendall(write(pb.CommandConnect(client_version="c", proxy_to_broker_url="")))
        await in_thread(sock.recv, 1)
        self.assertEqual(["CONNECT"], crowd.heard(VIP))

    async def test_allow(self) -> None:
        """A broker that allow matches can be named without a lookup."""
        crowd = Crowd(self, {VIP: connects(B1), B1: lambda name, fields: []}, 'allow = ["*.pulsar.test:6651"]\n')
        sock = self.raw(crowd)
        sock.sendall(write(pb.CommandConnect(client_version="c", proxy_to_broker_url=f"{B1}:6651")))
        await in_thread(sock.recv, 1)
        self.assertEqual(["CONNECT"], crowd.heard(B1))

    async def test_address(self) -> None:
        """The log has the cure for a broker that advertises an address, which the SNI proxy cannot route."""
        said: list[str] = []
        self.patch(runtime, "log", SimpleNamespace(warn=lambda text, message, **more: said.append(message)))
        crowd = Crowd(self, {}, 'allow = ["127.0.0.2:6651", "nobody.test:6651"]\n')
        for named in ("127.0.0.2:6651", "nobody.test:6651"):
            record, _ = await self.refused(
                crowd, write(pb.CommandConnect(client_version="c", proxy_to_broker_url=named))
            )
            self.assertEqual(Result.UPSTREAM_TLS_FAILED, record.result)
        self.assertEqual([True, False], [handler.BY_ADDRESS in message for message in said])

    async def test_without_permit(self) -> None:
        """A connection that counts for no limit reaches its broker, too."""
        original = handler.read_connect

        async def read_connect(conn: Lifecycle, bridge: BridgeRuntime) -> tuple[pb.CommandConnect, bytes]:
            found = await original(conn, bridge)
            assert conn.permit is not None
            conn.permit.release()
            conn.permit = None
            return found

        self.patch(handler, "read_connect", read_connect)
        crowd = Crowd(self, {VIP: connects(B1)})
        client = self.client(crowd)
        self.assertEqual(B1, (await client.owner(TOPIC)).host)
        await client._brokers.close()
        self.assertEqual(Result.OK, (await crowd.bridge.ended()).result)

    async def test_leaves_at_once(self) -> None:
        """A client that leaves before its first frame is whole is not dialled for."""
        crowd = Crowd(self, {})
        sock = self.raw(crowd)
        sock.sendall(b"\x00")
        sock.close()
        record = await crowd.bridge.ended()
        self.assertEqual((Result.CLIENT_GONE, None), (record.result, record.target))

    async def test_reload(self) -> None:
        """A bridge with an unchanged table, even at another position, keeps the named brokers over a reload."""
        crowd = Crowd(self, {VIP: connects(B1), B1: lambda name, fields: []})
        await self.client(crowd).owner(TOPIC)
        service = crowd.bridge.service
        before = service.configuration
        moved = replace(before, bridges=tuple(replace(one, key="bridge[1]") for one in before.bridges))
        self.assertIsNone(service.reload(lambda: moved))
        sock = self.raw(crowd)
        sock.sendall(write(pb.CommandConnect(client_version="c", proxy_to_broker_url=f"{B1}:6651")))
        await in_thread(sock.recv, 1)
        self.assertEqual(["CONNECT"], crowd.heard(B1))

    async def test_down(self) -> None:
        """A broker that is down, or has the wrong certificate, gives a plain close; the record has the reason."""
        cases: list[tuple[dict[str, Script], dict[str, trustme.CA], Result, str]] = [
            ({}, {}, Result.UPSTREAM_TLS_FAILED, "unrecognized name"),
            ({VIP: connects(B1)}, {VIP: OTHER_CA}, Result.UPSTREAM_TLS_FAILED, "its certificate is not trusted"),
        ]
        for scripts, tls, result, why in cases:
            crowd = Crowd(self, scripts, authorities=tls)
            record, got = await self.refused(crowd, write(pb.CommandConnect(client_version="c")))
            self.assertEqual((result, None, b""), (record.result, record.alert, got))
            self.assertIn(why, record.reason)

    async def test_next_host(self) -> None:
        """If a host of the service URL fails, the next one is dialled; connections start with each host in turn."""
        crowd = Crowd(
            self,
            {B1: connects(B1), B2: connects(B2)},
            f'service_url = "pulsar+ssl://nobody.test:6651,{B1}:6651,{B2}:6651"\n',
        )
        owners = [(await self.client(crowd).owner(f"{TOPIC}-{n}")).host for n in range(3)]
        self.assertEqual([B1, B1, B2], owners)
        ((key, stats),) = crowd.bridge.service._upstreams.stats.known.items()
        self.assertEqual((f"127.0.0.1:{crowd.proxy.port}", ["bridge"]), (key, list(stats.routes)))
        self.assertEqual({"nobody.test", B1, B2}, set(stats.names))

    async def test_silent(self) -> None:
        """A client that sends nothing is closed at the timeout."""
        clock = HandClock()
        crowd = Crowd(self, {}, clock=clock)
        sock = self.raw(crowd)
        sock.sendall(b"\x00")
        while not crowd.bridge.service._connections.live:
            await in_thread(int)
        clock.advance(10)
        record = await crowd.bridge.ended()
        self.assertEqual(Result.HELLO_TIMEOUT, record.result)
        self.assertEqual(b"", await in_thread(read_to_end, sock))
        clock.advance(1)

    async def test_gone(self) -> None:
        """A client that disconnects during the dial or the handshake is noticed at once."""
        files = folder(Path(self.mktemp()), ca_pem=CA.cert_pem.bytes()).resolve()
        backend = Backend(self)  # it takes connections, and says nothing
        for address, reason in (
            (SilentTarget(self).address, "it closed the connection while its target was dialled"),
            (backend.address, "it closed the connection during the TLS handshake with its target"),
        ):
            bridge = Proxy(
                self,
                '[[bridge]]\nendpoint = "tcp:0:interface=127.0.0.1"\n# [[listener]]\n'
                f'service_url = "{url(VIP)}"\nproxy_service_url = "pulsar+ssl://{address}"\nproxy_protocol = "SNI"\n'
                f'trust = "{files}/ca.pem"\n',
            )
            sock = socket.create_connection(("127.0.0.1", bridge.port), timeout=20)
            sock.sendall(write(pb.CommandConnect(client_version="test")) + b"more")
            while not (live := list(bridge.service._connections.live)) or live[0].state == "hello":
                await in_thread(int)
            sock.close()
            record = await bridge.ended()
            self.assertEqual((Result.CLIENT_GONE, reason), (record.result, record.reason))
