"""Tests for sniproxy.config.model."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.model import AdminSettings, Configuration, Listener
from sniproxy.config.schema import Timeouts
from sniproxy.net.endpoints import parse_endpoint


class SettingsTests(SynchronousTestCase):
    """Values of a configuration."""

    def test_least(self) -> None:
        """The defaults: TLS passes through, no inspection, no admin endpoint."""
        listener = Listener("public", parse_endpoint("tcp:4443"), "listener[0]")
        self.assertEqual((None, None, False), (listener.plaintext, listener.termination, listener.inspect))
        configuration = Configuration("f.toml", (listener,), (), None, None, Timeouts(), None)
        self.assertEqual((None, None), (configuration.admin, configuration.inspect_log))

    def test_supervisor_address(self) -> None:
        """A worker knows where the supervisor listens, unless the system chooses the port, or it is no port."""
        for text, instance, expected in (
            ("tcp:9090:interface=127.0.0.1", 0, ("127.0.0.1", 9090)),
            ("tcp:9090:interface=127.0.0.1", None, None),
            ("tcp:0", 0, None),
            ("unix:/run/admin", 0, None),
        ):
            self.assertEqual(expected, AdminSettings(parse_endpoint(text), (), instance).supervisor_address, text)
