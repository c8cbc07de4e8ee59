"""Tests for sniproxy.connection.answer."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.connection.answer import answer_fault, full_reason
from sniproxy.events import Connection, Proxied, Result


class FullReasonTests(SynchronousTestCase):
    """full_reason."""

    def test_parts(self) -> None:
        """The end of the tunnel, the fault of an answer, and another authority, as far as there are any."""
        record = Connection("id-1", 1.0, "public", "192.0.2.7:50123", server_name="a.test", result=Result.OK)
        self.assertEqual("", full_reason(record, None, True))
        record.reason = "the client ended first"
        self.assertEqual("the client ended first; the target sent nothing", full_reason(record, b"", True))
        record.proxied = Proxied("10.0.0.9:1", {"authority": "b.test"})
        other = "the PROXY protocol header has another authority: b.test"
        self.assertEqual(f"the client ended first; {other}", full_reason(record, None, True))
        record.result = Result.RESET
        self.assertEqual(f"the client ended first; {other}", full_reason(record, b"", True))


class AnswerFaultTests(SynchronousTestCase):
    """answer_fault."""

    def test_nothing(self) -> None:
        """A target that sent nothing."""
        for is_tls in (True, False):
            self.assertEqual("the target sent nothing", answer_fault(b"", 0, is_tls))

    def test_good(self) -> None:
        """A handshake, an alert among other bytes; and bytes that are not known or need not be TLS."""
        for answer, sent, is_tls in (
            (b"\x16\x00", 900, True),
            (b"\x16\x00", 7, True),
            (b"\x15\x28", 14, True),
            (b"", 900, True),
            (b"H\x31", 900, False),
        ):
            self.assertEqual("", answer_fault(answer, sent, is_tls))

    def test_alert(self) -> None:
        """An alert alone is named."""
        for number, name in ((40, "handshake_failure"), (112, "unrecognized_name"), (200, "200")):
            fault = answer_fault(bytes((21, number)), 7, True)
            self.assertEqual(f"the target sent only a TLS alert: {name}", fault)

    def test_not_tls(self) -> None:
        """Other first bytes are no TLS, also the 0 of plaintext Pulsar."""
        for answer, shown in ((b"H/", "0x48"), (b"\0\0", "0x00")):
            fault = answer_fault(answer, 90, True)
            self.assertEqual(f"the target did not answer with TLS; the first byte is {shown}", fault)
