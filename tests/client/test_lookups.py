"""Tests for sniproxy.client.lookups, with real sockets."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import Any

import trustme
from twisted.trial.unittest import TestCase

from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.lookups import Hop, Lookups
from sniproxy.client.redirects import Owner
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.serviceurl import ServiceURL, SniProxy, parse_service_url
from tests.client.scripted import (
    B1,
    B2,
    PULSAR_5,
    SCALABLE,
    TOPIC,
    VIP,
    Answer,
    Partitions,
    Script,
    Scripted,
    lookup_answer,
    polite,
    scalable,
    url,
)
from tests.support.proxies import Proxy
from tests.support.reactor import reactor
from tests.support.tlsservers import ServerTLS, listen, trust


def owner(name: str) -> Owner:
    return Owner(url(name), name, 6651)


class LookupsCase(TestCase):
    """Has a real proxy to scripted brokers."""

    timeout = 120

    def setUp(self) -> None:
        self.authority = trustme.CA()
        self.heard: dict[str, Scripted] = {}
        self.hops: list[Hop] = []

    def lookups(
        self,
        scripts: Mapping[str, Script],
        service: str = url(VIP),
        wrap: Callable[[Script], Script] = polite,
        **keys: Any,
    ) -> Lookups:
        """Lookups through a proxy with a route for each name to its broker."""
        routes = ""
        for name, script in scripts.items():
            factory = self.heard[name] = Scripted(wrap(script))
            _, port = listen(self, factory, ServerTLS(self.authority, name))
            routes += f'[[route]]\nserver_name = "{name}"\ntarget = "127.0.0.1:{port}"\n'
        self.proxy = Proxy(self, routes)
        proxy = SniProxy("127.0.0.1", self.proxy.port)
        self.brokers = Brokers(reactor, Access(True, proxy, trust(self.authority)))
        self.addCleanup(self.brokers.abort)
        return Lookups(self.brokers, parse_service_url(service), on_hop=self.hops.append, **keys)

    def steps(self) -> list[tuple[str, str, str | None, bool]]:
        return [(hop.phase, hop.link.host, hop.answer, hop.fresh) for hop in self.hops]

    async def fails(self, waiting: Any, kind: FailureKind) -> ClientError:
        try:
            await waiting
        except ClientError as failure:
            self.assertEqual(failure.kind, kind, str(failure))
            self.assertIs(self.hops[-1].failure, failure)
            return failure
        self.fail("it did not fail")
        raise AssertionError


class LookupsTests(LookupsCase):
    """Lookups through a real proxy to scripted brokers."""

    async def test_both_phases(self) -> None:
        """Partitions, owner and connect phase are separate hops; requests to one broker share a connection."""
        found = self.lookups(
            {VIP: lambda name, fields: [lookup_answer(fields, Answer.Connect, url(B1))], B1: lambda name, fields: []}
        )
        self.assertEqual(await found.partitions(TOPIC), 0)
        self.assertEqual(await found.owner(TOPIC), owner(B1))
        link = await found.connect(TOPIC, owner(B1))
        self.assertTrue(link.is_open)
        self.assertEqual(
            self.steps(),
            [
                ("metadata", VIP, "partitions", True),
                ("lookup", VIP, "owner", False),
                ("connect", B1, "connected", True),
            ],
        )
        self.assertEqual((self.hops[0].partitions, self.hops[1].url, self.hops[2].url), (0, url(B1), None))
        await self.brokers.close()
        ended = [(await self.proxy.ended(number)).server_name for number in range(2)]
        self.assertEqual(sorted(str(name) for name in ended), [B1, VIP])

    async def test_redirects(self) -> None:
        """Each redirect is followed to its broker by its own server name, with the authoritative flag of the answer."""
        asked: list[tuple[str, bool, str]] = []

        def at(name: str, kind: Any, to: str, authoritative: bool) -> Script:
            def script(_: str, fields: Any) -> list[Answer]:
                asked.append((name, fields.authoritative, fields.advertised_listener_name))
                return [lookup_answer(fields, kind, url(to), authoritative=authoritative)]

            return script

        found = self.lookups(
            {
                VIP: at(VIP, Answer.Redirect, B1, False),
                B1: at(B1, Answer.Redirect, B2, True),
                B2: at(B2, Answer.Connect, B2, True),
            },
            listener="external",
        )
        self.assertEqual(await found.owner(TOPIC), owner(B2))
        self.assertEqual(asked, [(VIP, False, "external"), (B1, False, "external"), (B2, True, "external")])
        self.assertEqual([(hop.answer, hop.url) for hop in self.hops],
            [("redirect", url(B1)), ("redirect", url(B2)), ("owner", url(B2))])  # fmt: skip
        await self.brokers.close()
        names = {(await self.proxy.ended(number)).server_name for number in range(3)}
        self.assertEqual(names, {VIP, B1, B2})

    async def test_circle(self) -> None:
        """A redirect loop between brokers is a failure."""
        found = self.lookups(
            {
                VIP: lambda name, fields: [lookup_answer(fields, Answer.Redirect, url(B1))],
                B1: lambda name, fields: [lookup_answer(fields, Answer.Redirect, url(VIP))],
            }
        )
        await self.fails(found.owner(TOPIC), FailureKind.REDIRECTS)

    async def test_failures(self) -> None:
        """A broker's error, to either request, is the failure of the last hop."""
        found = self.lookups(
            {VIP: lambda name, fields: [lookup_answer(fields, Answer.Failed, error=pb.ServiceNotReady, message="no")]}
        )
        failure = await self.fails(found.owner(TOPIC), FailureKind.NOT_READY)
        self.assertEqual(failure.reason, f"{VIP}:6651 to the lookup: ServiceNotReady: no")

    async def test_no_partitions(self) -> None:
        """A failed partition lookup is a failure."""
        found = self.lookups({VIP: lambda name, fields: []})

        def script(name: str, fields: Any) -> Any:
            if name != "PARTITIONED_METADATA":
                return polite(lambda *_: [])(name, fields)
            failed = Partitions(request_id=fields.request_id, response=Partitions.Failed)
            failed.error, failed.message = pb.TopicNotFound, "no such topic"
            return [failed]

        self.heard[VIP].script = script
        failure = await self.fails(found.partitions(TOPIC), FailureKind.NOT_FOUND)
        self.assertIn("to the partition metadata request: TopicNotFound: no such topic", failure.reason)

    async def test_brokers_errors(self) -> None:
        """Each error of a broker has its kind, in the answer to CONNECT and to a lookup."""

        def login_refused(name: str, fields: Any) -> list[Any]:
            return [pb.CommandError(request_id=2**64 - 1, error=pb.AuthenticationError, message="who?")]

        def answers(*answer: Any, **more: Any) -> Script:
            return polite(lambda name, fields: [lookup_answer(fields, *answer, **more)])

        for script, kind in (
            (login_refused, FailureKind.AUTHENTICATION),
            (lambda name, fields: [b"HTTP/1.1 400 Bad Request\r\n\r\n"], FailureKind.NOT_PULSAR),
            (answers(Answer.Connect, "pulsar://b1.test:6650"), FailureKind.NO_TLS_URL),
            (answers(Answer.Failed, error=pb.TooManyRequests), FailureKind.NOT_READY),
            (answers(Answer.Failed, error=pb.TopicNotFound), FailureKind.NOT_FOUND),
            (answers(Answer.Failed, error=pb.UnknownError), FailureKind.REFUSED),
        ):
            found = self.lookups({VIP: lambda name, fields: []})
            self.heard[VIP].script = script
            await self.fails(found.owner(TOPIC), kind)

    async def test_silence(self) -> None:
        """A lookup without an answer fails after the timeout."""
        found = self.lookups({VIP: lambda name, fields: []})
        session = await self.brokers.link(VIP, 6651).open()
        session.timeout_s = 0.01
        failure = await self.fails(found.owner(TOPIC), FailureKind.TIMEOUT)
        self.assertIn("no answer to LookupTopic within 0.01 s", failure.reason)

    async def test_no_route_to_owner(self) -> None:
        """An owner without a route fails the connect phase."""
        found = self.lookups({VIP: lambda name, fields: [lookup_answer(fields, Answer.Connect, url(B1))]})
        failure = await self.fails(found.connect(TOPIC, await found.owner(TOPIC)), FailureKind.NO_ROUTE)
        self.assertIn(B1, failure.cure)

    async def test_several_hosts(self) -> None:
        """If a host of the service URL cannot be connected, the next one is used."""
        found = self.lookups(
            {VIP: lambda name, fields: [lookup_answer(fields, Answer.Connect, url(B1))]},
            f"pulsar+ssl://nowhere.test,{VIP}",
        )
        self.assertEqual(await found.owner(TOPIC), owner(B1))
        self.assertEqual([hop.failure is None for hop in self.hops], [False, True])

    async def test_answer_counts(self) -> None:
        """A broker's error is final: no other host is asked."""
        found = self.lookups(
            {VIP: lambda name, fields: [lookup_answer(fields, Answer.Failed, error=pb.AuthorizationError)]},
            f"pulsar+ssl://{VIP},nowhere.test",
        )
        await self.fails(found.owner(TOPIC), FailureKind.AUTHORIZATION)
        self.assertEqual(len(self.hops), 1)

    async def test_through_service_url(self) -> None:
        """An owner behind a Pulsar Proxy is connected at the service URL, and named in CONNECT."""
        found = self.lookups(
            {VIP: lambda name, fields: [lookup_answer(fields, Answer.Connect, url(B1), proxy_through_service_url=True)]}
        )
        link = await found.connect(TOPIC, await found.owner(TOPIC))
        self.assertEqual(link.host, VIP)
        connects = [fields.proxy_to_broker_url for name, fields in self.heard[VIP].heard if name == "CONNECT"]
        self.assertEqual(connects, ["", f"{B1}:6651"])

    async def test_nobody(self) -> None:
        """If all hosts fail, the failure of the last one is raised."""
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            address: tuple[str, int] = unused.getsockname()
            brokers = Brokers(reactor, Access(tls=False))
            found = Lookups(brokers, ServiceURL(False, (address, address)), on_hop=self.hops.append)
            await self.fails(found.partitions(TOPIC), FailureKind.UNREACHABLE)
        self.assertEqual(len(self.hops), 2)


