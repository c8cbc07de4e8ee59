"""Tests for sniproxy.admin.token."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.token import BadTokenFile, read_token
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.server.build import build_token
from tests.admin.token import TOKEN, admin_with_token, token_file
from tests.support.proxies import LISTENER


class TokenTests(SynchronousTestCase):
    """The file with the token."""

    def test_good(self) -> None:
        """One line, readable by the owner, and possibly by the group."""
        for mode in (0o600, 0o640, 0o400):
            self.assertEqual(TOKEN.encode(), read_token(str(token_file(self, f" {TOKEN}\r\n", mode))))

    def test_bad(self) -> None:
        """A missing or world-readable file, and a short, long or non-ASCII token, are errors without the token."""
        for text, mode, said in (
            (TOKEN, 0o644, "chmod 600"),
            (TOKEN, 0o602, "chmod 600"),
            ("", 0o600, "shorter than 16"),
            ("a-secret-one", 0o600, "shorter than 16"),
            ("two words of a long text", 0o600, "without spaces"),
            ("\xe9" * 30, 0o600, "printable ASCII"),
            ("x" * 5000, 0o600, "one line"),
        ):
            error = str(self.assertRaises(BadTokenFile, read_token, str(token_file(self, text, mode))))
            self.assertIn(said, error)
            self.assertNotIn(text or TOKEN, error)
        self.assertIn("No such file", str(self.assertRaises(BadTokenFile, read_token, "/nonexistent")))

    def test_configuration(self) -> None:
        """A configuration with an unusable token is an error that names the key; without the key there is no token."""
        good = parse(LISTENER + admin_with_token(token_file(self)), "x.toml")
        self.assertEqual(TOKEN.encode(), build_token(good))
        bad = parse(LISTENER + admin_with_token(token_file(self, mode=0o644)), "x.toml")
        error = self.assertRaises(ConfigError, build_token, bad)
        self.assertIn("x.toml: admin.token_file = ", str(error))
        self.assertIsNone(build_token(parse(LISTENER, "x.toml")))
