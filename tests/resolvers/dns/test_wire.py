"""Tests for sniproxy.resolvers.dns.wire."""

from __future__ import annotations

import dns.message
import dns.rcode
import dns.rrset
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.dns.wire import (
    AAAA,
    MAX_NEGATIVE_TTL_S,
    MAX_TTL_S,
    MIN_TTL_S,
    A,
    BadMessage,
    DNSAnswer,
    Service,
    extract_answer,
    is_truncated,
    make_query,
    parse_answer,
    rejects_edns,
    sort_services,
    why_unusable,
)
from tests.resolvers.answers import SOA, Records, asked_for, reply

ASKED = make_query("a.test", A)


def answered(*records: Records, **more: object) -> DNSAnswer:
    message = parse_answer(ASKED, reply(ASKED, *records, **more))  # type: ignore[arg-type]
    assert message is not None
    return extract_answer(message)


class QuestionTests(SynchronousTestCase):
    """Queries, and which messages answer them."""

    def test_question(self) -> None:
        """A query has name and type, asks for recursion and allows answers of 1232 bytes."""
        asked, name, kind = asked_for(make_query("a_b.test", AAAA).to_wire())
        self.assertEqual(("a_b.test", AAAA, 1232), (name, kind, asked.payload))
        self.assertNotEqual(make_query("a.test", A).id, [make_query("a.test", A).id for _ in range(2)])

    def test_answers(self) -> None:
        """An answer must have the id, name and type of the query."""
        good = reply(ASKED, ("a.test.", 7, "A", "192.0.2.1"))
        self.assertIsNotNone(parse_answer(ASKED, good))
        other = make_query("a.test", A)
        other.id = ASKED.id ^ 1
        for bad in (reply(other), reply(make_query("b.test", A)), reply(make_query("a.test", AAAA)), ASKED.to_wire()):
            self.assertIsNone(parse_answer(ASKED, bad[:2] if bad is good else bad))

    def test_in_parts(self) -> None:
        """A part of an answer is refused; trailing bytes are ignored."""
        good = reply(ASKED, ("a.test.", 7, "A", "192.0.2.1"))
        for length in range(len(good)):
            self.assertIsNone(parse_answer(ASKED, good[:length]))
        self.assertIsNotNone(parse_answer(ASKED, good + b"tail"))

    @given(st.binary(max_size=100))
    def test_anything(self, data: bytes) -> None:
        """Any bytes are parsed or refused."""
        parse_answer(ASKED, ASKED.to_wire()[:2] + data)

    def test_flags(self) -> None:
        """Truncated and unusable answers are recognised."""
        for message, cut, why in (
            (reply(ASKED, truncated=True), True, None),
            (reply(ASKED, rcode=dns.rcode.NXDOMAIN), False, None),
            (reply(ASKED, rcode=dns.rcode.SERVFAIL), False, "server failed (SERVFAIL)"),
            (reply(ASKED, rcode=dns.rcode.REFUSED), False, "query refused (REFUSED)"),
            (reply(ASKED, rcode=dns.rcode.YXDOMAIN), False, "server failed (YXDOMAIN)"),
        ):
            answer = parse_answer(ASKED, message)
            assert answer is not None
            self.assertEqual((cut, why), (is_truncated(answer), why_unusable(answer)))

    def test_referral(self) -> None:
        """A referral is unusable."""
        ns = ("test.", 60, "NS", "ns.test.")
        for message, usable in (
            (reply(ASKED, authority=(ns,)), False),
            (reply(ASKED, authority=(SOA,)), True),
            (reply(ASKED, ("a.test.", 7, "A", "192.0.2.1"), authority=(ns,)), True),
        ):
            answer = parse_answer(ASKED, message)
            assert answer is not None
            self.assertEqual(usable, why_unusable(answer) is None)

    def test_edns(self) -> None:
        """FORMERR, NOTIMP and BADVERS reject the OPT record, if the query had one (RFC 6891, section 6.2.2)."""
        plain = make_query("a.test", A, edns=False)
        self.assertEqual(-1, asked_for(plain.to_wire())[0].edns)
        for rcode, dislikes in ((dns.rcode.FORMERR, True), (dns.rcode.NOTIMP, True), (dns.rcode.SERVFAIL, False)):
            answer = parse_answer(ASKED, reply(ASKED, rcode=rcode))
            assert answer is not None
            self.assertEqual((dislikes, False), (rejects_edns(ASKED, answer), rejects_edns(plain, answer)))


class FoundTests(SynchronousTestCase):
    """Records of an answer."""

    def test_addresses(self) -> None:
        """All records, with their TTL within bounds."""
        one = answered(("a.test.", 7, "A", "192.0.2.1"), ("a.test.", 7, "A", "192.0.2.2"))
        self.assertEqual((["192.0.2.1", "192.0.2.2"], 7.0), ([each.to_text() for each in one.records], one.ttl))
        for ttl, kept in ((0, MIN_TTL_S), (10**6, MAX_TTL_S)):
            self.assertEqual(kept, answered(("a.test.", ttl, "A", "192.0.2.1")).ttl)

    def test_alias(self) -> None:
        """CNAMEs are followed within the answer; the shortest TTL of the chain counts."""
        one = answered(("a.test.", 5, "CNAME", "b.test."), ("b.test.", 9, "A", "192.0.2.1"))
        self.assertEqual((1, 5.0), (len(one.records), one.ttl))

    def test_nothing(self) -> None:
        """A negative answer has the TTL of the zone's SOA, within bounds."""
        gone = answered(rcode=dns.rcode.NXDOMAIN, authority=(SOA,))
        self.assertEqual(DNSAnswer((), 60.0, False), gone)
        self.assertEqual(DNSAnswer((), 60.0, True), answered(authority=(SOA,)))
        self.assertEqual(DNSAnswer((), MIN_TTL_S, True), answered())
        long = ("test.", 10**6, "SOA", "ns.test. admin.test. 1 2 3 4 999999")
        self.assertEqual(MAX_NEGATIVE_TTL_S, answered(authority=(long,)).ttl)

    def test_circle(self) -> None:
        """A loop of CNAMEs is a bad answer."""
        circle = [("a.test.", 5, "CNAME", "b.test."), ("b.test.", 5, "CNAME", "a.test.")]
        self.assertRaises(BadMessage, answered, *circle)


class ServiceTests(SynchronousTestCase):
    """SRV records."""

    def services(self, *texts: str) -> list[Service]:
        return sort_services(dns.rrset.from_text("_p._tcp.test.", 7, "IN", "SRV", *texts))

    def test_priorities(self) -> None:
        """The first priority has reduced weights; later ones are backups, in order."""
        found = self.services("2 9 1 d.test.", "1 60 1 B.test.", "1 0 2 c.test.", "1 90 1 a.test.", "3 1 1 e.test.")
        self.assertEqual(
            [("a.test", 1, 3), ("b.test", 1, 2), ("c.test", 2, 1), ("d.test", 1, 0), ("e.test", 1, 0)],
            [(one.host, one.port, one.weight) for one in found],
        )

    def test_equal(self) -> None:
        """Weights of 0 are equal."""
        self.assertEqual([1, 1], [one.weight for one in self.services("0 0 1 a.test.", "0 0 1 b.test.")])

    def test_unusable(self) -> None:
        """The root means that there is no service; records with an invalid host or port are left out."""
        self.assertEqual([], self.services("0 0 1 ."))
        self.assertEqual([], self.services("0 0 0 a.test.", "0 0 1 a\\032b.test."))