class ScalableTests(LookupsCase):
    """Scalable topics and segments."""

    SEGMENT = "segment://public/default/s/0000-ffff-0"

    def scalable(self, controller: str | None = None, **names: Script) -> Lookups:
        script = scalable(controller)
        return self.lookups({VIP: script, B1: script, **names}, wrap=lambda script: script)

    async def test_layout(self) -> None:
        """The owner of a scalable topic sends its layout; the session is then closed."""
        found = self.scalable(f"pulsar://{B1}:6650")
        link = await found.connect(SCALABLE, await found.owner(SCALABLE))
        layout = await found.layout(SCALABLE, link)
        self.assertEqual((3, f"pulsar://{B1}:6650"), (layout.epoch, layout.controller))
        self.assertEqual(
            [(self.SEGMENT, True), ("segment://public/default/s/0000-ffff-1", False)],
            [(one.topic, one.sealed) for one in layout.segments],
        )
        await found.controller(SCALABLE, f"pulsar://{B1}:6651")
        self.assertEqual(
            self.steps(),
            [
                ("lookup", VIP, "owner", True),
                ("connect", B1, "connected", True),
                ("layout", B1, "layout", False),
                ("controller", B1, "connected", False),
            ],
        )
        self.assertEqual(layout, self.hops[2].layout)
        await self.brokers.close()
        names = [name for name, _ in self.heard[B1].heard]
        self.assertEqual(["CONNECT", "SCALABLE_TOPIC_LOOKUP", "SCALABLE_TOPIC_CLOSE"], names)

    async def test_segment(self) -> None:
        """A segment is looked up as other topics are."""
        self.assertEqual(owner(B1), await self.scalable().owner(self.SEGMENT))

    async def test_unsupported(self) -> None:
        """A broker without scalable topics is not asked for one, nor for a segment."""
        found = self.lookups({VIP: lambda name, fields: []})
        for topic in (SCALABLE, self.SEGMENT):
            failure = await self.fails(found.owner(topic), FailureKind.UNSUPPORTED)
            self.assertIn("scripted does not support scalable topics", failure.reason)
            self.assertIn("Pulsar 5", failure.cure)
        await self.fails(found.layout(SCALABLE, self.brokers.link(VIP, 6651)), FailureKind.UNSUPPORTED)
        self.assertEqual(["CONNECT"], [name for name, _ in self.heard[VIP].heard])

    async def test_layout_refused(self) -> None:
        """A broker's error in place of the layout is the failure."""

        def script(name: str, fields: Any) -> Any:
            if name != "SCALABLE_TOPIC_LOOKUP":
                return scalable()(name, fields)
            update = pb.CommandScalableTopicUpdate(session_id=fields.session_id, error=pb.AuthorizationError)
            return [update]

        found = self.scalable()
        self.heard[B1].script = script
        await self.fails(found.layout(SCALABLE, self.brokers.link(B1, 6651)), FailureKind.AUTHORIZATION)

    async def test_silence(self) -> None:
        """A layout that does not come fails after the timeout."""
        found = self.scalable()
        self.heard[B1].script = polite(lambda name, fields: [], PULSAR_5)
        link = self.brokers.link(B1, 6651)
        (await link.open()).timeout_s = 0.01
        await self.fails(found.layout(SCALABLE, link), FailureKind.TIMEOUT)

    async def test_controller_by_address(self) -> None:
        """A proxy has no route for a controller that is advertised by address; the cure is a name."""
        found = self.scalable()
        failure = await self.fails(found.controller(SCALABLE, "pulsar://127.0.0.1:6650"), FailureKind.NO_ROUTE)
        self.assertIn("advertisedAddress", failure.cure)
