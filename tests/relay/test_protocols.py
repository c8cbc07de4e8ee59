"""Tests for sniproxy.relay.protocols."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.relay.engine import EngineRelay
from sniproxy.relay.protocols import Owner, Tunnel
from sniproxy.relay.relay import Relay


def names(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if not name.startswith("_")}


class ProtocolTests(SynchronousTestCase):
    """Both relays are tunnels, and a connection is an owner; mypy checks the types."""

    def test_names(self) -> None:
        """They have all names of the protocols."""
        tunnels: list[type[Tunnel]] = [EngineRelay, Relay]
        owner: type[Owner] = Lifecycle
        for kind in tunnels:
            self.assertEqual(set(), names(Tunnel) - set(dir(kind)))
        self.assertEqual(set(), names(Owner) - set(dir(owner)))
