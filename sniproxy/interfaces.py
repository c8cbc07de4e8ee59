"""The words that resolver plugins are written against. Pure.

A resolver answers one question: where does this server name live? The route table has already chosen the resolver to
ask (docs/architecture.md); what it gets is a L{Request}, what it gives is a L{Resolution}.

Twisted has a DNS interface called ``IResolver`` already, hence the longer names here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any

import attrs
from zope.interface import Attribute, Interface

from sniproxy.util.names import host_port, ip_literal, server_name


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


def _is_port(target: object, attribute: object, port: int) -> None:
    # One function for several of attrs' own: a configuration may have very many targets.
    if not isinstance(port, int):
        raise TypeError(f"a port is a number, not {port!r}")
    if not 1 <= port <= 65535:
        raise ValueError(f"a port is a number from 1 to 65535, not {port}")


def _is_weight(target: object, attribute: object, weight: int) -> None:
    if not isinstance(weight, int):
        raise TypeError(f"a weight is a number, not {weight!r}")
    if weight < 0:
        raise ValueError(f"a weight is 0 or more, not {weight}")


def _are_addresses(target: object, attribute: object, addresses: tuple[str, ...]) -> None:
    for address in addresses:
        if ip_literal(address) is None:
            raise ValueError(f"{address!r} is not an IP address")


@attrs.frozen
class Target:
    """One place to dial. Made with something else than its fields say, it raises ValueError or TypeError.

    @ivar host: a host name or an IP address without brackets.
    @ivar port: 1 to 65535.
    @ivar weight: how often this target's turn comes, against the others'. 0: only when all others fail.
    @ivar label: how logs call it; empty: ``host:port``.
    @ivar client_formed: whether what the client sent became part of host or port. If so, the destination policy is
        asked (C{[policy]} in the configuration): else a client could lead the proxy to whatever it can reach.
    @ivar name: the name that the resolver has looked host up by, which C{allow_names} is asked about; empty: host.
    @ivar addresses: IP addresses that the resolver has already found for host. The dialer dials these by happy
        eyeballs (RFC 8305) and looks nothing up; the destination policy judges each. Empty: the dialer looks host up.
    """

    host: str = attrs.field(validator=_is_host)
    port: int = attrs.field(validator=_is_port)
    weight: int = attrs.field(default=1, validator=_is_weight)
    label: str = ""
    client_formed: bool = False
    name: str = ""
    addresses: tuple[str, ...] = attrs.field(default=(), validator=_are_addresses)

    def __str__(self) -> str:
        if self.label:
            return self.label
        return host_port(self.host, self.port)


def _as_tuple(targets: Iterable[Target]) -> tuple[Target, ...]:
    return tuple(targets)


@attrs.frozen
class Resolution:
    """A resolver's answer: the targets, dialled in turn, the next one when a connect fails.

    An answer is used again for other clients that come with the same server name to the same listener and port. One
    that depends on the client's address or its ALPN must say so by a C{ttl} of 0.

    @ivar targets: at least one.
    @ivar ttl: for how many seconds the answer may be used again. 0: only for this connection. None: until the
        configuration changes, or a watching resolver says that something has changed.
    """

    targets: Sequence[Target] = attrs.field(converter=_as_tuple)
    ttl: float | None = None


class Refused(Exception):
    """The resolver knows that this name goes nowhere; the reason is shown to the operator.

    The client gets the alert ``unrecognized_name``. For a fault that may pass, raise L{Unavailable}.

    @ivar ttl: for how many seconds it may be used again, as in L{Resolution}; 0 where it depends on the client.
    """

    def __init__(self, reason: str, ttl: float = 5.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.ttl = ttl


class Unavailable(Exception):
    """The resolver cannot know now, which may pass: a server is silent, or answers nonsense.

    The client's connection is closed plainly, and Pulsar clients try again. Anything else that a resolver raises means
    the same, and comes with a traceback in the program's log.

    @ivar local: this process had no place or descriptor for the question, which says nothing about the server or the
        name: the circuit breaker does not count it, and the next client's question is asked.
    """

    local = False


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


@attrs.frozen
class WatchState:
    """What a watching resolver says of itself.

    @ivar summary: what it knows now, in a few words, as in ``3 brokers``.
    @ivar error: why its last look failed; None: it did not.
    """

    summary: str
    error: str | None = None


class IWatchingResolver(IServerNameResolver):
    """A resolver that goes on looking while the proxy runs, and answers from what it has seen."""

    def start(changed: Callable[[], None]) -> None:
        """Begin to look. It is called once, before the first question.

        @param changed: to be called when earlier answers may no longer be true; the proxy then forgets them.
        """

    def stop() -> Awaitable[None] | None:
        """End it, for ever: nothing is open, and no timer runs, when it has come to its end. It is called once.

        A resolver that was not started is not stopped: making it opens nothing that must be closed.
        """

    def state() -> WatchState:
        """What it knows now, for people. It must not block."""


class Kind(StrEnum):
    """What a value in the configuration may be; the texts are for people."""

    TEXT = "text"
    TEXTS = "text or list of texts"
    INTEGER = "whole number"
    NUMBER = "number"
    FLAG = "true or false"
    PATH = "path"


NEEDED = object()
"""The default of an option that must be written."""


@attrs.frozen
class Option:
    """One key of a resolver's table, as its maker describes it: for ``--help-resolver``, and for checking.

    @ivar kind: a value of another kind is refused before the resolver is made. L{Kind.TEXTS} comes as a list always,
        a L{Kind.PATH} starts from the folder of the configuration file, and a L{Kind.NUMBER} is a float.
    @ivar help: one line.
    @ivar default: what the resolver gets when the key is not there. None: it gets None. L{NEEDED}: it must be there.
    """

    name: str
    kind: Kind
    help: str
    default: Any = NEEDED


class IResolverMaker(Interface):
    """A plugin in ``twisted/plugins``: makes resolvers of one type. It provides ``twisted.plugin.IPlugin``, too."""

    name = Attribute("What ``type = `` says in the configuration, as in ``static``.")
    help = Attribute("One line: where such a resolver knows names from.")

    def make(options: Mapping[str, Any], reactor: Any) -> IServerNameResolver:
        """A resolver, from the keys of its table in the configuration without ``type``. It must not block.

        @raise BadOption: an option is unknown, missing or wrong.
        """


class IDescribedResolverMaker(IResolverMaker):
    """A maker that says what it takes and needs. One that does not gets its table as it is, and checks it itself."""

    options = Attribute("A sequence of L{Option}: all keys of its table. None: it describes none.")
    extra = Attribute("What pip installs when C{needs} is not there, as in ``sniproxy[zookeeper]``; empty: nothing.")
    needs = Attribute("The names of modules beyond its package's own, without which none can be made; mostly empty.")


async def come(answer: Awaitable[object]) -> object:
    """A resolver's answer that comes later; its type is a promise that is checked by who asks."""
    return await answer


async def ask(resolver: IServerNameResolver, request: Request) -> object:
    """A resolver's answer, as L{come}, whether it comes at once or later."""
    answer = resolver.resolve(request)
    return await answer if isinstance(answer, Awaitable) else answer
