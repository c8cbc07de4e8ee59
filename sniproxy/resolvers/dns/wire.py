"""DNS messages: builds queries and reads answers (RFC 1035, 2308, 2782), with dnspython's codec. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import attrs
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype

from sniproxy.util.names import BadName, server_name

UDP_PAYLOAD_BYTES = 1232
"""Bytes of the largest UDP answer that queries allow (RFC 6891). This size passes without fragmentation."""

MIN_TTL_S = 1.0
MAX_TTL_S = 3600.0
MAX_NEGATIVE_TTL_S = 300.0
"""Bounds, in seconds, of an answer's TTL. With a TTL of 0 each connection would cause a lookup."""

A, AAAA, SRV = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.SRV


SERVER_FAILED, QUERY_REFUSED = "server failed", "query refused"

_IN_WORDS = {dns.rcode.REFUSED: QUERY_REFUSED}


class BadMessage(Exception):
    """An answer is unusable; the message says why."""


@attrs.frozen
class DNSAnswer:
    """The records of an answer.

    @ivar records: empty: the name has none of this type. @ivar ttl: seconds. @ivar exists: whether the name exists.
    """

    records: tuple[Any, ...]
    ttl: float
    exists: bool = True


@attrs.frozen
class Service:
    """A SRV record (RFC 2782). @ivar weight: the weight of a target. 0: a backup."""

    host: str
    port: int
    weight: int


def make_query(name: str, kind: dns.rdatatype.RdataType, edns: bool = True) -> dns.message.QueryMessage:
    """A query with a random id. @param edns: whether it has an OPT record (RFC 6891)."""
    if not edns:
        return dns.message.make_query(dns.name.from_text(name + "."), kind, use_edns=False)
    return dns.message.make_query(dns.name.from_text(name + "."), kind, use_edns=0, payload=UDP_PAYLOAD_BYTES)


def rejects_edns(query: dns.message.QueryMessage, answer: dns.message.Message) -> bool:
    """Whether the server rejects the OPT record. Repeat the query without it (RFC 6891, section 6.2.2)."""
    return query.edns >= 0 and answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)


def may_reject_edns(answer: dns.message.Message) -> bool:
    """Whether the OPT record may have caused the failure: some old servers answer it with these codes."""
    return answer.rcode() in (dns.rcode.SERVFAIL, dns.rcode.REFUSED)


def parse_answer(query: dns.message.QueryMessage, data: bytes) -> dns.message.Message | None:
    """Parse an answer to a query. None: it is not one. A truncated answer has the flag TC."""
    try:
        answer = dns.message.from_wire(data, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, ValueError, IndexError):
        return None
    return answer if query.is_response(answer) else None


def is_truncated(answer: dns.message.Message) -> bool:
    """Whether the answer is truncated, so that the query must be repeated over TCP."""
    return bool(answer.flags & dns.flags.TC)


def why_unusable(answer: dns.message.Message) -> str | None:
    """Why another server should be queried. None: the answer is usable; it may say that there are no records."""
    rcode = answer.rcode()
    if rcode == dns.rcode.NOERROR and _is_referral(answer):
        return "not recursive: it answered with a referral"
    if rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    return f"{_IN_WORDS.get(rcode, SERVER_FAILED)} ({dns.rcode.to_text(rcode)})"


def _is_referral(answer: dns.message.Message) -> bool:
    """Whether the answer is a referral (RFC 2308, section 2.1). libc, too, queries the next server then."""
    kinds = {one.rdtype for one in answer.authority}
    known = answer.answer or answer.flags & (dns.flags.AA | dns.flags.RA)
    return not known and dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds


def extract_answer(answer: dns.message.Message) -> DNSAnswer:
    """The records of an answer for its question. Follows CNAME records.

    @raise BadMessage: the answer contradicts itself.
    """
    assert isinstance(answer, dns.message.QueryMessage)
    try:
        chain = answer.resolve_chaining()
    except dns.exception.DNSException as error:
        raise BadMessage(f"{SERVER_FAILED}: {type(error).__name__}: {error}") from error
    exists = answer.rcode() == dns.rcode.NOERROR
    if chain.answer is None:
        # Without a SOA a negative answer has no TTL (RFC 2308, section 5).
        ttl = float(chain.minimum_ttl) if answer.authority else MIN_TTL_S
        return DNSAnswer((), _clamp(ttl, MAX_NEGATIVE_TTL_S), exists)
    return DNSAnswer(tuple(chain.answer), _clamp(float(chain.minimum_ttl), MAX_TTL_S), exists)


def sort_services(records: Iterable[Any]) -> list[Service]:
    """Order SRV records by priority. Those of the first priority have weights; the others are backups with weight 0.

    Records with an invalid host or port are left out. Empty: the service is not available; a single record for the root
    says so explicitly (RFC 2782, "Target").
    """
    hosts = [record for record in records if record.port and _is_host(record.target)]
    ordered = sorted(hosts, key=lambda record: (record.priority, -record.weight, record.target.to_text(), record.port))
    if not ordered:
        return []
    first = [record for record in ordered if record.priority == ordered[0].priority]
    # In a SRV record, weight 0 means rarely; in a Target it would mean backup.
    divisor = math.gcd(*(record.weight for record in first)) or 1
    weights = {record: max(record.weight // divisor, 1) for record in first}
    return [Service(_text(record.target), record.port, weights.get(record, 0)) for record in ordered]


def _text(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower()


def _is_host(name: dns.name.Name) -> bool:
    try:
        server_name(_text(name))
    except BadName:
        return False
    return True


def _clamp(ttl: float, max_ttl: float) -> float:
    return min(max(ttl, MIN_TTL_S), max_ttl)
