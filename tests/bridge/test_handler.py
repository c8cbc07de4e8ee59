"""The bridge, between a plain Pulsar client and scripted brokers behind a real proxy."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import trustme
from google.protobuf.message import Message
from msgspec.structs import replace
from twisted.internet.defer import Deferred, gatherResults

from sniproxy.bridge import runtime
from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.logins import by_token
from sniproxy.client.lookups import Lookups
from sniproxy.events import Result
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, write
from sniproxy.pulsar.frames import FrameReader, encode, encode_section
from sniproxy.pulsar.serviceurl import parse_service_url
from sniproxy.tls.alerts import Alert, fatal_alert
from tests.bridge.connects import secrets
from tests.client.scripted import Answer, Script, Scripted, connected, lookup_answer, polite
from tests.support.hellos import hello
from tests.support.proxies import Backend, Proxy, SilentTarget
from tests.support.sockets import HandClock, SocketTestCase, in_thread, read_to_end
from tests.support.tlsservers import ServerTLS, listen, reactor
from tests.tls.material import CA, OTHER_CA, folder

TOPIC = "persistent://public/default/t"
VIP = "pulsar-vip.test"
B1, B2 = "broker-1.pulsar.test", "broker-2.pulsar.test"


def url(name: str) -> str:
    return f"pulsar+ssl://{name}:6651"


def connects(to: str) -> Script:
    """Every lookup's answer."""
    return lambda name, fields: [lookup_answer(fields, Answer.Connect, url(to))] if name == "LOOKUP" else []


def redirects(to: str, **more: Any) -> Script:
    return lambda name, fields: [lookup_answer(fields, Answer.Redirect, url(to), **more)] if name == "LOOKUP" else []


class Crowd:
    """A proxy with a route to each scripted broker, and a bridge in the same process that leads through it."""

    def __init__(
        self,
        case: SocketTestCase,
        scripts: Mapping[str, Script],
        more: str = "",
        clock: Any = reactor,
        authorities: Mapping[str, trustme.CA] | None = None,
    ) -> None:
        self.brokers: dict[str, Scripted] = {}
        files = folder(Path(case.mktemp()), ca_pem=CA.cert_pem.bytes()).resolve()
        routes = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "public"\n'
        for name, script in scripts.items():
            factory = self.brokers[name] = Scripted(polite(script))
            _, port = listen(case, factory, ServerTLS((authorities or {}).get(name, CA), name))
            routes += f'[[route]]\nserver_name = "{name}"\ntarget = "127.0.0.1:{port}"\n'
        self.proxy = Proxy(case, routes, clock)
        more = more if more.startswith("service_url") else f'service_url = "{url(VIP)}"\n{more}'
        self.bridge = Proxy(
            case,
            '[[bridge]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "bridge"\n'
            f'proxy_service_url = "pulsar+ssl://127.0.0.1:{self.proxy.port}"\nproxy_protocol = "SNI"\n'
            f'trust = "{files}/ca.pem"\n{more}\n# [[listener]]',
            clock,
        )

    @property
    def url(self) -> str:
        return f"pulsar://127.0.0.1:{self.bridge.port}"

    def heard(self, name: str) -> list[str]:
        return [command for command, _ in self.brokers[name].heard]


class BridgeCase(SocketTestCase):
    """Helpers."""

    def client(self, crowd: Crowd, **more: Any) -> Lookups:
        brokers = Brokers(reactor, Access(False, timeout_s=10.0, **more))
        self.addCleanup(brokers.close)
        return Lookups(brokers, parse_service_url(crowd.url))

    async def failure(self, waiting: Any) -> ClientError:
        try:
            await waiting
        except ClientError as failed:
            return failed
        raise self.failureException("it has not failed")

    def raw(self, crowd: Crowd) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", crowd.bridge.port), timeout=20)
        self.addCleanup(sock.close)
        return sock


