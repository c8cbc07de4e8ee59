"""Following redirects; tests.bridge.test_tunnel has tests with a whole bridge."""

from __future__ import annotations

import socket

import attrs
import trustme
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from sniproxy.bridge import redirects
from sniproxy.bridge.redirects import Follower
from sniproxy.bridge.runtime import make_trust
from sniproxy.bridge.stream import MAX_COMMAND_BYTES
from sniproxy.client.brokers import Access
from sniproxy.client.failures import ClientError
from sniproxy.client.logins import by_token
from sniproxy.config.allowed import Allowing, parse_allowed
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.tls.pem import certificates
from tests.bridge.connects import secrets
from tests.client.scripted import Answer, Scripted, connected, lookup_answer, polite
from tests.support.reactor import reactor
from tests.support.sockets import in_thread
from tests.support.tlsservers import ServerTLS, listen, trust

NAME = "localhost"
SERVICE = ("pulsar-vip.test", 6651)


class FollowerTests(TestCase):
    """Follower, with one broker and without a proxy."""

    timeout = 120

    def setUp(self) -> None:
        authority = trustme.CA()
        self.broker = Scripted(
            polite(lambda name, fields: [lookup_answer(fields, Answer.Connect, "pulsar+ssl://b.test:6651")])
        )
        _, self.port = listen(self, self.broker, ServerTLS(authority, NAME))
        self.access = Access(True, None, trust(authority), login=by_token("one"))
        self.heard: list[str] = []
        self.held: list[int] = []

    def follower(self, allowing: Allowing) -> Follower:
        follower = Follower(
            reactor,
            lambda: self.access,
            allowing,
            lambda host, question, answer: self.heard.append(host),
            self.held.append,
        )
        self.addCleanup(follower.close)
        return follower

    async def follow(self, follower: Follower, number: int = 2**64 - 2) -> Answer:
        lookup = pb.CommandLookupTopic(topic="t", request_id=number)
        answer = lookup_answer(lookup, Answer.Redirect, f"pulsar+ssl://{NAME}:{self.port}")
        return await follower.follow(SERVICE, lookup, answer)

    async def test_number(self) -> None:
        """The final answer has the client's request id, and the inspector gets it."""
        answer = await self.follow(self.follower(Allowing(None)))
        self.assertEqual((2**64 - 2, "pulsar+ssl://b.test:6651"), (answer.request_id, answer.brokerServiceUrlTls))
        self.assertEqual([NAME], self.heard)

    async def test_counted(self) -> None:
        """A connection is counted once until it ends, however often it is used."""
        follower = self.follower(Allowing(None))
        for _ in range(2):
            await self.follow(follower)
        self.assertEqual([1], self.held)
        follower.close()
        self.assertEqual([1, -1], self.held)

    async def test_authority_that_is_no_root(self) -> None:
        """An intermediate CA may be trusted by itself."""
        between = trustme.CA().create_child_ca()
        _, self.port = listen(self, self.broker, ServerTLS(between, NAME))
        trusted = make_trust(certificates("ca.pem", between.cert_pem.bytes()), None)
        self.access = attrs.evolve(self.access, trust=trusted.root)
        await self.follow(self.follower(Allowing(None)))
        self.assertEqual([NAME], self.heard)

    async def test_large_frame(self) -> None:
        """A broker that announces an oversized frame is closed at once: answers to lookups are small."""
        greeting = connected()
        greeting.max_message_size = 2**31 - 1 - (1 << 20)
        head = (1 << 30).to_bytes(4, "big") + (1 << 29).to_bytes(4, "big")
        self.broker.script = lambda name, fields: [greeting] if name == "CONNECT" else [head]
        self.access = attrs.evolve(self.access, max_frame_bytes=MAX_COMMAND_BYTES)
        try:
            await self.follow(self.follower(Allowing(None)))
        except ClientError as failed:
            self.assertIn("over the limit of 1048576", str(failed))
        else:
            raise self.failureException("it was taken")

    async def test_not_allowed(self) -> None:
        """A redirect to a broker that allow does not match is not followed."""
        try:
            await self.follow(self.follower(Allowing([parse_allowed("*.pulsar.test")])))
        except ClientError as failed:
            self.assertIn("a redirect leads to localhost", str(failed))
        else:
            raise self.failureException("it was followed")
        self.assertEqual([], self.broker.heard)

    async def test_together(self) -> None:
        """Lookups that wait for the same broker share its failure; cancelling one leaves the others."""
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        self.port = silent.getsockname()[1]
        self.access = attrs.evolve(self.access, timeout_s=0.2)
        follower = self.follower(Allowing(None))
        follows = [Deferred.fromCoroutine(self.follow(follower, number)) for number in range(5)]
        follows[3].cancel()
        self.failureResultOf(follows.pop(3), CancelledError)
        reasons = set()
        for follow in follows:
            try:
                await follow
            except ClientError as failed:
                reasons.add(failed)
        self.assertEqual(1, len(reasons))
        silent.setblocking(False)
        silent.accept()[0].close()
        self.assertRaises(BlockingIOError, silent.accept)

    async def test_shared(self) -> None:
        """Lookups that wait for one broker share its connection; each gets its own answer, but one that has ended."""
        follower = self.follower(Allowing(None))
        follows = [Deferred.fromCoroutine(self.follow(follower, number)) for number in range(4)]
        follows[2].cancel()
        self.failureResultOf(follows.pop(2), CancelledError)
        self.assertEqual([0, 1, 3], [(await follow).request_id for follow in follows])
        self.assertEqual(["CONNECT", "LOOKUP", "LOOKUP", "LOOKUP"], [name for name, _ in self.broker.heard])
        self.assertEqual([1], self.held)

    async def test_left(self) -> None:
        """When all lookups are cancelled, the dial is cancelled."""
        silent = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(silent.close)
        self.port = silent.getsockname()[1]
        follower = self.follower(Allowing(None))
        follows = [Deferred.fromCoroutine(self.follow(follower, number)) for number in range(5)]
        dialled, _ = await in_thread(silent.accept)
        self.addCleanup(dialled.close)
        for follow in follows:
            follow.cancel()
            self.failureResultOf(follow, CancelledError, ClientError)
        self.assertEqual({}, follower._opening)

    async def test_idle(self) -> None:
        """Connections are closed when no redirect is left; a later redirect opens another one."""
        self.patch(redirects, "IDLE_TIMEOUT_S", 0.0)
        follower = self.follower(Allowing(None))
        for number in (1, 2):
            await self.follow(follower)
            while follower._brokers._links:
                await in_thread(int)
            self.assertEqual(number, [name for name, _ in self.broker.heard].count("CONNECT"))

    async def test_newest_credentials(self) -> None:
        """A later connection uses the client's newest credentials."""
        follower = self.follower(Allowing(None))
        await self.follow(follower)
        follower._brokers.abort()
        self.access = attrs.evolve(self.access, login=by_token("two"))
        await self.follow(follower)
        self.assertEqual(
            [[b"one"], [b"two"]], [secrets(fields) for name, fields in self.broker.heard if name == "CONNECT"]
        )
