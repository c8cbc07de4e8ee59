"""The configuration: TOML text in, a checked L{Configuration} out. Pure; docs/configuration.md is its manual.

Every error names the file, the key, the value and the cure, and nothing is taken from a file that has one.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

import attrs

from sniproxy.endpoints import BadEndpoint, Endpoint, parse_endpoint
from sniproxy.names import BadName
from sniproxy.policy import BadPolicy, Policy, make_policy
from sniproxy.routing.patterns import capture_count, route_pattern
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import parse_template
from sniproxy.schema import ConfigError, GoalTable, ListenerTable, PolicyTable, RouteTable, Timeouts, convert, shown
from sniproxy.settings import (
    DEADLINE,
    DEFAULT,
    NO_SERVER_NAME,
    PLAINTEXT,
    STALE,
    Admin,
    Configuration,
    InspectLog,
    Listener,
    ResolverTable,
    Route,
    Termination,
)

PULSAR = "pulsar"
COMMAND_LINE = "command line"
"""The filename of a configuration that came as options."""

_OPTIONS = {"listener": "--listen", "route": "--route", "access_log.path": "--access-log"}
_NO_PATH = "write a file's path, or '-' for standard output"


def parse(text: str, filename: str, access_log: str | None = None) -> Configuration:
    """Read a configuration file's text.

    @param filename: its path: for messages, and the folder that relative paths in it start from.
    @param access_log: when given, in place of the file's.
    @raise ConfigError: it cannot be used.
    """
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also for a number or a nesting without end
        raise ConfigError(f"{filename}: this is not TOML: {error}") from error
    configuration = _checked(data, filename)
    if access_log == "":
        raise ConfigError(f'--access-log = "": {_NO_PATH}')
    return configuration if access_log is None else attrs.evolve(configuration, access_log=access_log)


def from_options(listen: Sequence[str], routes: Sequence[str], access_log: str | None) -> Configuration:
    """A configuration from the command line's ``--listen``, ``--route`` and ``--access-log``.

    @raise ConfigError: an option cannot be used.
    """
    tables = []
    for route in routes:
        name, equals, targets = route.partition("=")
        if not equals:
            cure = "write NAME=HOST:PORT, as in broker-1.example.com=10.0.0.7:6651"
            raise ConfigError(f"{COMMAND_LINE}: --route = {shown(route)}: {cure}")
        tables.append({"server_name": name, "target": [text for text in targets.split(",") if text.strip()]})
    data: dict[str, Any] = {"listener": [{"endpoint": text} for text in listen], "route": tables}
    if access_log is not None:
        data["access_log"] = {"path": access_log}
    return _checked(data, COMMAND_LINE)


def _checked(data: dict[str, Any], filename: str) -> Configuration:
    file = convert(data, filename)
    check = _Check(filename)
    resolvers = check.resolvers(file.resolver)
    listeners = check.listeners(file.listener, resolvers)
    routes = check.routes(file.route, {listener.name for listener in listeners}, resolvers)
    access_log = check.path("access_log.path", file.access_log.path) if file.access_log else None
    inspect_log = None
    if file.inspect_log:
        inspect_log = InspectLog(check.path("inspect_log.path", file.inspect_log.path), file.inspect_log.reveal)
    return Configuration(
        filename,
        listeners,
        routes,
        check.goal(file.default, DEFAULT, resolvers),
        check.goal(file.no_server_name, NO_SERVER_NAME, resolvers),
        check.timeouts(file.timeouts),
        access_log,
        inspect_log,
        Admin(check.endpoint("admin.endpoint", file.admin.endpoint), tuple(file.admin.hosts)) if file.admin else None,
        check.policy(file.policy),
        file.reload.on_change,
    )


@attrs.frozen
class _Check:
    """The checks that types cannot make."""

    filename: str

    def error(self, key: str, value: object, cure: str) -> ConfigError:
        if self.filename == COMMAND_LINE:
            key = _OPTIONS[key.partition("[")[0]]
        return ConfigError(f"{self.filename}: {key} = {shown(value)}: {cure}")

    def path(self, key: str, path: str) -> str:
        """The path of a log; in a file it starts from the file's folder."""
        if not path or "\0" in path:
            raise self.error(key, path, _NO_PATH)
        return path if path == "-" or self.filename == COMMAND_LINE else str(PurePath(self.filename).parent / path)

    def endpoint(self, key: str, text: str) -> Endpoint:
        """An endpoint that plain connections come in by."""
        try:
            return parse_endpoint(text)
        except BadEndpoint as error:
            raise self.error(key, text, str(error)) from error

    def listeners(
        self, tables: Sequence[ListenerTable], resolvers: Mapping[str, ResolverTable]
    ) -> tuple[Listener, ...]:
        if not tables:
            cure = 'write [[listener]] with endpoint = "tcp:4443" (on the command line: --listen tcp:4443)'
            raise ConfigError(f"{self.filename}: listener: there is none; {cure}")
        listeners: dict[str, Listener] = {}
        bound: set[tuple[str | None, int | None]] = set()
        for number, table in enumerate(tables):
            key = f"listener[{number}].endpoint"
            endpoint = self.endpoint(key, table.endpoint)
            name = table.endpoint if table.name is None else table.name
            if not name.strip() or not name.isprintable():
                raise self.error(f"listener[{number}].name", name, "give it a printable name, or leave the key out")
            if name in listeners:
                raise self.error(f"listener[{number}].name", name, "another listener has this name; give each its own")
            if endpoint.port and (endpoint.host, endpoint.port) in bound:
                raise self.error(key, table.endpoint, "another listener has this address; each needs its own")
            bound.add((endpoint.host, endpoint.port))
            listeners[name] = self.listener(f"listener[{number}]", Listener(name, endpoint), table, resolvers)
        return tuple(listeners.values())

    def listener(
        self, key: str, listener: Listener, table: ListenerTable, resolvers: Mapping[str, ResolverTable]
    ) -> Listener:
        """A listener with what its connections are: plaintext, TLS that ends here, or TLS that passes through."""
        if table.inspect not in (None, PULSAR):
            raise self.error(f"{key}.inspect", table.inspect, 'there is one inspector: "pulsar"')
        inspect = table.inspect is not None
        termination = self.termination(key, table)
        if table.plaintext:
            if termination is not None:
                cure = "a plaintext listener has no TLS to end; leave out one of plaintext and certificates"
                raise self.error(f"{key}.certificates", table.certificates, cure)
            route = Route(PLAINTEXT, table.name, self.resolver(key, table.target, table.resolver, resolvers))
            return attrs.evolve(listener, plaintext=route, inspect=inspect)
        for name, value in (("target", table.target), ("resolver", table.resolver)):
            if value is not None:
                cure = "a TLS listener leads where the routes say; write [[route]], or plaintext = true for a test"
                raise self.error(f"{key}.{name}", value, cure)
        if inspect and termination is None:
            cure = (
                "what passes is TLS from end to end and cannot be read; certificates and upstream_trust end it here, "
                "plaintext = true makes a plaintext listener"
            )
            raise self.error(f"{key}.inspect", table.inspect, cure)
        return attrs.evolve(listener, termination=termination, inspect=inspect)

    def termination(self, key: str, table: ListenerTable) -> Termination | None:
        """How TLS ends at a listener, if it does; paths start from the file's folder."""
        given = {
            name: value
            for name in ("certificates", "upstream_trust", "upstream_certificate")
            if (value := getattr(table, name)) is not None
        }
        if not given:
            return None
        for name, cure in (
            ("certificates", "name the PEM files that clients are shown, or their folder"),
            ("upstream_trust", "name the PEM file of the authority that signs the brokers' certificates"),
        ):
            if name not in given:
                others = " and ".join(given)
                raise ConfigError(f"{self.filename}: {key}.{name}: it is missing, beside {others}; {cure}")
        for name, value in given.items():
            if not value or "\0" in value:
                raise self.error(f"{key}.{name}", value, "write the path of a PEM file")
        paths = {name: str(PurePath(self.filename).parent / value) for name, value in given.items()}
        return Termination(paths["certificates"], paths["upstream_trust"], paths.get("upstream_certificate"), key)

    def resolvers(self, tables: Mapping[str, Mapping[str, Any]]) -> dict[str, ResolverTable]:
        found = {}
        for name, table in tables.items():
            kind = table.get("type")
            if not isinstance(kind, str):
                raise self.error(f"resolver.{name}.type", kind, 'name the resolver\'s type, as in type = "static"')
            options = {key: value for key, value in table.items() if key not in ("type", "deadline", "stale")}
            deadline, stale = table.get("deadline", DEADLINE), table.get("stale", STALE)
            for key, value, least in (("deadline", deadline, "more than 0"), ("stale", stale, "0 or more")):
                is_number = isinstance(value, int | float) and not isinstance(value, bool)
                if not (is_number and (0 < value <= 1e9 or (value == 0 and key == "stale"))):
                    raise self.error(f"resolver.{name}.{key}", value, f"it is a number of seconds, {least}")
            found[name] = ResolverTable(kind, options, f"resolver.{name}", name, float(deadline), float(stale))
        return found

    def routes(
        self, tables: Sequence[RouteTable], listeners: Iterable[str], resolvers: Mapping[str, ResolverTable]
    ) -> tuple[Route, ...]:
        routes: dict[tuple[str, str | None], Route] = {}
        for number, table in enumerate(tables):
            key = f"route[{number}]"
            try:
                name = route_pattern(table.server_name)
            except BadName as error:
                raise self.error(f"{key}.server_name", table.server_name, str(error)) from error
            if table.listener is not None and table.listener not in listeners:
                known = ", ".join(sorted(listeners))
                raise self.error(f"{key}.listener", table.listener, f"no listener has this name; there are: {known}")
            if (name, table.listener) in routes:
                raise self.error(
                    f"{key}.server_name",
                    table.server_name,
                    "another route has this name already; put all its targets into one list",
                )
            resolver = self.resolver(key, table.target, table.resolver, resolvers, capture_count(name), True)
            routes[name, table.listener] = Route(name, table.listener, resolver)
        return tuple(routes.values())

    def goal(self, table: GoalTable | None, name: str, resolvers: Mapping[str, ResolverTable]) -> Route | None:
        if table is None:
            return None
        named = name != NO_SERVER_NAME
        return Route(name, None, self.resolver(name, table.target, table.resolver, resolvers, 0, named))

    def resolver(
        self,
        key: str,
        target: str | list[str] | None,
        resolver: str | list[str] | None,
        resolvers: Mapping[str, ResolverTable],
        captures: int = 0,
        named: bool = False,
    ) -> ResolverTable:
        """@param captures: how many parts of a name the route takes out. @param named: whether there is a name."""
        if (target is None) == (resolver is None):
            both = "it has both" if target is not None else "it has neither"
            raise ConfigError(f'{self.filename}: {key}: {both}; write either target = "host:port" or resolver = "NAME"')
        if resolver is not None:
            return self.resolver_or_list(f"{key}.resolver", resolver, resolvers)
        targets = [target] if isinstance(target, str) else list(target or ())
        if not targets:
            raise self.error(f"{key}.target", targets, 'name at least one target, as in "10.0.0.7:6651"')
        for text in targets:
            try:
                why_not = parse_template(text).why_not(captures, named)
            except BadTarget as error:
                raise self.error(f"{key}.target", text, str(error)) from error
            if why_not is not None:
                raise self.error(f"{key}.target", text, why_not)
        return ResolverTable("static", {"target": targets}, key)

    def resolver_or_list(
        self, key: str, names: str | list[str], resolvers: Mapping[str, ResolverTable]
    ) -> ResolverTable:
        """The resolver of this name, or those of these names, in order."""
        found = []
        for name in [names] if isinstance(names, str) else names:
            if name not in resolvers:
                raise self.error(key, name, f"there is no table [resolver.{name}]")
            if resolvers[name] in found:
                raise self.error(key, names, f"{name} is there twice; once is enough")
            found.append(resolvers[name])
        if not found:
            raise self.error(key, names, "name at least one resolver")
        if isinstance(names, str) or len(found) == 1:
            return found[0]
        return ResolverTable("", {}, ", then ".join(table.key for table in found), inner=tuple(found))

    def policy(self, table: PolicyTable) -> Policy:
        try:
            return make_policy(table.allow_cidrs, table.allow_ports, table.allow_names)
        except BadPolicy as error:
            raise self.error(f"policy.{error.key}", error.value, str(error)) from error

    def timeouts(self, timeouts: Timeouts) -> Timeouts:
        for key in Timeouts.__struct_fields__:
            value = getattr(timeouts, key)
            least_allowed = "0 or more" if key in ("idle", "drain") else "more than 0"
            if not (0 < value <= 1e7 or (value == 0 and key in ("idle", "drain"))):
                raise self.error(f"timeouts.{key}", value, f"it is a number of seconds, {least_allowed}")
        return timeouts
