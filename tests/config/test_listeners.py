"""Tests for sniproxy.config.listeners; tests.config.test_parser has more, with whole files."""

from __future__ import annotations

from sniproxy.config.parser import parse
from tests.support import configerrors
from tests.support.configerrors import LISTENER


class MakeListenerTests(configerrors.ErrorCase):
    """make_listener: the mode of a listener."""

    def test_kinds(self) -> None:
        """TLS passes through, unless plaintext or certificates are set."""
        (plain,) = parse(LISTENER, "f.toml").listeners
        self.assertEqual((None, None), (plain.plaintext, plain.termination))
        (ended,) = parse(f'{LISTENER}certificates = "c"\nupstream_trust = "t"', "f.toml").listeners
        self.assertIsNotNone(ended.termination)

    def test_both(self) -> None:
        """A plaintext listener cannot terminate TLS."""
        self.refused('plaintext = true\ntarget = "b"\ncertificates = "c"\nupstream_trust = "t"', "terminates no TLS")
