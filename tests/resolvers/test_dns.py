"""Tests for sniproxy.resolvers.dns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
from dns.rdatatype import RdataType
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.interfaces import BadOption, IServerNameResolver, Refused, Request, Resolution, Target, Unavailable
from sniproxy.resolvers import dns as dns_resolver
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.dns import DNSResolver
from sniproxy.resolvers.dnswire import AAAA, SRV, A, Found, found, read
from tests.resolvers.answers import SOA, Records, reply

ZONE: dict[tuple[str, RdataType], tuple[Records, ...]] = {
    ("a.test", A): (("a.test.", 7, "A", "192.0.2.1"), ("a.test.", 7, "A", "192.0.2.2")),
    ("a.test", AAAA): (("a.test.", 5, "AAAA", "2001:db8::1"),),
    ("b.test", A): (("b.test.", 9, "A", "192.0.2.3"),),
    ("b.test", AAAA): (),
    ("none.test", A): (),
    ("none.test", AAAA): (),
    ("_p._tcp.test", SRV): (
        ("_p._tcp.test.", 60, "SRV", "2 1 6652 b.test."),
        ("_p._tcp.test.", 60, "SRV", "1 1 6651 a.test."),
        ("_p._tcp.test.", 60, "SRV", "1 1 6651 gone.test."),
    ),
    ("_q._tcp.test", SRV): (("_q._tcp.test.", 60, "SRV", "0 0 1 ."),),
}


class Servers:
    """Name servers that know L{ZONE}. @ivar failing: names and types that they do not say."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, RdataType]] = []
        self.failing: set[tuple[str, RdataType]] = set()
        self.pending: list[Deferred[Found]] | None = None

    async def ask(self, name: str, kind: RdataType) -> Found:
        self.asked.append((name, kind))
        if self.pending is not None:
            waiting: Deferred[Found] = Deferred()
            self.pending.append(waiting)
            return await waiting
        if (name, kind) in self.failing:
            raise Unavailable("silent")
        asked = dns.message.make_query(name, kind)
        records = ZONE.get((name, kind))
        rcode = dns.rcode.NXDOMAIN if records is None else dns.rcode.NOERROR
        message = read(asked, reply(asked, *(records or ()), rcode=rcode, authority=() if records else (SOA,)))
        assert message is not None
        return found(message)


