"""DNS answers of a name server."""

from __future__ import annotations

import dns.flags
import dns.message
import dns.rcode
import dns.rrset
from dns.rdatatype import RdataType

Records = tuple[str, int, str, str]
"""Name, TTL, type, data."""

SOA = ("test.", 77, "SOA", "ns.test. admin.test. 1 2 3 4 60")


def reply(
    asked: dns.message.Message,
    *records: Records,
    rcode: dns.rcode.Rcode = dns.rcode.NOERROR,
    truncated: bool = False,
    authority: tuple[Records, ...] = (),
) -> bytes:
    """An answer to a query."""
    answer = dns.message.make_response(asked)
    answer.set_rcode(rcode)
    for section, found in ((answer.answer, records), (answer.authority, authority)):
        for name, ttl, kind, text in found:
            section.append(dns.rrset.from_text(name, ttl, "IN", kind, text))
    if truncated:
        answer.flags |= dns.flags.TC
    return answer.to_wire()


def asked_for(data: bytes) -> tuple[dns.message.Message, str, RdataType]:
    """Parse a query. @return: the message, the name without its last dot, the type."""
    asked = dns.message.from_wire(data)
    [question] = asked.question
    return asked, question.name.to_text(omit_final_dot=True), question.rdtype
