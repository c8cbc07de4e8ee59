"""Lookups, redirects and streams through a bridge."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from twisted.internet.defer import Deferred, gatherResults

from sniproxy.bridge import handler, tunnel
from sniproxy.bridge import redirects as redirects_module
from sniproxy.client.failures import FailureKind
from sniproxy.client.logins import by_token
from sniproxy.events import Result
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, write
from sniproxy.pulsar.frames import FrameReader, encode, encode_section
from sniproxy.relay.pacing import Pace
from sniproxy.relay.relay import Ending
from tests.bridge.connects import secrets
from tests.bridge.crowd import BridgeCase, Crowd, connects, redirects
from tests.client.scripted import B1, B2, TOPIC, VIP, Answer, connected, lookup_answer, url
from tests.support.sockets import in_thread, read_to_end
from tests.tls.material import CA, folder


class TunnelCase(BridgeCase):
    """Reads what a bridge sends to a client."""

    async def commands(self, sock: socket.socket, count: int) -> list[Any]:
        """The first commands that a client receives."""
        reader = FrameReader()
        frames: list[Any] = []
        while len(frames) < count:
            frames += reader.feed(await in_thread(sock.recv, 65536))
        return [fields_of(read(frame.command)) for frame in frames]


class LookupTests(TunnelCase):
    """Both phases of a plain client."""

    async def test_both_phases(self) -> None:
        """The lookup goes to the service name, the connection to the owner's name; the client dials only the bridge."""
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
        """The bridge follows redirects, to each broker by its own name; the client sees only the owner."""
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
        """Many lookups that are redirected to the same broker share a connection."""
        crowd = Crowd(self, {VIP: redirects(B1), B1: connects(B1)})
        client = self.client(crowd)
        await client.owner(TOPIC)  # the client's own connection stands now
        owners = await gatherResults([Deferred.fromCoroutine(client.owner(f"{TOPIC}-{n}")) for n in range(20)])
        self.assertEqual({B1}, {owner.host for owner in owners})
        self.assertEqual(1, crowd.heard(B1).count("CONNECT"))
        self.assertEqual(1, crowd.bridge.service._connections.admission.extra_descriptors)
        self.assertEqual(21, crowd.heard(B1).count("LOOKUP"))

    async def test_circle(self) -> None:
        """A redirect loop, or an endless chain, is a failure with the cause."""
        crowd = Crowd(self, {VIP: redirects(B1), B1: redirects(B2), B2: redirects(B1)})
        failed = await self.failure(self.client(crowd).owner(TOPIC))
        self.assertEqual(FailureKind.NOT_READY, failed.kind)
        self.assertIn("which was already queried", str(failed))

    async def test_redirect_fails(self) -> None:
        """If the next broker is unreachable or refuses, the lookup fails; the connection stays open."""

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

    async def test_client_leaves(self) -> None:
        """When the client leaves, the proxy stops following its redirects and ends their connections."""
        asked: Deferred[None] = Deferred()

        def wait(name: str, fields: Any) -> Iterable[Message]:
            if name == "LOOKUP":
                asked.callback(None)
            return []

        crowd = Crowd(self, {VIP: redirects(B1), B1: wait})
        sock = self.raw(crowd)
        sock.sendall(write(pb.CommandConnect(client_version="c")))
        sock.sendall(write(pb.CommandLookupTopic(topic=TOPIC, request_id=1)))
        await asked
        admission = crowd.bridge.service._connections.admission
        self.assertEqual(1, admission.extra_descriptors)
        sock.close()
        await crowd.bridge.ended()
        self.assertEqual(0, admission.extra_descriptors)
        await crowd.proxy.ended()

    async def test_too_many(self) -> None:
        """A redirect beyond the limit is a failure for the client, at once."""
        self.patch(tunnel, "MAX_REQUESTS", 1)
        crowd = Crowd(self, {VIP: redirects(B1), B1: lambda name, fields: []})
        sock = self.raw(crowd)
        lookups = [pb.CommandLookupTopic(topic=TOPIC, request_id=number) for number in (1, 2)]
        sock.sendall(write(pb.CommandConnect(client_version="c")) + b"".join(map(write, lookups)))
        _, answer = await self.commands(sock, 2)
        self.assertEqual((2, Answer.Failed), (answer.request_id, answer.response))
        self.assertIn("follows too many redirects", answer.message)

    async def test_internal_error(self) -> None:
        """An exception while a redirect is followed is logged; the connection continues."""

        async def follow(follower: object, service: object, lookup: Any, answer: object) -> Answer:
            if lookup.request_id == 1:
                raise ZeroDivisionError
            return lookup_answer(lookup, Answer.Connect, url(B1))

        self.patch(redirects_module.Follower, "follow", follow)
        crowd = Crowd(self, {VIP: redirects(B1)})
        sock = self.raw(crowd)
        lookups = [pb.CommandLookupTopic(topic=TOPIC, request_id=number) for number in (1, 2)]
        sock.sendall(write(pb.CommandConnect(client_version="c")) + b"".join(map(write, lookups)))
        _, answer = await self.commands(sock, 2)
        self.assertEqual((2, Answer.Connect), (answer.request_id, answer.response))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    async def test_redirect_to_nowhere(self) -> None:
        """A redirect with an invalid or disallowed URL fails without a dial, and does not reach the client."""
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
            _, *answers = await self.commands(sock, 3)
            self.assertEqual([1, 2], sorted(answer.request_id for answer in answers))
            for answer in answers:
                self.assertEqual(Answer.Failed, answer.response)
                self.assertIn(why, answer.message)

    async def test_inspected(self) -> None:
        """The inspector gets each answer of brokers once, also those to the bridge's own lookups."""
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
        inspector = crowd.bridge.service._observers.inspector
        assert inspector is not None
        # What is known is the bridge's cluster's, whatever its brokers are called.
        self.assertEqual(["bridge"], [entry.cluster for entry in inspector.ledger.topics()])


