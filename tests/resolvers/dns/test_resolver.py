"""Tests for sniproxy.resolvers.dns.resolver."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dns.message
import dns.rcode
from dns.rdatatype import RdataType
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.interfaces import BadOption, IServerNameResolver, Refused, Request, Resolution, Target, Unavailable
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.dns import resolver as dns_resolver
from sniproxy.resolvers.dns.client import NO_ANSWER, QueryFailed
from sniproxy.resolvers.dns.resolvconf import LOCAL
from sniproxy.resolvers.dns.resolver import (
    FAMILY_DELAY_S,
    HOST_DELAY_S,
    MAX_ADDRESSES,
    MAX_FORMED,
    MAX_FORMED_PER_CLIENT,
    NO_NAME_DELAY_S,
    PARTIAL_TTL_S,
    DNSResolver,
    SystemConf,
)
from sniproxy.resolvers.dns.wire import AAAA, SERVER_FAILED, SRV, A, DNSAnswer, extract_answer, parse_answer
from sniproxy.util.files import WATCH_INTERVAL_S
from tests.resolvers.answers import SOA, Records, reply
from tests.support.reactor import as_reactor

ZONE: dict[tuple[str, RdataType], tuple[Records, ...]] = {
    ("a.test", A): (("a.test.", 7, "A", "192.0.2.1"), ("a.test.", 7, "A", "192.0.2.2")),
    ("a.test", AAAA): (("a.test.", 5, "AAAA", "2001:db8::1"),),
    ("b.test", A): (("b.test.", 9, "A", "192.0.2.3"),),
    ("b.test", AAAA): (),
    ("half.test", A): (("half.test.", 7, "A", "192.0.2.4"),),
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
    """Name servers that serve L{ZONE}. @ivar failing: names and types that fail. @ivar late: those that are late.

    @ivar cause: of a failure.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, RdataType]] = []
        self.failing: set[tuple[str, RdataType]] = set()
        self.late: set[tuple[str, RdataType]] = set()
        self.pending: list[Deferred[DNSAnswer]] = []
        self.cause = NO_ANSWER

    async def ask(self, name: str, kind: RdataType) -> DNSAnswer:
        self.asked.append((name, kind))
        if (name, kind) in self.late:
            waiting: Deferred[DNSAnswer] = Deferred()
            self.pending.append(waiting)
            return await waiting
        if (name, kind) in self.failing:
            raise QueryFailed(self.cause, "silent")
        return self.found(name, kind)

    def found(self, name: str, kind: RdataType) -> DNSAnswer:
        asked = dns.message.make_query(name, kind)
        records = ZONE.get((name, kind))
        rcode = dns.rcode.NXDOMAIN if records is None else dns.rcode.NOERROR
        message = parse_answer(asked, reply(asked, *(records or ()), rcode=rcode, authority=() if records else (SOA,)))
        assert message is not None
        return extract_answer(message)


