"""The interfaces of resolver plugins. Pure.

A resolver maps a server name to targets: it gets a L{Request} and returns a L{Resolution}. The route table has chosen
the resolver before (docs/architecture.md).

The names are long because Twisted has a DNS interface called ``IResolver``.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import attrs
from zope.interface import Attribute, Interface

from sniproxy.util.names import host_port, ip_literal, server_name

if TYPE_CHECKING:
    from sniproxy.util.reactor import IReactor


@attrs.frozen
class Request:
    """A resolver's question.

    @ivar server_name: from the ClientHello, normalised: lower case, no trailing dot. None: the hello has none.
    @ivar alpn: the application protocols that the client offers, in order. Pulsar clients usually offer none.
    @ivar peer: the client's address and port, as in ``192.0.2.7:50123``.
    @ivar listener: the name of the listener that accepted the connection.
    @ivar captures: what the route's wildcard matched, or the groups of its expression; often empty.
    @ivar port: the port of the listener. None: it is not a TCP listener.
    @ivar proxy_tlvs: the optional fields of a believed PROXY protocol header, by name; often empty.
    @ivar proxy_protocol_port: the destination port that a believed PROXY protocol header names, 0 to 65535. None: there
        is no header, or it has no addresses.
    """

    server_name: str | None
    alpn: tuple[str, ...]
    peer: str
    listener: str
    captures: tuple[str, ...] = ()
    port: int | None = None
    proxy_tlvs: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    proxy_protocol_port: int | None = None

    @property
    def client(self) -> str:
        """The client's address and port, as a believed PROXY protocol header says, or of the connection itself."""
        return self.peer


def _is_host(target: object, attribute: object, host: str) -> None:
    server_name(host)


def _is_port(target: object, attribute: object, port: int) -> None:
    # One function is faster than several attrs validators: a configuration may have 10,000 targets.
    if not isinstance(port, int):
        raise TypeError(f"a port must be an integer, not {port!r}")
    if not 1 <= port <= 65535:
        raise ValueError(f"a port must be from 1 to 65535, not {port}")


def _is_weight(target: object, attribute: object, weight: int) -> None:
    if not isinstance(weight, int):
        raise TypeError(f"a weight must be an integer, not {weight!r}")
    if weight < 0:
        raise ValueError(f"a weight must be 0 or more, not {weight}")


def _are_addresses(target: object, attribute: object, addresses: tuple[str, ...]) -> None:
    for address in addresses:
        if ip_literal(address) is None:
            raise ValueError(f"{address!r} is not an IP address")


@attrs.frozen
class Target:
    """One address to dial. The constructor raises ValueError or TypeError for a bad field.

    @ivar host: a host name or an IP address without brackets.
    @ivar port: 1 to 65535.
    @ivar weight: this target's share of connections, relative to the other targets. 0: dialled only when all other
        targets fail.
    @ivar label: its name in logs. Empty: ``host:port``.
    @ivar client_formed: whether bytes from the client became part of host or port. If so, the destination policy
        (C{[policy]} in the configuration) applies: otherwise a client could reach any host that the proxy can reach.
    @ivar name: the name that the resolver looked up to find host; C{allow_names} applies to it. Empty: host.
    @ivar addresses: IP addresses that the resolver has found for host. The dialer dials these by happy eyeballs (RFC
        8305) without a lookup; the destination policy checks each. Empty: the dialer looks host up.
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
    """A resolver's answer: the targets. The proxy dials them round robin, and the next one when a connect fails.

    The proxy caches an answer for clients with the same server name on the same listener, port and
    C{proxy_protocol_port}. An answer that depends on the client's address or ALPN must have a C{ttl} of 0.

    @ivar targets: at least one.
    @ivar ttl: seconds for which the answer may be cached. 0: not cached. None: cached until the configuration changes,
        or a watching resolver reports a change.
    """

    targets: Sequence[Target] = attrs.field(converter=_as_tuple)
    ttl: float | None = None


class Refused(Exception):
    """The name has no target. The proxy logs the reason and sends the client the alert ``unrecognized_name``.

    For a temporary failure, raise L{Unavailable}.

    @ivar ttl: seconds for which the refusal may be cached, as in L{Resolution}. 0 if it depends on the client.
    """

    def __init__(self, reason: str, ttl: float = 5.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.ttl = ttl


class Unavailable(Exception):
    """There is no answer now: a server does not answer, its answer is invalid, or it says that the target is away.

    The proxy closes the client's connection without an alert, and Pulsar clients retry. Any other exception of a
    resolver has the same effect, and a traceback in the program's log.

    @param authoritative: sets the attribute.
    @ivar local: this process lacked memory or a descriptor for the query. The circuit breaker ignores such a failure,
        and the next client's query is sent.
    @ivar authoritative: no failure: the source answered, or the resolver's own data say, that the name has no target
        now, but may have one soon. The proxy drops the name's cached answer instead of serving it as a stale one, the
        circuit breaker counts an answer, and the next client's query is sent.
    """

    local = False
    authoritative = False

    def __init__(self, *arguments: object, authoritative: bool = False) -> None:
        super().__init__(*arguments)
        if authoritative:
            self.authoritative = True


class BadValue(Exception):
    """A value of the configuration is missing or wrong. The message is the cure.

    @ivar key: the key, without its table.
    @ivar value: the value found. None: it is missing.
    """

    def __init__(self, key: str, value: object, cure: str) -> None:
        super().__init__(cure)
        self.key = key
        self.value = value
        self.cure = cure


class BadOption(BadValue):
    """A resolver's option is missing or wrong."""