class StreamTests(TunnelCase):
    """The bytes of an owner's connection."""

    async def test_messages(self) -> None:
        """A large message passes unchanged; the CLOSE_PRODUCER after it names the new owner."""
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
        """A topic that migrates to the cluster of another bridge in this process leads to that bridge."""
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
        _, said = await self.commands(sock, 2)
        green = crowd.bridge.service.addresses["green"]
        self.assertEqual(f"pulsar://127.0.0.1:{green[1]}", said.brokerServiceUrl)

    async def test_coordinators(self) -> None:
        """A client of Pulsar 5.0 asks any broker for the transaction coordinators, and reaches each one's leader.

        A leader that has not been named yet is refused; a new one is named in a later update.
        """

        def script(name: str, fields: Any) -> Iterable[Message]:
            leader = {"WATCH_TC_ASSIGNMENTS": B1, "PING": B2}.get(name)
            if leader is None:
                return []
            update = pb.CommandWatchTcAssignmentsUpdate(watch_id=1)
            update.snapshot.assignments.add(
                tc_id=0, broker_service_url="pulsar://10.0.0.7:6650", broker_service_url_tls=url(leader)
            )
            return [update]

        crowd = Crowd(self, {VIP: script, B1: lambda name, fields: [], B2: lambda name, fields: []})
        watch = self.raw(crowd)
        watch.sendall(write(pb.CommandConnect(client_version="c", proxy_to_broker_url="")))
        for command, leader in ((pb.CommandWatchTcAssignments(watch_id=1), B1), (pb.CommandPing(), B2)):
            named = f"{leader}:6651"
            early = self.raw(crowd)
            early.sendall(write(pb.CommandConnect(client_version="c", proxy_to_broker_url=named)))
            (refused,) = await self.commands(early, 1)
            self.assertEqual(pb.ServerError.ServiceNotReady, refused.error)
            watch.sendall(write(command))
            *_, update = await self.commands(watch, 2 if leader == B1 else 1)
            (assignment,) = update.snapshot.assignments
            self.assertEqual(f"pulsar://{named}", assignment.broker_service_url)
            sock = self.raw(crowd)
            sock.sendall(write(pb.CommandConnect(client_version="c", proxy_to_broker_url=named)))
            await self.commands(sock, 1)
            self.assertEqual(["CONNECT"], crowd.heard(leader))

    async def test_layout(self) -> None:
        """A scalable topic's layout reaches the client without the URLs that lead past the bridge."""
        update = pb.CommandScalableTopicUpdate(session_id=1)
        update.dag.epoch = 1
        update.dag.controller_broker_url = "pulsar://10.0.0.7:6650"
        crowd = Crowd(self, {VIP: lambda name, fields: [update] if name == "SCALABLE_TOPIC_LOOKUP" else []})
        sock = self.raw(crowd)
        lookup = pb.CommandScalableTopicLookup(session_id=1, topic="topic://public/default/t")
        sock.sendall(write(pb.CommandConnect(client_version="c")) + write(lookup))
        _, said = await self.commands(sock, 2)
        self.assertEqual((1, 1, False), (said.session_id, said.dag.epoch, said.dag.HasField("controller_broker_url")))

    async def test_ends_while_it_waits(self) -> None:
        """A tunnel that ends while it waits for its turn to read is not read any more."""
        made: list[tunnel.BridgeTunnel] = []

        def make(*args: Any) -> tunnel.BridgeTunnel:
            made.append(tunnel.BridgeTunnel(*args))
            return made[0]

        self.patch(handler, "BridgeTunnel", make)
        crowd = Crowd(self, {VIP: connects(B1)})
        sock = self.raw(crowd)
        sock.sendall(write(pb.CommandConnect(client_version="c")))
        await self.commands(sock, 1)
        (bridged,) = made
        assert bridged._down is not None
        self.patch(Pace, "spent", lambda pace: True)
        self.assertFalse(bridged._paced.may_read(bridged._down))
        (conn,) = crowd.bridge.service._connections.live
        conn.end(Ending(Result.SHUTDOWN, "test"))
        await crowd.bridge.ended()
        bridged._paced.turn()

    async def test_broker_that_speaks_something_else(self) -> None:
        """Bytes of a broker that are not Pulsar end the connection, and do not reach the client."""
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