class DNSResolverTests(SynchronousTestCase):
    """Names in DNS."""

    def make(self, **options: Any) -> DNSResolver:
        self.servers = Servers()
        self.clock = Clock()
        self.patch(dns_resolver, "NameServers", lambda reactor, conf: self.servers)
        resolver = make_resolver("dns", {"servers": "192.0.2.53", **options}, self.clock)
        assert isinstance(resolver, DNSResolver)
        self.assertTrue(verifyObject(IServerNameResolver, resolver))
        self.resolver = resolver
        return resolver

    def ask(self, name: str | None = "a.test", *captures: str) -> Deferred[Resolution]:
        asked = Request(name, (), "192.0.2.7:1", "public", captures, 4443)
        return Deferred.fromCoroutine(self.resolver.resolve(asked))

    def targets(self, *arguments: str) -> list[tuple[str, int, int, tuple[str, ...]]]:
        answer = self.successResultOf(self.ask(*arguments))
        self.ttl = answer.ttl
        return [(target.host, target.port, target.weight, target.addresses) for target in answer.targets]

    def test_addresses(self) -> None:
        """All addresses of a name are one target, IPv6 first, with the shortest TTL."""
        self.make()
        self.assertEqual([("a.test", 6651, 1, ("2001:db8::1", "192.0.2.1", "192.0.2.2"))], self.targets())
        self.assertEqual(5.0, self.ttl)
        self.assertEqual([("b.test", 6651, 1, ("192.0.2.3",))], self.targets("b.test"))
        self.assertEqual([("192.0.2.9", 6651, 1, ())], self.targets("192.0.2.9"))

    def test_many(self) -> None:
        """The first MAX_ADDRESSES of each family are used."""
        self.make()
        ZONE["m.test", A] = tuple(
            ("m.test.", 7, "A", f"192.0.{2 + number // 250}.{number % 250}") for number in range(1200)
        )
        ZONE["m.test", AAAA] = (("m.test.", 7, "AAAA", "2001:db8::1"),)
        self.addCleanup(ZONE.pop, ("m.test", A))
        self.addCleanup(ZONE.pop, ("m.test", AAAA))
        [(_, _, _, addresses)] = self.targets("m.test")
        self.assertEqual(MAX_ADDRESSES + 1, len(addresses))

    def test_marked(self) -> None:
        """A client-formed target is marked for the policy; a target of the operator is not."""
        self.make(target="{1}.test:7")
        target = self.successResultOf(self.ask("x.w.test", "b")).targets[0]
        self.assertEqual(Target("b.test", 7, client_formed=True, addresses=("192.0.2.3",)), target)
        self.assertEqual("b.test:7", str(target))
        self.make(target="b.test:{port}")
        target = self.successResultOf(self.ask()).targets[0]
        self.assertEqual((False, 4443), (target.client_formed, target.port))

    def test_families(self) -> None:
        """Only the configured families are looked up."""
        self.make(ipv6=False)
        self.assertEqual(["192.0.2.1", "192.0.2.2"], list(self.targets()[0][3]))
        self.assertEqual([("a.test", A)], self.servers.asked)
        self.make(ipv4=False)
        self.assertEqual(["2001:db8::1"], list(self.targets()[0][3]))

    def test_nothing(self) -> None:
        """A missing name and a name without addresses are refused, with the TTL of the zone."""
        self.make()
        for name, said in (("gone.test", "gone.test does not exist"), ("none.test", "none.test has no address")):
            error = self.failureResultOf(self.ask(name), Refused).value
            self.assertEqual((said, 60.0), (error.reason, error.ttl))
        self.failureResultOf(self.ask(None), Refused)

    def test_failures(self) -> None:
        """A family whose lookup fails is left out; if the other has no address, the name is unavailable."""
        self.make()
        self.servers.failing = {("a.test", A), ("b.test", A)}
        self.assertEqual([("a.test", 6651, 1, ("2001:db8::1",))], self.targets())
        self.assertEqual("silent", str(self.failureResultOf(self.ask("b.test"), Unavailable).value))

    def test_late_family(self) -> None:
        """After one family has answered, the other gets 50 ms (RFC 8305); an incomplete answer has a short TTL."""
        self.make()
        self.servers.late = {("a.test", AAAA)}
        asked = self.ask()
        self.clock.advance(FAMILY_DELAY_S * 0.9)
        self.assertNoResult(asked)
        self.clock.advance(FAMILY_DELAY_S * 0.1)
        answer = self.successResultOf(asked)
        self.assertEqual((("192.0.2.1", "192.0.2.2"), PARTIAL_TTL_S), (answer.targets[0].addresses, answer.ttl))
        self.assertEqual([True], [waiting.called for waiting in self.servers.pending])
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_family_in_time(self) -> None:
        """An answer within the 50 ms counts, and so does one after a wrong NXDOMAIN."""
        self.make()
        self.servers.late = {("a.test", AAAA), ("half.test", A)}
        for name, addresses in (
            ("a.test", ("2001:db8::1", "192.0.2.1", "192.0.2.2")),
            ("half.test", ("192.0.2.4",)),
        ):
            asked = self.ask(name)
            self.clock.advance(FAMILY_DELAY_S * 0.9)
            self.servers.pending.pop().callback(self.servers.found(*self.servers.asked[0 if name == "a.test" else -1]))
            self.assertEqual(addresses, self.successResultOf(asked).targets[0].addresses)

    def test_no_name_and_silence(self) -> None:
        """NXDOMAIN for one family and silence for the other: the name does not exist (RFC 8020)."""
        self.make()
        self.servers.late = {("gone.test", AAAA)}
        asked = self.ask("gone.test")
        self.clock.advance(NO_NAME_DELAY_S)
        self.assertEqual("gone.test does not exist", self.failureResultOf(asked, Refused).value.reason)

    def test_no_such_family(self) -> None:
        """A name without addresses of the only configured family: the reason names the family."""
        self.make(ipv4=False)
        self.assertEqual("b.test has no IPv6 address", self.failureResultOf(self.ask("b.test"), Refused).value.reason)
        self.make(ipv6=False)
        reason = self.failureResultOf(self.ask("none.test"), Refused).value.reason
        self.assertEqual("none.test has no IPv4 address", reason)

    def test_services(self) -> None:
        """The hosts of a service have their ports; later priorities have weight 0; a missing host is left out."""
        self.make(srv="_p._tcp.{1}", ipv6=False)
        found = [("a.test", 6651, 1, ("192.0.2.1", "192.0.2.2")), ("b.test", 6652, 0, ("192.0.2.3",))]
        self.assertEqual(found, self.targets("a.w", "test"))
        self.assertEqual(7.0, self.ttl)

    def test_late_host(self) -> None:
        """A host of a service whose lookup is late is left out; the TTL is short."""
        self.make(srv="_p._tcp.test", ipv6=False)
        self.servers.late = {("a.test", A)}
        asked = self.ask()
        self.clock.advance(HOST_DELAY_S)
        answer = self.successResultOf(asked)
        self.assertEqual((["b.test"], PARTIAL_TTL_S), ([one.host for one in answer.targets], answer.ttl))
        self.servers.late, self.servers.failing = set(), {("b.test", A)}
        self.assertEqual(["a.test"], [one[0] for one in self.targets()])
        self.servers.failing |= {("a.test", A)}
        self.failureResultOf(self.ask(), Unavailable)

    def test_no_service(self) -> None:
        """A missing service and one that is not available are refused; a failed lookup is unavailable."""
        self.make(srv="{server_name}")
        for name, said in (
            ("_x._tcp.test", "_x._tcp.test does not exist"),
            ("_q._tcp.test", "_q._tcp.test has no usable SRV record"),
        ):
            self.assertEqual(said, self.failureResultOf(self.ask(name), Refused).value.reason)
        self.servers.failing = {("_p._tcp.test", SRV)}
        self.failureResultOf(self.ask("_p._tcp.test"), Unavailable)

    def test_cancelled(self) -> None:
        """A cancellation cancels all lookups."""
        self.make()
        self.servers.late = {("a.test", A), ("a.test", AAAA)}
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
        """The error names the invalid option."""
        self.assertEqual(("srv", "b"), self.refused(target="a", srv="b"))
        self.assertEqual(("srv", "_p._tcp.test:1"), self.refused(srv="_p._tcp.test:1"))
        for text in ("p{port}.test", "p{proxy_protocol_port}.test"):
            self.assertEqual(("srv", text), self.refused(srv=text))
        self.assertEqual(("target", "{x}"), self.refused(target="{x}"))
        self.assertEqual(("target", "a weight=2"), self.refused(target="a weight=2"))
        self.assertEqual(("srv", "a weight=2"), self.refused(srv="a weight=2"))
        self.assertEqual(("servers", "ns.test"), self.refused(servers="ns.test"))
        self.assertEqual(("servers", []), self.refused(servers=[]))
        self.assertEqual(("ipv4", False), self.refused(ipv4=False, ipv6=False))