class LookupTests(BridgeCase):
    """Both phases of a plain client."""

    async def test_both_phases(self) -> None:
        """The lookup goes to the service name, the owner's connection to its name; the client dials only the bridge."""
        crowd = Crowd(self, {VIP: connects(B1), B1: lambda name, fields: []})
        client = self.client(crowd)
        owner = await client.owner(TOPIC)
        self.assertEqual((B1, 6651, True), (owner.host, owner.port, owner.through_service_url))
        link = await client.connect(TOPIC, owner)
        self.assertTrue(link.is_open)
        self.assertEqual(["CONNECT", "LOOKUP"], crowd.heard(VIP))
        ((_, connect),) = crowd.brokers[B1].heard
        self.assertEqual(f"{B1}:6651", connect.proxy_to_broker_url)
        await link.close()
        record = await crowd.bridge.ended()
        self.assertEqual(
            (Result.OK, "bridge", "bridge", B1, f"127.0.0.1:{crowd.proxy.port}"),
            (record.result, record.listener, record.route, record.server_name, record.target),
        )

    async def test_redirects(self) -> None:
        """Redirects are followed by the bridge, each broker by its own name; the client hears of the owner only."""
        for number, last in enumerate((connects(B2), connects(B1))):
            crowd = Crowd(
                self,
                {VIP: redirects(B1, authoritative=True), B1: redirects(B2) if not number else last, B2: last},
            )
            client = self.client(crowd, login=by_token("secret"))
            owner = await client.owner(TOPIC)
            self.assertEqual(B2 if not number else B1, owner.host)
            name, lookup = crowd.brokers[B1].heard[1]
            self.assertEqual(("LOOKUP", True, TOPIC), (name, lookup.authoritative, lookup.topic))
            self.assertEqual([b"secret"], secrets(crowd.brokers[B1].heard[0][1]))
            await client._brokers.close()

    async def test_one_connection_a_broker(self) -> None:
        """Many lookups that are redirected to one broker share a connection to it."""
        crowd = Crowd(self, {VIP: redirects(B1), B1: connects(B1)})
        client = self.client(crowd)
        await client.owner(TOPIC)  # the client's own connection stands now
        owners = await gatherResults([Deferred.fromCoroutine(client.owner(f"{TOPIC}-{n}")) for n in range(20)])
        self.assertEqual({B1}, {owner.host for owner in owners})
        self.assertEqual(1, crowd.heard(B1).count("CONNECT"))
        self.assertEqual(1, crowd.bridge.service._lives.admission.aside)
        self.assertEqual(21, crowd.heard(B1).count("LOOKUP"))

    async def test_circle(self) -> None:
        """Brokers that redirect in a circle, or for ever, are a failure with the cause."""
        crowd = Crowd(self, {VIP: redirects(B1), B1: redirects(B2), B2: redirects(B1)})
        failed = await self.failure(self.client(crowd).owner(TOPIC))
        self.assertEqual(FailureKind.NOT_READY, failed.kind)
        self.assertIn("which was already asked", str(failed))

    async def test_redirect_fails(self) -> None:
        """A broker that cannot be reached, or says no, is a failure of this lookup; the connection lives on."""

        def script(name: str, fields: Any) -> Iterable[Message]:
            if name != "LOOKUP":
                return []
            to = {"-1": "nowhere.pulsar.test", "-2": B1}.get(fields.topic[-2:])
            return [
                lookup_answer(fields, Answer.Redirect, url(to))
                if to
                else lookup_answer(fields, Answer.Connect, url(B1))
            ]

        no = pb.ServerError.AuthorizationError

        def refuse(name: str, fields: Any) -> Iterable[Message]:
            return [lookup_answer(fields, Answer.Failed, error=no, message="no")] if name == "LOOKUP" else []

        crowd = Crowd(self, {VIP: script, B1: refuse})
        client = self.client(crowd)
        self.assertIn("add a route for nowhere.pulsar.test", str(await self.failure(client.owner(f"{TOPIC}-1"))))
        self.assertEqual(FailureKind.AUTHORIZATION, (await self.failure(client.owner(f"{TOPIC}-2"))).kind)
        self.assertEqual(B1, (await client.owner(f"{TOPIC}-3")).host)

    async def test_redirect_to_nowhere(self) -> None:
        """A Redirect that fails before anybody is asked, for its URL or for allow, does not reach the client."""
        for to, why in (
            ("pulsar://broker-1.pulsar.test:6650", "no pulsar+ssl:// URL"),
            (url(B2), "bridge's allow list"),
        ):

            def script(name: str, fields: Any, to: str = to) -> Iterable[Message]:
                return [lookup_answer(fields, Answer.Redirect, to)] if name == "LOOKUP" else []

            crowd = Crowd(self, {VIP: script}, f'allow = ["{VIP}:6651"]\n')
            sock = self.raw(crowd)
            lookups = [pb.CommandLookupTopic(topic=TOPIC, request_id=number) for number in (1, 2)]
            sock.sendall(write(pb.CommandConnect(client_version="c")) + b"".join(map(write, lookups)))
            reader = FrameReader()
            frames: list[Any] = []
            while len(frames) < 3:
                frames += reader.feed(await in_thread(sock.recv, 65536))
            answers = [fields_of(read(frame.command)) for frame in frames[1:]]
            self.assertEqual([1, 2], sorted(answer.request_id for answer in answers))
            for answer in answers:
                self.assertEqual(Answer.Failed, answer.response)
                self.assertIn(why, answer.message)

    async def test_inspected(self) -> None:
        """The inspector sees what brokers said: each answer once, those that the bridge asked for, too."""
        path = Path(self.mktemp()).resolve()
        crowd = Crowd(
            self,
            {VIP: redirects(B1), B1: connects(B1)},
            f'inspect = "pulsar"\n[inspect_log]\npath = "{path}"\n',
        )
        client = self.client(crowd, login=by_token("secret"))
        await client.owner(TOPIC)
        await client._brokers.close()
        await crowd.bridge.ended()
        await crowd.bridge.service.stopService()
        self.assertNotIn("secret", path.read_text())
        events = [json.loads(line) for line in path.read_text().splitlines()]
        lookups = [(e["response"], e["broker_url_tls"], e["topic"]) for e in events if e["event"] == "lookup"]
        self.assertEqual([("redirect", url(B1), TOPIC), ("connect", url(B1), TOPIC)], lookups)
        inspector = crowd.bridge.service._side.inspector
        assert inspector is not None
        # What is known is the bridge's cluster's, whatever its brokers are called.
        self.assertEqual(["bridge"], [entry.cluster for entry in inspector.ledger.topics()])