class DNSResolverTests(SynchronousTestCase):
    """Names in DNS."""

    def make(self, **options: Any) -> DNSResolver:
        self.servers = Servers()
        self.patch(dns_resolver, "NameServers", lambda reactor, servers: self.servers)
        resolver = make_resolver("dns", {"servers": "192.0.2.53", **options}, None)
        assert isinstance(resolver, DNSResolver)
        self.assertTrue(verifyObject(IServerNameResolver, resolver))
        self.resolver = resolver
        return resolver

    def ask(self, name: str | None = "a.test", *captures: str) -> Deferred[Resolution]:
        asked = Request(name, (), "192.0.2.7:1", "public", captures, 4443)
        return Deferred.fromCoroutine(self.resolver.resolve(asked))

    def targets(self, *arguments: str) -> list[tuple[str, int, int]]:
        answer = self.successResultOf(self.ask(*arguments))
        self.ttl = answer.ttl
        return [(target.host, target.port, target.weight) for target in answer.targets]

    def test_addresses(self) -> None:
        """All addresses of a name, IPv6 first, for the shortest time."""
        self.make()
        found = [("2001:db8::1", 6651, 1), ("192.0.2.1", 6651, 1), ("192.0.2.2", 6651, 1)]
        self.assertEqual(found, self.targets())
        self.assertEqual(5.0, self.ttl)
        self.assertEqual([("192.0.2.3", 6651, 1)], self.targets("b.test"))
        self.assertEqual([("192.0.2.9", 6651, 1)], self.targets("192.0.2.9"))

    def test_marked(self) -> None:
        """What a client's name led to is marked for the policy, with the name; what the operator wrote is not."""
        self.make(target="{1}.test:7")
        target = self.successResultOf(self.ask("x.w.test", "b")).targets[0]
        self.assertEqual(Target("192.0.2.3", 7, 1, "b.test:7 (192.0.2.3)", True, "b.test"), target)
        self.make(target="b.test:{port}")
        target = self.successResultOf(self.ask()).targets[0]
        self.assertEqual((False, 4443), (target.client_formed, target.port))

    def test_families(self) -> None:
        """Only what is wanted is asked for."""
        self.make(ipv6=False)
        self.assertEqual(["192.0.2.1", "192.0.2.2"], [host for host, _, _ in self.targets()])
        self.assertEqual([("a.test", A)], self.servers.asked)
        self.make(ipv4=False)
        self.assertEqual(["2001:db8::1"], [host for host, _, _ in self.targets()])

    def test_nothing(self) -> None:
        """No such name, and a name without addresses, are refused, for as long as the zone says."""
        self.make()
        for name, said in (("gone.test", "gone.test does not exist"), ("none.test", "none.test has no address")):
            error = self.failureResultOf(self.ask(name), Refused).value
            self.assertEqual((said, 60.0), (error.reason, error.ttl))
        self.failureResultOf(self.ask(None), Refused)

    def test_failures(self) -> None:
        """One family that nobody says is done without; when the other has nothing, it is not known."""
        self.make()
        self.servers.failing = {("a.test", A), ("b.test", A)}
        self.assertEqual([("2001:db8::1", 6651, 1)], self.targets())
        self.assertEqual("silent", str(self.failureResultOf(self.ask("b.test"), Unavailable).value))

    def test_services(self) -> None:
        """A service's hosts with their ports, the later priority without weight; a host that is gone is left out."""
        self.make(srv="_p._tcp.{1}", ipv6=False)
        found = [("192.0.2.1", 6651, 1), ("192.0.2.2", 6651, 1), ("192.0.2.3", 6652, 0)]
        self.assertEqual(found, self.targets("a.w", "test"))
        self.assertEqual(7.0, self.ttl)

    def test_no_service(self) -> None:
        """No such service, and one that says that it is not there, are refused; one that nobody says is not known."""
        self.make(srv="{server_name}")
        for name, said in (
            ("_x._tcp.test", "_x._tcp.test does not exist"),
            ("_q._tcp.test", "_q._tcp.test: the service is not available there"),
        ):
            self.assertEqual(said, self.failureResultOf(self.ask(name), Refused).value.reason)
        self.servers.failing = {("_p._tcp.test", SRV)}
        self.failureResultOf(self.ask("_p._tcp.test"), Unavailable)

    def test_cancelled(self) -> None:
        """Who leaves cancels all that was asked for it."""
        self.make()
        self.servers.pending = []
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual([True, True], [waiting.called for waiting in self.servers.pending])


class MakeTests(SynchronousTestCase):
    """From the configuration's options."""

    def refused(self, **options: Any) -> tuple[str, object]:
        error = self.assertRaises(BadOption, make_resolver, "dns", options, None)
        self.assertTrue(error.cure)
        return error.key, error.value

    def test_bad_options(self) -> None:
        """What does not fit is named."""
        self.assertEqual(("srv", "b"), self.refused(target="a", srv="b"))
        self.assertEqual(("srv", "_p._tcp.test:1"), self.refused(srv="_p._tcp.test:1"))
        self.assertEqual(("target", "{x}"), self.refused(target="{x}"))
        self.assertEqual(("target", "a weight=2"), self.refused(target="a weight=2"))
        self.assertEqual(("srv", "a weight=2"), self.refused(srv="a weight=2"))
        self.assertEqual(("servers", "ns.test"), self.refused(servers="ns.test"))
        self.assertEqual(("servers", []), self.refused(servers=[]))
        self.assertEqual(("ipv4", False), self.refused(ipv4=False, ipv6=False))

    def test_system(self) -> None:
        """Without servers the system's are asked, or this machine when it says none."""
        path = Path(self.mktemp())
        seen: list[Any] = []
        self.patch(dns_resolver, "SYSTEM", str(path))
        self.patch(dns_resolver, "NameServers", lambda reactor, servers: seen.append(servers))
        make_resolver("dns", {}, None)
        path.write_text("nameserver 192.0.2.53\n")
        make_resolver("dns", {}, None)
        self.assertEqual([[("127.0.0.1", 53)], [("192.0.2.53", 53)]], seen)
