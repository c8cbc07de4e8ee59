"""The words that resolver plugins are written against.

A resolver answers one question: where does this server name live? The route table has already chosen the resolver to
ask (docs/architecture.md); what it gets is a L{Request}, what it gives is a L{Resolution}.

Twisted has a DNS interface called ``IResolver`` already, hence the longer names here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import attrs
from zope.interface import Attribute, Interface

from sniproxy.names import host_port, server_name


@attrs.frozen
class Request:
    """What is asked of a resolver.

    @ivar server_name: from the ClientHello, normalised: lower case, no trailing dot. None: the hello has none.
    @ivar alpn: the application protocols the client offers, in order; mostly empty with Pulsar.
    @ivar peer: the client's address and port, as in ``192.0.2.7:50123``.
    @ivar listener: the name of the listener that accepted the connection.
    @ivar captures: what the route's star matched, or the groups of its expression; mostly empty.
    @ivar port: the port that the client came to. None: it came to no TCP listener.
    """

    server_name: str | None
    alpn: tuple[str, ...]
    peer: str
    listener: str
    captures: tuple[str, ...] = ()
    port: int | None = None


def _is_host(target: object, attribute: object, host: str) -> None:
    server_name(host)


@attrs.frozen
class Target:
    """One place to dial. Made with something else than its fields say, it raises ValueError or TypeError.

    @ivar host: a host name or an IP address without brackets.
    @ivar port: 1 to 65535.
    @ivar weight: how often this target's turn comes, against the others'. 0: only when all others fail.
    @ivar label: how logs call it; empty: ``host:port``.
    @ivar client_formed: whether what the client sent became part of host or port. If so, the destination policy is
        asked (C{[policy]} in the configuration): else a client could lead the proxy to whatever it can reach.
    """

    host: str = attrs.field(validator=_is_host)
    port: int = attrs.field(
        validator=[attrs.validators.instance_of(int), attrs.validators.ge(1), attrs.validators.le(65535)]
    )
    weight: int = attrs.field(default=1, validator=[attrs.validators.instance_of(int), attrs.validators.ge(0)])
    label: str = ""
    client_formed: bool = False

    def __str__(self) -> str:
        if self.label:
            return self.label
        return host_port(self.host, self.port)


def _as_tuple(targets: Iterable[Target]) -> tuple[Target, ...]:
    return tuple(targets)


@attrs.frozen
class Resolution:
    """A resolver's answer: the targets, dialled in turn, the next one when a connect fails.

    @ivar targets: at least one.
    @ivar ttl: for how many seconds the answer may be used again. 0: only for this connection. None: until the
        configuration changes. This version keeps no answer: it asks for each connection.
    """

    targets: Sequence[Target] = attrs.field(converter=_as_tuple)
    ttl: float | None = None


class Refused(Exception):
    """The resolver knows that this name goes nowhere; the reason is shown to the operator.

    The client gets the alert ``unrecognized_name``. For a fault that may pass (a server that does not answer), raise
    anything else: the client's connection is then closed plainly, and Pulsar clients try again.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class BadOption(Exception):
    """A resolver's option is missing or wrong.

    @ivar key: the option's name.
    @ivar value: what was found; None when the option is missing.
    """

    def __init__(self, key: str, value: object, cure: str) -> None:
        super().__init__(cure)
        self.key = key
        self.value = value
        self.cure = cure


class IServerNameResolver(Interface):
    """Knows where server names live."""

    def resolve(request: Request) -> Resolution | Awaitable[Resolution]:
        """Answer at once, or with a Deferred or another awaitable. It must not block.

        @raise Refused: the name goes nowhere.
        """


class IResolverMaker(Interface):
    """A plugin in ``twisted/plugins``: makes resolvers of one type. It provides ``twisted.plugin.IPlugin``, too."""

    name = Attribute("What ``type = `` says in the configuration, as in ``static``.")
    help = Attribute("One line: where such a resolver knows names from.")

    def make(options: Mapping[str, Any], reactor: Any) -> ServerNameResolver:
        """A resolver, from the keys of its table in the configuration without ``type``. It must not block.

        @raise BadOption: an option is unknown, missing or wrong.
        """


class ServerNameResolver(Protocol):
    """L{IServerNameResolver}, for type checkers."""

    def resolve(self, request: Request) -> Resolution | Awaitable[Resolution]: ...


class ResolverMaker(Protocol):
    """L{IResolverMaker}, for type checkers."""

    name: str
    help: str

    def make(self, options: Mapping[str, Any], reactor: Any) -> ServerNameResolver: ...