class SystemTests(SynchronousTestCase):
    """The system's servers and search list."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.patch(dns_resolver, "SYSTEM", str(self.path))
        self.patch(dns_resolver.socket, "gethostname", lambda: "host")  # type: ignore[attr-defined]
        self.clock = Clock()

    def test_system(self) -> None:
        """Without servers those of resolv.conf are queried, by default this machine; a change counts within 1 s."""
        conf = SystemConf(as_reactor(self.clock))
        self.assertEqual((("127.0.0.1", 53),), conf().servers)
        for number in (53, 54):
            self.path.write_text(f"nameserver 192.0.2.{number}\n")
            self.path.with_suffix(".new").write_text(f"nameserver 192.0.2.{number}\n")
            self.path.with_suffix(".new").replace(self.path)
            self.clock.advance(WATCH_INTERVAL_S)
            self.assertEqual(((f"192.0.2.{number}", 53),), conf().servers)
        self.path.unlink()
        self.clock.advance(WATCH_INTERVAL_S)
        self.assertEqual((("192.0.2.54", 53),), conf().servers)

    def test_odd_files(self) -> None:
        """An empty, large, binary or missing resolv.conf, or a folder, raises nothing; a valid one is used again."""
        conf = SystemConf(as_reactor(self.clock))

        def look() -> tuple[tuple[str, int], ...]:
            self.clock.advance(WATCH_INTERVAL_S)
            return conf().servers

        good = (("192.0.2.53", 53),)
        for odd, servers in (
            (b"", LOCAL),
            (b"nameserver 192.0.2.53\n" + b"# x\n" * 300_000, good),
            (bytes(range(256)) * 100, LOCAL),
            (b"nameserver fe80::1%\xff\n", LOCAL),
        ):
            self.path.write_bytes(odd)
            self.assertEqual(servers, look())
            self.path.write_text("nameserver 192.0.2.53\n")
            self.assertEqual(good, look())
        self.path.unlink()
        self.path.mkdir()
        self.assertEqual(good, look())
        self.path.rmdir()
        self.assertEqual(good, look())
        self.path.write_text("nameserver 192.0.2.54\n")
        self.assertEqual((("192.0.2.54", 53),), look())
        self.path.unlink()
        self.path.mkdir()
        self.assertEqual(LOCAL, SystemConf(as_reactor(self.clock))().servers)

    def make(self, text: str, **options: Any) -> DNSResolver:
        self.path.write_text(text)
        self.servers = Servers()
        self.patch(dns_resolver, "NameServers", lambda reactor, conf: self.servers)
        resolver = make_resolver("dns", options, self.clock)
        assert isinstance(resolver, DNSResolver)
        return resolver

    def ask(self, resolver: DNSResolver, *captures: str, peer: str = "192.0.2.7") -> Deferred[Resolution]:
        asked = Request("x.test", (), f"{peer}:1", "public", captures, 4443)
        return Deferred.fromCoroutine(resolver.resolve(asked))

    def test_search(self) -> None:
        """A short name of the operator is looked up with the domains of the search list, in order."""
        resolver = self.make("search ns.test test\n", target="b", ipv6=False)
        target = self.successResultOf(self.ask(resolver)).targets[0]
        self.assertEqual(("b", ("192.0.2.3",)), (target.host, target.addresses))
        self.assertEqual([("b.ns.test", A), ("b.test", A)], self.servers.asked)
        resolver = self.make("search ns.test\n", target="b", ipv6=False)
        reason = self.failureResultOf(self.ask(resolver), Refused).value.reason
        self.assertEqual("b does not exist (also tried: b.ns.test)", reason)

    def test_absolute(self) -> None:
        """A name that ends in a dot is not searched."""
        for text in ("b.", "b.:7"):
            resolver = self.make("search test\n", target=text, ipv6=False)
            reason = self.failureResultOf(self.ask(resolver), Refused).value.reason
            self.assertEqual("b does not exist", reason)

    def test_search_after_failure(self) -> None:
        """A server failure for one domain does not end the search, but silence does; neither is a refusal."""
        resolver = self.make("search ns.test test\n", target="b", ipv6=False)
        self.servers.failing, self.servers.cause = {("b.ns.test", A)}, SERVER_FAILED
        self.assertEqual("b", self.successResultOf(self.ask(resolver)).targets[0].host)
        self.servers.cause = NO_ANSWER
        self.failureResultOf(self.ask(resolver), QueryFailed)
        resolver = self.make("search ns.test no.test\n", target="b", ipv6=False)
        self.servers.failing, self.servers.cause = {("b.ns.test", A)}, SERVER_FAILED
        self.failureResultOf(self.ask(resolver), QueryFailed)
        self.assertEqual(3, len(self.servers.asked))

    def test_formed(self) -> None:
        """A client-formed name never uses the search list, which would bypass C{allow_names}."""
        resolver = self.make("search test\noptions ndots:5\n", target="{1}", ipv6=False)
        reason = self.failureResultOf(self.ask(resolver, "b"), Refused).value.reason
        self.assertIn("b does not exist (the resolv.conf search list is not used for client-formed names", reason)
        self.assertEqual([("b", A)], self.servers.asked)
        resolver = self.make("search test\noptions ndots:5\n", srv="{1}", ipv6=False)
        self.failureResultOf(self.ask(resolver, "_p._tcp"), Refused)
        self.assertEqual([("_p._tcp", SRV)], self.servers.asked)

    def test_bounds(self) -> None:
        """Lookups of client-formed names are limited for each client, those of written names are not; a finished lookup
        no longer counts."""
        resolver = self.make("", target="{1}", ipv6=False)
        self.servers.late = {("a.test", A)}
        waiting = [self.ask(resolver, "a.test") for _ in range(MAX_FORMED_PER_CLIENT)]
        error = self.failureResultOf(self.ask(resolver, "b.test"), Unavailable).value
        self.assertIn("too many concurrent lookups", str(error))
        self.assertTrue(error.local)
        left = waiting.pop()
        left.cancel()
        self.failureResultOf(left, CancelledError)
        self.successResultOf(self.ask(resolver, "b.test"))
        for one in waiting:
            one.addErrback(lambda _: None).cancel()

    def test_shares(self) -> None:
        """A few clients with slow lookups cannot use up the limit."""
        resolver = self.make("", target="{1}", ipv6=False)
        self.servers.late = {("a.test", A)}
        waiting = []
        for _ in range(MAX_FORMED // 8):
            waiting += [self.ask(resolver, "a.test", peer=f"192.0.2.{client}") for client in range(10, 18)]
        self.successResultOf(self.ask(resolver, "b.test"))
        for one in waiting:
            one.addErrback(lambda _: None).cancel()
        self.successResultOf(self.ask(resolver, "b.test", peer="192.0.2.1"))
