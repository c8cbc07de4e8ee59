"""Tests for sniproxy.config.relay."""

from __future__ import annotations

from sniproxy.config.describe import warnings
from sniproxy.config.parser import parse
from tests.support import configerrors
from tests.support.configerrors import LISTENER


class RelayTests(configerrors.ErrorCase):
    """The keys relay and relay_threads."""

    def test_values(self) -> None:
        """Auto with one thread is the default."""
        found = parse(LISTENER, "f.toml")
        self.assertEqual(("auto", 1), (found.relay, found.relay_threads))
        found = parse(f'relay = "engine"\nrelay_threads = 64\n{LISTENER}', "f.toml")
        self.assertEqual(("engine", 64), (found.relay, found.relay_threads))
        self.assertEqual("python", parse(f'relay = "python"\n{LISTENER}', "f.toml").relay)

    def test_wrong(self) -> None:
        """An error lists the values."""
        self.refused_file('relay = "splice"\n' + LISTENER, 'relay = "splice"', 'write "auto", "engine" or "python"')
        for threads in (0, 65, -1):
            text = f"relay_threads = {threads}\n{LISTENER}"
            self.refused_file(text, f"relay_threads = {threads}", "from 1 to 64")

    def test_kernel(self) -> None:
        """The former value names its successor."""
        self.refused_file('relay = "kernel"\n' + LISTENER, 'relay = "kernel"', 'write "engine"')

    def test_without_effect(self) -> None:
        """Threads for the relay in Python are a warning."""
        for relay, expected in (("python", 1), ("auto", 0), ("engine", 0)):
            text = f'relay = "{relay}"\nrelay_threads = 2\n{LISTENER}'
            found = [one for one in warnings(parse(text, "f.toml"), 100_000) if "relay_threads" in one]
            self.assertEqual(expected, len(found), relay)
        self.assertFalse(
            [one for one in warnings(parse('relay = "python"\n' + LISTENER, "f.toml"), 9_999) if "relay" in one]
        )
