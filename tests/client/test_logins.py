"""Tests for sniproxy.client.logins."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.client.logins import CERTIFICATE, NO_LOGIN, BadToken, by_token
from sniproxy.pulsar.commands import write


class LoginTests(SynchronousTestCase):
    """Login: the credentials in CONNECT."""

    def test_token(self) -> None:
        """A token is sent in field 3, as by real clients, and no text shows it."""
        login = by_token(" secret-jwt\n")
        command = login.connect()
        self.assertIn(bytes.fromhex("1a0a") + b"secret-jwt", write(command))
        self.assertEqual(command.auth_method_name, "token")
        for text in (str(command), repr(command), repr(login), str(login)):
            self.assertNotIn("secret", text)

    @given(st.integers(1, 20000))
    def test_lengths(self, length: int) -> None:
        """A token of any length is encoded with its length."""
        frame = write(by_token("x" * length).connect())
        size = b""
        while length > 127:
            size += bytes([length & 127 | 128])
            length >>= 7
        self.assertIn(b"\x1a" + size + bytes([length]) + b"x", frame)
        self.assertTrue(frame.endswith(b"x"))

    def test_without(self) -> None:
        """Other logins have the name of their method and no data; the broker behind a Pulsar Proxy is named."""
        self.assertEqual([login.connect().auth_method_name for login in (NO_LOGIN, CERTIFICATE)], ["none", "tls"])
        self.assertFalse(NO_LOGIN.connect().HasField("proxy_to_broker_url"))
        self.assertEqual(NO_LOGIN.connect("b:1").proxy_to_broker_url, "b:1")

    def test_bad_token(self) -> None:
        """An invalid token is refused, and not shown."""
        for text in ("", " \n", "gehe im", "geheim\nzwei", "gehéim"):
            self.assertNotIn("heim", str(self.assertRaises(BadToken, by_token, text)))