class StreamTests(BridgeCase):
    """What passes a broker's connection."""

    async def test_messages(self) -> None:
        """A large message streams through unchanged; CLOSE_PRODUCER behind it names the new owner."""
        message = encode(
            pb.BaseCommand(
                type=pb.BaseCommand.MESSAGE,
                message=pb.CommandMessage(consumer_id=1, message_id=pb.MessageIdData(ledgerId=1, entryId=1)),
            ).SerializeToString(),
            encode_section(b"", bytes(range(256)) * 4000),
        )
        close = pb.CommandCloseProducer(producer_id=1, request_id=1, assignedBrokerServiceUrlTls=url(B2))

        def script(name: str, fields: Any) -> Iterable[Message | bytes]:
            return [message, close, b""] if name == "PING" else []

        crowd = Crowd(self, {VIP: connects(B1), B1: script})
        await self.client(crowd).owner(TOPIC)
        sock = self.raw(crowd)
        sock.sendall(write(pb.CommandConnect(client_version="c", proxy_to_broker_url=f"{B1}:6651")))
        sock.sendall(write(pb.CommandPing()))
        data = await in_thread(read_to_end, sock)
        greeting = write(connected())
        self.assertTrue(data == greeting + message + data[len(greeting + message) :])
        (frame,) = FrameReader().feed(data[len(greeting + message) :])
        said = fields_of(read(frame.command))
        self.assertEqual(f"pulsar://{B2}:6651", said.assignedBrokerServiceUrl)

    async def test_migration(self) -> None:
        """A topic that migrates to the cluster of another bridge of this process leads there."""
        other = (
            '\n[[bridge]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "green"\nservice_url = "{}"\ntrust = "{}"\n'
        )
        trust = folder(Path(self.mktemp()), ca_pem=CA.cert_pem.bytes()).resolve() / "ca.pem"
        migrated = pb.CommandTopicMigrated(
            resource_id=1, resource_type=pb.CommandTopicMigrated.Producer, brokerServiceUrlTls=url("green.test")
        )
        crowd = Crowd(
            self,
            {VIP: lambda name, fields: [migrated] if name == "PING" else []},
            other.format(url("green.test"), trust),
        )
        sock = self.raw(crowd)
        sock.sendall(write(pb.CommandConnect(client_version="c")) + write(pb.CommandPing()))
        reader = FrameReader()
        frames: list[Any] = []
        while len(frames) < 2:
            frames += reader.feed(await in_thread(sock.recv, 65536))
        green = crowd.bridge.service.addresses["green"]
        self.assertEqual(f"pulsar://127.0.0.1:{green[1]}", fields_of(read(frames[1].command)).brokerServiceUrl)

    async def test_broker_that_speaks_something_else(self) -> None:
        """A broker whose bytes are no Pulsar ends the connection; they do not reach the client."""
        crowd = Crowd(self, {VIP: lambda name, fields: [b"HTTP/1.1 400 Bad Request\r\n\r\n"] if name == "PING" else []})
        sock = self.raw(crowd)
        sock.sendall(write(pb.CommandConnect(client_version="c")) + write(pb.CommandPing()))
        try:
            data = await in_thread(read_to_end, sock)
        except ConnectionResetError:
            data = b""
        self.assertNotIn(b"HTTP", data)
        record = await crowd.bridge.ended()
        self.assertEqual(Result.RESET, record.result)
        self.assertIn("it does not speak Pulsar", record.reason)


