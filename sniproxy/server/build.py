"""Builds resolvers, the route table, endpoints and TLS settings from a checked configuration, without opening any."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

import attrs
from msgspec.structs import replace
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IReactorTime, IStreamServerEndpoint

from sniproxy.config.model import Bridge, Configuration, Route, Termination
from sniproxy.config.schema import ConfigError, ConfigErrors, Faults, shown
from sniproxy.config.warnings import check_header, named_resolvers, written_targets
from sniproxy.interfaces import Target
from sniproxy.net.endpoints import Endpoint
from sniproxy.net.reuseport import SharedEndpoint
from sniproxy.relay.engine import EngineUnavailable
from sniproxy.relay.selector import describe_relay
from sniproxy.resolvers.static import StaticResolver
from sniproxy.routing.health import Health
from sniproxy.routing.patterns import is_expression
from sniproxy.routing.router import LiveRoute, Routing
from sniproxy.routing.table import RouteTable
from sniproxy.server.listeners import ListenerSpec
from sniproxy.server.resolverset import Resolvers
from sniproxy.util.offload import Offload, at_once, finish, in_reactor_thread
from sniproxy.util.reactor import IReactor

# Imported where they are needed: most configurations have neither TLS termination nor a bridge, and start faster.
if TYPE_CHECKING:
    from cryptography import x509

    from sniproxy.bridge.runtime import BridgeRuntime
    from sniproxy.connection.termination import CertificateStore, Terminator
    from sniproxy.tls.pem import Certified
    from sniproxy.tls.reloaded import Reloaded

T = TypeVar("T")

Seconds = Callable[[], float]
"""A clock. Files are checked for changes at most once in an interval."""


@attrs.frozen
class Built:
    """A configuration, and what is built from it.

    @ivar terminators: by the name of a listener that terminates TLS. @ivar bridges: by the name of a bridge.
    @ivar admin: None: there is no admin endpoint.
    @ivar written: the targets whose health is tracked from the start, with the server names for TLS checks.
    @ivar token: that the admin endpoint wants for requests that change something. None: there is none.
    """

    configuration: Configuration
    routing: Routing
    listeners: Sequence[ListenerSpec]
    terminators: Mapping[str, Terminator]
    bridges: Mapping[str, tuple[Bridge, BridgeRuntime]]
    admin: IStreamServerEndpoint | None
    resolvers: Resolvers
    written: Sequence[tuple[Target, str | None]]
    token: bytes | None = attrs.field(default=None, repr=False)


def build(configuration: Configuration, reactor: IReactor, before: Built | None = None) -> Built:
    """Build a configuration. The arguments and errors are those of L{build_beside}."""
    return finish(build_beside(configuration, reactor, at_once, before))


async def build_beside(
    configuration: Configuration, reactor: IReactor, offload: Offload, before: Built | None = None
) -> Built:
    """Build a configuration. Call this in the reactor's thread.

    @param offload: runs what grows with the number of routes; this work uses neither the reactor nor a plugin.
    @param before: the current one. Resolvers and bridges whose tables are unchanged are taken over with their state.
    @raise ConfigError: the configuration is invalid. The message has all errors, each with its line.
    """
    try:
        return await _build(configuration, reactor, offload, before)
    except ConfigError as error:
        if not configuration.text:
            raise
        # Imported here: most configurations have no error, and start faster.
        from sniproxy.config.diagnostics.collecting import located

        raise located(error, configuration.text, configuration.filename) from error


def try_build(configuration: Configuration, reactor: IReactor) -> None:
    """Build a configuration, for its errors only. Any thread may call this. @raise ConfigError: it has errors."""
    in_reactor_thread(reactor, lambda: build(configuration, reactor))


async def _build(configuration: Configuration, reactor: IReactor, offload: Offload, before: Built | None) -> Built:
    resolvers = Resolvers(reactor, None if before is None else before.resolvers)
    admin = configuration.admin
    faults = Faults()
    for table in await offload(lambda: named_resolvers(configuration)):
        with faults:
            resolvers.resolver(table, configuration.filename)
    entrances = []
    for one in configuration.entrances:
        with faults:
            entrances.append(
                ListenerSpec(one, build_entrance(configuration, f"{one.key}.endpoint", one.endpoint, reactor))
            )
    terminators = {}
    for listener in configuration.listeners:
        if listener.termination is not None:
            with faults:
                terminators[listener.name] = build_terminator(configuration, listener.termination, reactor.seconds)
    with faults:
        bridges = build_bridges(configuration, reactor.seconds, {} if before is None else before.bridges)
    with faults:
        admin_endpoint = (
            build_endpoint(configuration, "admin.endpoint", admin.endpoint.text, reactor)
            if admin is not None and admin.instance is None
            else None
        )
    with faults:
        token = build_token(configuration)
    with faults:
        await offload(lambda: try_expressions(configuration))
    with faults:
        check_engine(configuration)
    faults.check()
    return Built(
        configuration,
        # Only static resolvers are still to be made.
        await offload(lambda: build_routing(configuration, reactor, resolvers)),
        entrances,
        terminators,
        bridges,
        admin_endpoint,
        resolvers,
        await offload(lambda: list(written_targets(configuration)) if configuration.health != Health() else []),
        token,
    )


def check_engine(configuration: Configuration) -> None:
    """@raise ConfigError: the configuration asks for the relay engine, which is not installed."""
    try:
        describe_relay(configuration.relay, configuration.relay_threads)
    except EngineUnavailable as error:
        raise relay_error(configuration, error) from error


def relay_error(configuration: Configuration, why: EngineUnavailable) -> ConfigError:
    """The error of a configuration that asks for a relay engine which cannot be used."""
    message = f"{configuration.filename}: relay = {shown(configuration.relay)}: {why}"
    return ConfigError(message, "relay", configuration.relay)


def try_expressions(configuration: Configuration) -> None:
    """Time the regular expressions of routes and policy. @raise ConfigError: one can take too long for a name."""
    patterns = [(f"route[{number}].server_name", one.server_name) for number, one in enumerate(configuration.routes)]
    patterns += [("policy.allow_names", name) for name in configuration.policy.allow_names or ()]
    if not any(is_expression(pattern) for _, pattern in patterns):
        return
    from sniproxy.routing.trial import slow_expressions

    faults = Faults()
    for key, pattern, why in slow_expressions(patterns, time.thread_time):
        with faults:
            message = f"{configuration.filename}: {key} = {shown(pattern)}: it can backtrack too long: {why}"
            raise ConfigError(message, key, pattern)
    faults.check()


def build_token(configuration: Configuration) -> bytes | None:
    """Read the token of the admin endpoint. @return: None: there is none. @raise ConfigError: the file is invalid."""
    path = None if configuration.admin is None else configuration.admin.token_file
    if path is None:
        return None
    from sniproxy.admin.token import BadTokenFile, read_token

    try:
        return read_token(path)
    except BadTokenFile as error:
        raise ConfigError(f"{configuration.filename}: admin.token_file = {shown(path)}: {error}") from error


def build_entrance(
    configuration: Configuration, key: str, endpoint: Endpoint, reactor: IReactor
) -> IStreamServerEndpoint:
    """Make the endpoint of a listener or bridge. @raise ConfigError: as L{build_endpoint}."""
    if endpoint.shared:
        return SharedEndpoint(reactor, endpoint)
    return build_endpoint(configuration, key, endpoint.text, reactor)


def build_endpoint(configuration: Configuration, key: str, text: str, reactor: IReactorTime) -> IStreamServerEndpoint:
    """Make a Twisted endpoint. @raise ConfigError: no installed endpoint type accepts the text."""
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except Exception as error:  # endpoint plugins may raise anything
        why = "a descriptor that systemd did not pass" if isinstance(error, IndexError) else str(error)
        cure = f"Twisted cannot use this endpoint ({why}); write it as in tcp:4443:interface=127.0.0.1"
        raise ConfigError(f"{configuration.filename}: {key} = {shown(text)}: {cure}") from error
    return endpoint


def build_terminator(configuration: Configuration, termination: Termination, seconds: Seconds) -> Terminator:
    """Read the certificates of a listener that terminates TLS. @param seconds: see L{Seconds}.

    @raise ConfigError: they are invalid.
    """
    from sniproxy.connection.termination import CertificateStore, Terminator
    from sniproxy.tls.contexts import BrokerTLS, check_usable
    from sniproxy.tls.pem import BadPem, certified
    from sniproxy.tls.pemfiles import read

    def load() -> CertificateStore:
        found = certified(read(termination.certificates))
        if not found:
            raise BadPem(f"{termination.certificates}: no certificate with its key found")
        check_usable(found)
        return CertificateStore(found, lambda: datetime.now(UTC))

    place = f"{configuration.filename}: {termination.key}"
    faults = Faults()
    with faults:
        certificates = _reloaded(f"{place}.certificates", [termination.certificates], load, seconds)
    with faults:
        trust = build_trust(f"{place}.upstream_trust", termination.trust, termination.certificate, BrokerTLS, seconds)
    faults.check()
    return Terminator(certificates, trust)


def build_trust(
    place: str,
    trust: str,
    certificate: str | None,
    make: Callable[[list[x509.Certificate], Certified | None], T],
    seconds: Seconds,
) -> Reloaded[T]:
    """Make a value from authorities and a certificate, and make it again when the files change.

    @param place: the place in the configuration, for errors. @param trust: a PEM file of authorities.
    @param certificate: a PEM file of a certificate with its key. None: no certificate.
    @param make: makes it. @param seconds: see L{Seconds}.
    @raise ConfigError: the files are invalid.
    """
    from sniproxy.tls.pem import BadPem, certified
    from sniproxy.tls.pemfiles import read, trusted

    def made() -> T:
        return make(trusted(trust), None if certificate is None else own(certificate))

    def own(path: str) -> Certified:
        found = certified(read(path))
        if len(found) != 1:
            raise BadPem(f"{path}: it has {len(found)} certificates with their keys; one is needed")
        return found[0]

    try:
        return _reloaded(place, [trust] + ([] if certificate is None else [certificate]), made, seconds)
    except ConfigError as error:
        if certificate is None:
            raise
        # The other file may have an error, too.
        other = place.removesuffix("trust") + "certificate"
        try:
            _reloaded(other, [certificate], lambda: own(certificate), seconds)
        except ConfigError as second:
            if str(second).removeprefix(other) != str(error).removeprefix(place):
                raise ConfigErrors([error, second]) from error
        raise


def build_bridges(
    configuration: Configuration, seconds: Seconds, before: Mapping[str, tuple[Bridge, BridgeRuntime]]
) -> Mapping[str, tuple[Bridge, BridgeRuntime]]:
    """Make the bridges.

    @param before: the current ones. A bridge whose table is unchanged is taken over with its state.
    @raise ConfigError: a file is invalid.
    """
    if not configuration.bridges:
        return {}
    from sniproxy.bridge.runtime import BridgeRuntime, make_trust

    timeout_s = configuration.timeouts.connect
    made = {}
    faults = Faults()
    for bridge in configuration.bridges:
        old, runtime = before.get(bridge.name, (None, None))
        same = old is not None and replace(old, key=bridge.key, inspect=bridge.inspect) == bridge
        if runtime is None or not same or runtime.timeout_s != timeout_s:
            place = f"{configuration.filename}: {bridge.key}.trust"
            with faults:
                trust = build_trust(place, bridge.trust, bridge.certificate, make_trust, seconds)
                made[bridge.name] = (bridge, BridgeRuntime(bridge, trust, seconds, timeout_s))
        else:
            made[bridge.name] = (bridge, runtime)
    faults.check()
    return made


def _reloaded(place: str, paths: Sequence[str], make: Callable[[], T], seconds: Seconds) -> Reloaded[T]:
    from sniproxy.tls.pem import BadPem
    from sniproxy.tls.reloaded import Reloaded

    try:
        return Reloaded(paths, make, seconds)
    except BadPem as error:
        raise ConfigError(f"{place}: {error}") from error


def build_routing(configuration: Configuration, reactor: IReactorTime, resolvers: Resolvers | None = None) -> Routing:
    """Make the route table with its resolvers.

    @param resolvers: makes or reuses resolvers. None: new ones are made.
    @raise ConfigError: a resolver's table is invalid.
    """
    made = resolvers or Resolvers(reactor)

    def live(route: Route) -> LiveRoute:
        resolver = made.resolver(route.resolver, configuration.filename)
        fixed = resolver.fixed if isinstance(resolver, StaticResolver) else None
        return LiveRoute(
            route.server_name,
            route.listener,
            resolver,
            route.least_connections,
            route.max_connections,
            fixed,
            only_from=route.only_from,
            send_proxy=route.send_proxy,
            check_header=check_header(configuration, route),
            from_client=route.from_client,
        )

    def live_or_none(route: Route | None) -> LiveRoute | None:
        return None if route is None else live(route)

    return Routing(
        RouteTable([live(route) for route in configuration.routes]),
        live_or_none(configuration.default),
        live_or_none(configuration.no_server_name),
        {one.name: live(one.plaintext) for one in configuration.listeners if one.plaintext is not None},
    )
