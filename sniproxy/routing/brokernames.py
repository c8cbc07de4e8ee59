"""The names of one broker, for resolvers that know them. Pure.

An answer to a client of one advertised listener has only that listener's URL (PIP-95). Clients of another listener dial
another name of the same broker.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from zope.interface import Interface


@attrs.frozen
class BrokerName:
    """One host that a broker advertises.

    @ivar host: normalised. @ivar listener: the advertised listener that has it. Empty: the broker's own address.
    @ivar tls: whether the listener has a C{pulsar+ssl://} URL with this host.
    """

    host: str
    listener: str
    tls: bool


class IBrokerDirectory(Interface):
    """What a resolver that knows a cluster's brokers provides beside L{IServerNameResolver}."""

    def names_of(host: str, port: int) -> Sequence[BrokerName]:
        """All names of the broker that advertises this host and port in any of its URLs.

        Those of the listener that clients of the proxy use come first. Empty: the resolver knows no such broker, or two
        brokers claim the address. It answers from what it knows, and raises nothing.
        """
