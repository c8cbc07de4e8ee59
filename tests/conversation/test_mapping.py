"""Tests for sniproxy.conversation.mapping."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation.mapping import Mapping, domain_of

REQUEST = ("request", None)


class MappingTests(SynchronousTestCase):
    """Mapping."""

    def test_bind(self) -> None:
        """A value stands for one other value, in both directions."""
        mapping = Mapping()
        self.assertTrue(mapping.agrees(REQUEST, 1, 5))
        self.assertEqual(1, mapping.value(REQUEST, 1))
        self.assertTrue(mapping.bind(REQUEST, 1, 5))
        self.assertTrue(mapping.bind(REQUEST, 1, 5))
        self.assertEqual(5, mapping.value(REQUEST, 1))
        for check in (mapping.bind, mapping.agrees):
            self.assertFalse(check(REQUEST, 1, 6))
            self.assertFalse(check(REQUEST, 2, 5))
            self.assertTrue(check(("consumer", None), 1, 6))

    def test_renewed(self) -> None:
        """A client may use the number of a request again; other ids still stand for one value."""
        mapping = Mapping(renews_requests=True)
        for came in (5, 6):
            self.assertTrue(mapping.agrees(REQUEST, 1, came))
            self.assertTrue(mapping.bind(REQUEST, 1, came))
            self.assertEqual(came, mapping.value(REQUEST, 1))
        for url in ("pulsar://a:1", "pulsar://b:1"):
            self.assertTrue(mapping.bind(("broker", None), "pulsar://x:1", url))
        self.assertTrue(mapping.bind(("consumer", None), 1, 5))
        self.assertFalse(mapping.bind(("consumer", None), 1, 6))

    def test_fixed(self) -> None:
        """Numbers with a meaning of their own, and empty texts, stand for themselves."""
        mapping = Mapping()
        for check in (mapping.bind, mapping.agrees):
            for value in (-1, (1 << 64) - 1, (1 << 63) - 1, ""):
                self.assertTrue(check(REQUEST, value, value))
                self.assertFalse(check(REQUEST, value, 5))
        self.assertTrue(mapping.bind(REQUEST, {"base64": "eA=="}, {"base64": "eQ=="}))
        self.assertEqual({"base64": "eQ=="}, mapping.value(REQUEST, {"base64": "eA=="}))


class DomainTests(SynchronousTestCase):
    """domain_of."""

    def test_scopes(self) -> None:
        """Entries belong to a ledger, sequence ids to a producer; other ids belong to the connection."""
        self.assertEqual(("entry", 7), domain_of("entryId", {"ledgerId": 7}, None, "ACK"))
        self.assertEqual(("sequence_id", 3), domain_of("sequence_id", {}, 3, "SEND"))
        self.assertEqual(REQUEST, domain_of("request_id", {}, 3, "PRODUCER"))
        self.assertEqual(("request", "lookup"), domain_of("request_id", {}, None, "LOOKUP_RESPONSE"))
        self.assertIsNone(domain_of("topic", {}, 3, "PRODUCER"))
