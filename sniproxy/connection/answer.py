"""Completes the reason of an ended connection: answers of a target that show a fault, by their first bytes. Pure."""

from __future__ import annotations

from sniproxy.events import Connection, Result
from sniproxy.tls.alerts import alert_name

_ALERT, _HANDSHAKE = 21, 22
_ALERT_BYTES = 7  # a record with one alert in the clear (RFC 8446, section 5.1)


def full_reason(record: Connection, answer: bytes | None, is_tls: bool) -> str:
    """The reason of a connection, with what else its record shows.

    @param answer: as for L{answer_fault}. None: there was no tunnel.
    """
    reasons = [record.reason]
    if answer is not None and record.result is Result.OK:
        reasons.append(answer_fault(answer, record.bytes_down, is_tls))
    if record.other_authority is not None:
        reasons.append(f"the PROXY protocol header has another authority: {record.other_authority}")
    return "; ".join(filter(None, reasons))


def answer_fault(answer: bytes, sent: int, is_tls: bool) -> str:
    """What is wrong with a target's answer; empty: nothing that is known of it.

    @param answer: its first and seventh byte; empty: they are not known.
    @param sent: bytes that it sent. @param is_tls: whether it should answer with TLS.
    """
    if not sent:
        return "the target sent nothing"
    if not answer or not is_tls:
        return ""
    kind, description = answer
    if kind == _ALERT and sent == _ALERT_BYTES:
        return f"the target sent only a TLS alert: {alert_name(description)}"
    return "" if kind in (_ALERT, _HANDSHAKE) else f"the target did not answer with TLS; the first byte is {kind:#04x}"
