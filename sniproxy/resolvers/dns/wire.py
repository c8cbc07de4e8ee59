"""DNS messages: questions, and what answers say (RFC 1035, 2308, 2782). Pure, by dnspython's codec. Pure."""

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
"""Bytes of an answer by UDP that we take (RFC 6891): what passes everywhere without fragments."""

MIN_TTL_S = 1.0
MAX_TTL_S = 3600.0
MAX_NEGATIVE_TTL_S = 300.0
"""Seconds that an answer is kept, whatever its records say: 0 would make each connection a question."""

A, AAAA, SRV = dns.rdatatype.A, dns.rdatatype.AAAA, dns.rdatatype.SRV


SERVER_FAILED, QUERY_REFUSED = "server failed", "query refused"

_IN_WORDS = {dns.rcode.REFUSED: QUERY_REFUSED}


class BadMessage(Exception):
    """The answer is none that can be used; the message says why."""


@attrs.frozen
class DNSAnswer:
    """What was asked for.

    @ivar records: empty: there is none. @ivar ttl: seconds for which that holds. @ivar exists: whether the name does.
    """

    records: tuple[Any, ...]
    ttl: float
    exists: bool = True


@attrs.frozen
class Service:
    """A SRV record (RFC 2782). @ivar weight: for L{Target}; 0: its priority is a later one."""

    host: str
    port: int
    weight: int


def question(name: str, kind: dns.rdatatype.RdataType, edns: bool = True) -> dns.message.QueryMessage:
    """A question with an id that cannot be guessed. @param edns: with an OPT record (RFC 6891)."""
    if not edns:
        return dns.message.make_query(dns.name.from_text(name + "."), kind, use_edns=False)
    return dns.message.make_query(dns.name.from_text(name + "."), kind, use_edns=0, payload=UDP_PAYLOAD_BYTES)


def rejects_edns(asked: dns.message.QueryMessage, answer: dns.message.Message) -> bool:
    """Whether the server may know no OPT record, and is asked again without one (RFC 6891, section 6.2.2)."""
    return asked.edns >= 0 and answer.rcode() in (dns.rcode.FORMERR, dns.rcode.NOTIMP, dns.rcode.BADVERS)


def may_reject_edns(answer: dns.message.Message) -> bool:
    """Whether the failure may be about the OPT record: some old servers say so by these codes."""
    return answer.rcode() in (dns.rcode.SERVFAIL, dns.rcode.REFUSED)


def parse_answer(asked: dns.message.QueryMessage, data: bytes) -> dns.message.Message | None:
    """The answer to this question, or None: it is none. An answer that was cut short has the flag TC."""
    try:
        answer = dns.message.from_wire(data, ignore_trailing=True, raise_on_truncation=False)
    except (dns.exception.DNSException, ValueError, IndexError):
        return None
    return answer if asked.is_response(answer) else None


def is_truncated(answer: dns.message.Message) -> bool:
    """Whether the rest must be fetched by TCP."""
    return bool(answer.flags & dns.flags.TC)


def why_unusable(answer: dns.message.Message) -> str | None:
    """None: it says what there is, or that there is nothing. Else why another server should be asked."""
    rcode = answer.rcode()
    if rcode == dns.rcode.NOERROR and _is_referral(answer):
        return "it is not recursive: it only names other servers"
    if rcode in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
        return None
    return f"{_IN_WORDS.get(rcode, SERVER_FAILED)} ({dns.rcode.to_text(rcode)})"


def _is_referral(answer: dns.message.Message) -> bool:
    """Whether it only names the servers of a zone below (RFC 2308, section 2.1): then libc, too, asks the next one."""
    kinds = {one.rdtype for one in answer.authority}
    known = answer.answer or answer.flags & (dns.flags.AA | dns.flags.RA)
    return not known and dns.rdatatype.NS in kinds and dns.rdatatype.SOA not in kinds


def extract_answer(answer: dns.message.Message) -> DNSAnswer:
    """What an answer has for its question, through aliases.

    @raise BadAnswer: it contradicts itself.
    """
    assert isinstance(answer, dns.message.QueryMessage)
    try:
        chain = answer.resolve_chaining()
    except dns.exception.DNSException as error:
        raise BadMessage(f"{SERVER_FAILED}: {type(error).__name__}: {error}") from error
    exists = answer.rcode() == dns.rcode.NOERROR
    if chain.answer is None:
        # Without a SOA there is no time for a negative answer (RFC 2308, section 5).
        ttl = float(chain.minimum_ttl) if answer.authority else MIN_TTL_S
        return DNSAnswer((), _between(ttl, MAX_NEGATIVE_TTL_S), exists)
    return DNSAnswer(tuple(chain.answer), _between(float(chain.minimum_ttl), MAX_TTL_S), exists)


def sort_services(records: Iterable[Any]) -> list[Service]:
    """SRV records, those of the first priority first, with their weights; the others have none, for when these fail.

    Records whose host or port cannot be one are left out. Empty: the service is not available there; a single record
    for the root says so on purpose (RFC 2782, "Target").
    """
    hosts = [record for record in records if record.port and _is_host(record.target)]
    ordered = sorted(hosts, key=lambda record: (record.priority, -record.weight, record.target.to_text(), record.port))
    if not ordered:
        return []
    first = [record for record in ordered if record.priority == ordered[0].priority]
    # A weight of 0 among others means seldom; Target's 0 would mean never.
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


def _between(ttl: float, most: float) -> float:
    return min(max(ttl, MIN_TTL_S), most)