class IServerNameResolver(Interface):
    """Maps server names to targets."""

    def resolve(request: Request) -> Resolution | Awaitable[Resolution]:
        """Return the answer, or a Deferred or other awaitable of it. It must not block.

        @raise Refused: the name has no target.
        @raise Unavailable: there is no answer now.
        """


@attrs.frozen
class WatchState:
    """The state of a watching resolver.

    @ivar summary: what it has, in a few words, as in ``3 brokers``.
    @ivar error: why its last update failed. None: it succeeded.
    @ivar names: what each name is that it has read, as in ``one.internal:8080, listener external``. Empty: it does not
        say.
    """

    summary: str
    error: str | None = None
    names: Mapping[str, str] = attrs.field(factory=dict, eq=False)


class IWatchingResolver(IServerNameResolver):
    """A resolver that watches its source while the proxy runs, and answers from what it has read."""

    def start(changed: Callable[[], None]) -> None:
        """Start watching. The proxy calls this once, before the first query.

        @param changed: the resolver calls this when earlier answers may be out of date; the proxy then discards them.
        """

    def stop() -> Awaitable[None] | None:
        """Close all sockets and files and cancel all timers. The proxy calls this once.

        The proxy does not stop a resolver that it has not started, so making one must open nothing.

        @return: an awaitable that ends when all is closed. None: all is closed now.
        """

    def state() -> WatchState:
        """The current state, for operators. It must not block."""


class IWritingResolver(IWatchingResolver):
    """A watching resolver that also writes to its source, such as the status of what it has read."""

    def start_reading(changed: Callable[[], None]) -> None:
        """Start as by C{start}, but write nothing: C{sniproxyctl explain} must not change what it explains."""


class Kind(StrEnum):
    """The type of a value in the configuration. The texts appear in messages."""

    TEXT = "text"
    TEXTS = "text or list of texts"
    INTEGER = "whole number"
    NUMBER = "number"
    FLAG = "true or false"
    PATH = "path"


NEEDED = object()
"""The default of a required option."""


@attrs.frozen
class Option:
    """One key of a resolver's table, for ``--help-resolver`` and for checks.

    @ivar kind: the proxy rejects a value of another kind. The resolver gets L{Kind.TEXTS} as a list, L{Kind.PATH}
        relative to the configuration file's folder, and L{Kind.NUMBER} as a float.
    @ivar help: one line.
    @ivar default: the value when the key is absent. L{NEEDED}: the key is required.
    """

    name: str
    kind: Kind
    help: str
    default: Any = NEEDED


class IResolverMaker(Interface):
    """A plugin in ``twisted/plugins`` that makes resolvers of one type. It also provides ``twisted.plugin.IPlugin``."""

    name = Attribute("The value of ``type = `` in the configuration, as in ``static``.")
    help = Attribute("One line: the source of the resolver's answers.")

    def make(options: Mapping[str, Any], reactor: IReactor) -> IServerNameResolver:
        """Make a resolver. It must not block.

        @param options: the keys of its table in the configuration, without ``type``.

        @raise BadOption: an option is unknown, missing or wrong.
        """


class IDescribedResolverMaker(IResolverMaker):
    """A maker that describes its options. A maker that does not gets its table unchecked."""

    options = Attribute("A sequence of L{Option}: all keys of its table. None: no description.")
    extra = Attribute("What pip installs to provide C{needs}, as in ``sniproxy[zookeeper]``; or empty.")
    needs = Attribute("The names of third-party modules that the resolver imports; often empty.")


def start_watching(resolver: IWatchingResolver, changed: Callable[[], None], read_only: bool) -> None:
    """Start a watching resolver. @param read_only: it must not write to its source."""
    if read_only and IWritingResolver.providedBy(resolver):
        writing: IWritingResolver = resolver
        writing.start_reading(changed)
    else:
        resolver.start(changed)


async def as_coroutine(answer: Awaitable[object]) -> object:
    """Await a resolver's answer. The caller checks its type."""
    return await answer


async def ask(resolver: IServerNameResolver, request: Request) -> object:
    """Query a resolver, and await its answer if needed. The caller checks the answer's type."""
    answer = resolver.resolve(request)
    return await answer if isinstance(answer, Awaitable) else answer


ServerNameResolver = IServerNameResolver
WatchingResolver = IWatchingResolver
ResolverMaker = IResolverMaker
"""Deprecated: earlier names of the interfaces, for type checkers without mypy-zope's plugin."""
