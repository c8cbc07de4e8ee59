"""The configuration: TOML text in, a checked L{Configuration} out. Pure; docs/configuration.md is its manual.

Every error names the file, the key, the value and the cure, and nothing is taken from a file that has one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any, TypeVar

import attrs
import tomli
from msgspec.structs import replace

from sniproxy.config.health import BadHealth, make_health, takes_least
from sniproxy.config.inspectlog import BadInspectLog, make_inspect_log
from sniproxy.config.limits import BadLimit, at_most, make_limits
from sniproxy.config.listeners import make_listener
from sniproxy.config.model import (
    DEFAULT,
    NO_SERVER_NAME,
    Admin,
    Bridge,
    Configuration,
    Listener,
    ResolverTable,
    Route,
)
from sniproxy.config.resolvers import in_order, resolver_tables
from sniproxy.config.schema import (
    AdminTable,
    BridgeTable,
    ConfigError,
    Faults,
    File,
    GoalTable,
    ListenerTable,
    RouteTable,
    Timeouts,
    convert,
    shown,
)
from sniproxy.config.workers import with_workers
from sniproxy.net.endpoints import BadEndpoint, Endpoint, parse_endpoint
from sniproxy.routing.patterns import capture_count, route_pattern
from sniproxy.routing.policy import BadPolicy, make_policy
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import Template, parse_template
from sniproxy.util.names import BadName

T = TypeVar("T")

KERNEL = "kernel"
COMMAND_LINE = "command line"
"""The filename of a configuration that came as options."""

_OPTIONS = {"listener": "--listen", "route": "--route", "access_log.path": "--access-log"}
MOST_FAULTS = 20
"""Errors of routes that one run reports; the rest are reported after these are fixed."""

_NO_PATH = "write a file's path, or '-' for standard output"


def parse(
    text: str, filename: str, access_log: str | None = None, use: Callable[[Configuration], object] | None = None
) -> Configuration:
    """Read a configuration file's text.

    @param filename: its path: for messages, and the folder that relative paths in it start from.
    @param access_log: when given, in place of the file's.
    @param use: makes a configuration into what lives, or raises C{ConfigError}. It is called when the text has an
        error, with the rest of the text, so that errors of both kinds are reported together.
    @raise ConfigError: it cannot be used.
    """
    try:
        configuration = replace(_checked(tomli.loads(text), filename), text=text)
    except (ConfigError, ValueError, RecursionError) as error:  # also for a number or a nesting without end
        # Imported here: most configurations have no error, and start faster.
        from sniproxy.config.diagnostics.collecting import all_errors

        raise all_errors(text, filename, lambda data: _checked(data, filename), use) from error
    if access_log == "":
        raise ConfigError(f'--access-log = "": {_NO_PATH}')
    return configuration if access_log is None else replace(configuration, access_log=access_log)


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
    check = Check(filename)
    resolvers = resolver_tables(file.resolver, check.error)
    if not file.listener and not file.bridge:
        cure = 'write [[listener]] with endpoint = "tcp:4443" (on the command line: --listen tcp:4443), or a [[bridge]]'
        raise ConfigError(f"{filename}: listener: there is none; {cure}", "listener")
    listeners = check.listeners(file.listener, resolvers)
    routes = check.routes(file.route, {listener.name for listener in listeners}, resolvers)
    allowed = file.policy
    access_log = check.path("access_log.path", file.access_log.path) if file.access_log else None
    events = file.inspect_log
    events_path = check.path("inspect_log.path", events.path) if events else ""
    configuration = Configuration(
        filename,
        listeners,
        routes,
        check.goal(file.default, DEFAULT, resolvers),
        check.goal(file.no_server_name, NO_SERVER_NAME, resolvers),
        check.timeouts(file.timeouts),
        access_log,
        check.made("inspect_log", lambda: make_inspect_log(events, events_path)) if events else None,
        check.admin(file.admin) if file.admin else None,
        check.made("policy", lambda: make_policy(allowed.allow_cidrs, allowed.allow_ports, allowed.allow_names)),
        file.reload.on_change,
        check.made("health", lambda: make_health(file.health)),
        check.bridges(file.bridge),
        check.made("limits", lambda: make_limits(file.limits)),
        kernel_relay=_kernel_relay(file.relay, check),
        notes=tuple(_notes(data, file)),
    )
    return with_workers(configuration, file.workers, file.reuse_port, check.error)


def _notes(data: Mapping[str, Any], file: File) -> Iterator[str]:
    health = data.get("health")
    if health is not None and file.health.check is None:
        idle = sorted(health.keys() - ({"eject", "fall"} if file.health.eject else ()))
        has_no_effect = f"; {', '.join(idle)} alone {'has' if len(idle) == 1 else 'have'} no effect" if idle else ""
        if idle or not health:
            yield f'[health] checks nothing: check is missing{has_no_effect}; write check = "tcp" or check = "tls"'


def _kernel_relay(relay: str, check: Check) -> bool:
    if relay not in ("auto", KERNEL):
        raise check.error("relay", relay, 'write "auto", or "kernel" where the kernel shall forward tunnels')
    return relay == KERNEL


@attrs.frozen
class Check:
    """The checks that types cannot make.

    @ivar names: of listeners so far. @ivar bound: their addresses. @ivar targets: those read so far, by their texts.
    """

    filename: str
    names: set[str] = attrs.field(factory=set)
    bound: set[tuple[str | None, int | None]] = attrs.field(factory=set)
    targets: dict[str, Template] = attrs.field(factory=dict)

    def error(self, key: str, value: object, cure: str) -> ConfigError:
        if self.filename == COMMAND_LINE:
            key = _OPTIONS[key.partition("[")[0]]
        if isinstance(value, str) and cure.startswith("it is a number"):
            from sniproxy.config.diagnostics.units import number

            amount = number(value, key.rpartition(".")[2])
            cure += "" if amount is None else f": {amount}"
        return ConfigError(f"{self.filename}: {key} = {shown(value)}: {cure}", key, value)

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

    def admin(self, table: AdminTable) -> Admin:
        """The admin endpoint."""
        endpoint, path = self.endpoint("admin.endpoint", table.endpoint).private(), table.token_file
        if path is not None:
            if not path or "\0" in path:
                raise self.error("admin.token_file", path, "write the path of a file that holds the token")
            path = str(PurePath(self.filename).parent / path)
        return Admin(endpoint, tuple(table.hosts), token_file=path)

    def listeners(
        self, tables: Sequence[ListenerTable], resolvers: Mapping[str, ResolverTable]
    ) -> tuple[Listener, ...]:
        keys = [f"listener[{number}]" for number in range(len(tables))]
        return tuple(
            make_listener(self, Listener(*self.place(key, table), key), table, resolvers)
            for key, table in zip(keys, tables, strict=True)
        )

    def place(self, key: str, table: ListenerTable | BridgeTable) -> tuple[str, Endpoint]:
        """The name and the endpoint of a listener or bridge; no two have the same."""
        endpoint = self.endpoint(f"{key}.endpoint", table.endpoint)
        name = table.endpoint if table.name is None else table.name
        if not name.strip() or not name.isprintable():
            raise self.error(f"{key}.name", name, "give it a printable name, or leave the key out")
        if endpoint.port and (endpoint.host, endpoint.port) in self.bound:
            raise self.error(f"{key}.endpoint", table.endpoint, "another listener has this address; each needs its own")
        if name in self.names:
            raise self.error(f"{key}.name", name, "another listener has this name; give each its own")
        self.names.add(name)
        self.bound.add((endpoint.host, endpoint.port))
        return name, endpoint

    def bridges(self, tables: Sequence[BridgeTable]) -> tuple[Bridge, ...]:
        if not tables:
            return ()
        # Imported here: most configurations have none, and start faster.
        from sniproxy.config.bridges import make_bridge

        keys = [f"bridge[{number}]" for number in range(len(tables))]
        return tuple(make_bridge(self, key, table) for key, table in zip(keys, tables, strict=True))

    def pem(self, key: str, path: str) -> str:
        """The path of PEM, from the file's folder."""
        if not path or "\0" in path:
            raise self.error(key, path, "write the path of a PEM file")
        return str(PurePath(self.filename).parent / path)

    def routes(
        self, tables: Sequence[RouteTable], listeners: Iterable[str], resolvers: Mapping[str, ResolverTable]
    ) -> tuple[Route, ...]:
        routes: dict[tuple[str, str | None], Route] = {}
        faults = Faults()
        for number, table in enumerate(tables):
            try:
                route = self.route(f"route[{number}]", table, listeners, resolvers, routes)
            except ConfigError as error:
                faults.errors.append(error)
                if len(faults.errors) > MOST_FAULTS:
                    break
            else:
                routes[route.server_name, route.listener] = route
        faults.check()
        return tuple(routes.values())

    def route(
        self,
        key: str,
        table: RouteTable,
        listeners: Iterable[str],
        resolvers: Mapping[str, ResolverTable],
        others: Mapping[tuple[str, str | None], Route],
    ) -> Route:
        """@param others: the routes before it."""
        try:
            name = route_pattern(table.server_name)
        except BadName as error:
            from sniproxy.config.diagnostics.cures import name_cure

            cure = f"{error}{name_cure(table.server_name)}"
            raise self.error(f"{key}.server_name", table.server_name, cure) from error
        if table.listener is not None and table.listener not in listeners:
            known = ", ".join(sorted(listeners))
            raise self.error(f"{key}.listener", table.listener, f"no listener has this name; there are: {known}")
        if (name, table.listener) in others:
            raise self.error(
                f"{key}.server_name",
                table.server_name,
                "another route has this name already; put all its targets into one list",
            )
        resolver = self.resolver(key, table.target, table.resolver, resolvers, name, True)
        return Route(name, table.listener, resolver, *self.dealing(key, table))

    def goal(self, table: GoalTable | None, name: str, resolvers: Mapping[str, ResolverTable]) -> Route | None:
        if table is None:
            return None
        named = name != NO_SERVER_NAME
        resolver = self.resolver(name, table.target, table.resolver, resolvers, "", named)
        return Route(name, None, resolver, *self.dealing(name, table))

    def dealing(self, key: str, table: RouteTable | GoalTable) -> tuple[bool, int | None]:
        """How a route's connections are dealt out, and how many it may have."""
        if table.max_connections is None and table.balance is None:
            return False, None  # as in most of very many tables
        most = self.made(key, lambda: at_most("max_connections", table.max_connections))
        return self.made(key, lambda: takes_least(table.balance)), most

    def made(self, key: str, make: Callable[[], T]) -> T:
        """What a table is made into, by a module that says which of its keys is wrong."""
        try:
            return make()
        except (BadHealth, BadInspectLog, BadLimit, BadPolicy) as error:
            raise self.error(f"{key}.{error.key}", error.value, str(error)) from error

    def resolver(
        self,
        key: str,
        target: str | list[str] | None,
        resolver: str | list[str] | None,
        resolvers: Mapping[str, ResolverTable],
        pattern: str = "",
        named: bool = False,
    ) -> ResolverTable:
        """@param pattern: may take parts of a name out; empty: it takes none. @param named: whether there is a name."""
        if (target is None) == (resolver is None):
            both = "it has both" if target is not None else "it has neither"
            cure = f'{both}; write either target = "host:port" or resolver = "NAME"'
            raise ConfigError(f"{self.filename}: {key}: {cure}", f"{key}.target")
        if resolver is not None:
            return in_order(f"{key}.resolver", resolver, resolvers, self.error)
        targets = [target] if isinstance(target, str) else list(target or ())
        if not targets:
            raise self.error(f"{key}.target", targets, 'name at least one target, as in "10.0.0.7:6651"')
        templates = []
        for text in targets:
            template = self.targets.get(text)
            if template is None:
                try:
                    template = self.targets[text] = parse_template(text)
                except BadTarget as error:
                    raise self.error(f"{key}.target", text, str(error)) from error
            why_not = template.why_not(capture_count(pattern), named) if template.places else None
            if why_not is not None:
                raise self.error(f"{key}.target", text, why_not)
            templates.append(template)
        return ResolverTable("static", {"target": targets}, key, templates=tuple(templates))

    def timeouts(self, timeouts: Timeouts) -> Timeouts:
        for key in Timeouts.__struct_fields__:
            value = getattr(timeouts, key)
            least_allowed = "0 or more" if key in ("idle", "drain") else "more than 0"
            if not (0 < value <= 1e7 or (value == 0 and key in ("idle", "drain"))):
                raise self.error(f"timeouts.{key}", value, f"it is a number of seconds, {least_allowed}")
        return timeouts