class RefusalTests(BridgeCase):
    """What does not cross."""

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
        """Another first frame gets an error frame; TLS an alert; what is neither, a close."""
        crowd = Crowd(self, {})
        record, got = await self.refused(crowd, write(pb.CommandPing()))
        self.assertEqual((Result.NOT_PULSAR, pb.ServerError.NotAllowedError), (record.result, self.error(got).error))
        record, got = await self.refused(crowd, hello())
        self.assertEqual((Result.NOT_PULSAR, fatal_alert(Alert.HANDSHAKE_FAILURE)), (record.result, got))
        record, got = await self.refused(crowd, b"GET / HTTP/1.1\r\n\r\n")
        self.assertEqual((Result.NOT_PULSAR, b""), (record.result, got))

    async def test_not_connect_is_logged(self) -> None:
        """The bridge's own log says what is wrong with such a client, and the cure."""
        said: list[str] = []
        self.patch(runtime, "log", SimpleNamespace(warn=lambda text, message, **more: said.append(message)))
        crowd = Crowd(self, {})
        await self.refused(crowd, hello())
        (message,) = said
        self.assertIn(
            "a client is refused: the client speaks TLS; this port speaks plaintext: use a pulsar://", message
        )

    async def test_not_allowed(self) -> None:
        """A broker that no answer has named, or that allow does not have, is not dialled; empty names the service."""
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
        """What allow has may be asked for without a lookup."""
        crowd = Crowd(self, {VIP: connects(B1), B1: lambda name, fields: []}, 'allow = ["*.pulsar.test:6651"]\n')
        sock = self.raw(crowd)
        sock.sendall(write(pb.CommandConnect(client_version="c", proxy_to_broker_url=f"{B1}:6651")))
        await in_thread(sock.recv, 1)
        self.assertEqual(["CONNECT"], crowd.heard(B1))

    async def test_reload(self) -> None:
        """A bridge whose table has not changed, wherever it stands, remembers over a reload who was named."""
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
        """A broker that is down, or not who it should be, is a plain close; the record says why."""
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
        """Of a service URL's hosts the next one is tried; connections begin with each in turn."""
        crowd = Crowd(
            self,
            {B1: connects(B1), B2: connects(B2)},
            f'service_url = "pulsar+ssl://nobody.test:6651,{B1}:6651,{B2}:6651"\n',
        )
        owners = [(await self.client(crowd).owner(f"{TOPIC}-{n}")).host for n in range(3)]
        self.assertEqual([B1, B1, B2], owners)

    async def test_silent(self) -> None:
        """A client that says nothing is given up in time."""
        clock = HandClock()
        crowd = Crowd(self, {}, clock=clock)
        sock = self.raw(crowd)
        sock.sendall(b"\x00")
        while not crowd.bridge.service._live:
            await in_thread(int)
        clock.advance(5)
        record = await crowd.bridge.ended()
        self.assertEqual(Result.HELLO_TIMEOUT, record.result)
        self.assertEqual(b"", await in_thread(read_to_end, sock))
        clock.advance(1)

    async def test_gone(self) -> None:
        """A client that leaves while its broker is dialled, or in the handshake with it, is seen at once."""
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
            while not (live := list(bridge.service._live)) or live[0].state == "hello":
                await in_thread(int)
            sock.close()
            record = await bridge.ended()
            self.assertEqual((Result.CLIENT_GONE, reason), (record.result, record.reason))
