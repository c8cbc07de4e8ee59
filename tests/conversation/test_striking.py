"""Tests for sniproxy.conversation.striking."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation.schema import Secrecy, layout_of
from sniproxy.conversation.striking import is_struck, looks_secret, strike

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"
CONNECT = layout_of("CommandConnect")
PRODUCER = layout_of("CommandProducer")
METADATA = layout_of("MessageMetadata")
EACH = frozenset(Secrecy)


class StrikeTests(SynchronousTestCase):
    """strike."""

    def test_credentials(self) -> None:
        """Credentials and unknown bytes keep their size only, unless they are asked for."""
        tree = {
            "client_version": "x",
            "auth_data": {"base64": "c2VjcmV0"},
            "original_auth_data": "geheim",
            "#77": {"base64": "eA=="},
            "#78": 5,
        }
        expected = {
            "client_version": "x",
            "auth_data": {"struck": 6},
            "original_auth_data": {"struck": 6},
            "#77": {"struck": 1},
            "#78": 5,
        }
        self.assertEqual((expected, True), strike(CONNECT, tree, EACH - {Secrecy.CREDENTIAL}))
        self.assertEqual((tree, False), strike(CONNECT, tree, EACH))

    def test_private(self) -> None:
        """Principals and properties are struck out; a property that looks like a secret is a credential."""
        tree = {"topic": "t", "metadata": [{"key": "app", "value": "shop"}, {"key": "db.password", "value": "x"}]}
        struck = [{"key": "app", "value": {"struck": 4}}, {"key": "db.password", "value": {"struck": 1}}]
        self.assertEqual(({"topic": "t", "metadata": struck}, True), strike(PRODUCER, tree, ()))
        kept, changed = strike(PRODUCER, tree, {Secrecy.PRIVATE})
        self.assertEqual((tree["metadata"][0], struck[1]), tuple(kept["metadata"]))
        self.assertTrue(changed)
        self.assertEqual(
            ({"original_principal": {"struck": 1}}, True), strike(CONNECT, {"original_principal": "x"}, ())
        )

    def test_content(self) -> None:
        """Properties and keys of a message belong to its payload."""
        tree = {"producer_name": "p", "partition_key": "k", "properties": [{"key": "a", "value": "b"}]}
        self.assertEqual((tree, False), strike(METADATA, tree, {Secrecy.CONTENT}))
        gone, _ = strike(METADATA, tree, {Secrecy.PRIVATE})
        self.assertEqual({"struck": 1}, gone["partition_key"])
        self.assertEqual([{"key": "a", "value": {"struck": 1}}], gone["properties"])
        key = {"encryption_keys": [{"key": "k", "value": {"base64": "eA=="}}]}
        self.assertTrue(is_struck(strike(METADATA, key, {Secrecy.CONTENT})[0]["encryption_keys"][0]["value"]))

    def test_any_text(self) -> None:
        """A text that looks like a credential is struck out, whatever its field."""
        self.assertEqual(({"topic": {"struck": len(JWT)}}, True), strike(PRODUCER, {"topic": JWT}, {Secrecy.PRIVATE}))
        odd = {"metadata": [{"key": {"base64": "/w=="}, "value": "x"}, {"value": {"base64": "/w=="}}, {"value": 3}]}
        gone, _ = strike(PRODUCER, odd, {Secrecy.PRIVATE})
        self.assertEqual([{"struck": 1}, {"struck": 1}, 3], [each["value"] for each in gone["metadata"]])

    def test_looks_secret(self) -> None:
        """Tokens, keys and passwords are recognized; names and URLs are not."""
        for text in (JWT, "-----BEGIN KEY", "pulsar://me:pw@host:1", "Bearer abc", '{"password": "x"}', "token:abc"):
            self.assertTrue(looks_secret(text), text)
        for text in ("", "persistent://a/b/tokens", "pulsar://host:6650", "2.10.1", "basic"):
            self.assertFalse(looks_secret(text), text)
