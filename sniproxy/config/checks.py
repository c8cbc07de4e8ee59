"""The checks that the tables of a configuration share. Pure.

Every error names the file, the key, the value and the cure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import TypeVar

import attrs

from sniproxy.config.health import is_least_connections
from sniproxy.config.limits import connection_limit
from sniproxy.config.model import (
    NO_SERVER_NAME,
    AdminSettings,
    ResolverTable,
    Route,
)
from sniproxy.config.proxyprotocol import is_from_client, make_send_proxy
from sniproxy.config.resolvers import resolver_list
from sniproxy.config.schema import (
    AccessLogTable,
    AdminTable,
    BridgeTable,
    ConfigError,
    DefaultTable,
    Faults,
    ListenerTable,
    LogTable,
    RouteEntry,
    Timeouts,
    shown,
)
from sniproxy.config.tables import MAX_ERRORS
from sniproxy.interfaces import BadValue
from sniproxy.net.endpoints import BadEndpoint, Endpoint, parse_endpoint
from sniproxy.proxyprotocol.sending import SendProxy
from sniproxy.routing.clientlist import ClientList, make_client_list
from sniproxy.routing.patterns import capture_count, route_pattern
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import Template, parse_template
from sniproxy.util.names import BadName

T = TypeVar("T")

COMMAND_LINE = "command line"
"""The filename of a configuration from command line options."""

_OPTIONS = {"listener": "--listen", "route": "--route", "access_log.path": "--access-log"}
NO_PATH = "write a file path, or '-' for standard output"

_NO_KEYS = (None,) * 6


_MAY_BE_ZERO = ("idle", "drain", "upgrade_drain")
"""Timeouts for which 0 has a meaning."""


@attrs.frozen
class Check:
    """Checks the values of one configuration.

    @ivar names: of the listeners so far. @ivar bound: their addresses. @ivar targets: those parsed so far, by text.
    """

    filename: str
    names: set[str] = attrs.field(factory=set)
    bound: set[tuple[str | None, int | None]] = attrs.field(factory=set)
    targets: dict[str, Template] = attrs.field(factory=dict)

    def error(self, key: str, value: object, cure: str) -> ConfigError:
        if self.filename == COMMAND_LINE:
            key = _OPTIONS[key.partition("[")[0]]
        if isinstance(value, str) and cure.startswith("must be a number"):
            from sniproxy.config.diagnostics.units import number

            amount = number(value, key.rpartition(".")[2])
            cure += "" if amount is None else f": {amount}"
        return ConfigError(f"{self.filename}: {key} = {shown(value)}: {cure}", key, value)

    def path(self, key: str, path: str) -> str:
        """The path of a log; in a file it is relative to the file's folder."""
        if not path or "\0" in path:
            raise self.error(key, path, NO_PATH)
        return path if path == "-" or self.filename == COMMAND_LINE else str(PurePath(self.filename).parent / path)

    def log_format(self, table: LogTable) -> str:
        if table.format not in ("text", "json"):
            raise self.error("log.format", table.format, 'write "text" or "json"')
        return table.format

    def open_lines(self, table: AccessLogTable) -> float | None:
        """See L{Configuration.open_lines}."""
        if table.repeat is not None and not table.opened:
            raise self.error("access_log.repeat", table.repeat, "it requires opened; write opened = true")
        if table.repeat is not None and not 1 <= table.repeat <= 1e6:
            raise self.error("access_log.repeat", table.repeat, "must be a number of seconds from 1 to 1000000")
        return table.repeat or 0.0 if table.opened else None

    def endpoint(self, key: str, text: str) -> Endpoint:
        """Parse an endpoint."""
        try:
            return parse_endpoint(text)
        except BadEndpoint as error:
            raise self.error(key, text, str(error)) from error

    def admin(self, table: AdminTable) -> AdminSettings:
        """Check C{[admin]}."""
        endpoint, path = self.endpoint("admin.endpoint", table.endpoint).private(), table.token_file
        if path is not None:
            path = self.file("admin.token_file", path, "the file with the token")
        return AdminSettings(endpoint, tuple(table.hosts), token_file=path)

    def name_and_endpoint(self, key: str, table: ListenerTable | BridgeTable) -> tuple[str, Endpoint]:
        """The name and the endpoint of a listener or bridge; both must be unique."""
        endpoint = self.endpoint(f"{key}.endpoint", table.endpoint)
        name = table.endpoint if table.name is None else table.name
        if not name.strip() or not name.isprintable():
            raise self.error(f"{key}.name", name, "write a printable name, or remove the key")
        if endpoint.port and (endpoint.host, endpoint.port) in self.bound:
            raise self.error(f"{key}.endpoint", table.endpoint, "another listener uses this address; give each its own")
        if name in self.names:
            raise self.error(f"{key}.name", name, "another listener has this name; give each its own")
        self.names.add(name)
        self.bound.add((endpoint.host, endpoint.port))
        return name, endpoint

    def file(self, key: str, path: str, what: str = "a PEM file") -> str:
        """The path of a file, relative to the configuration's folder. @param what: for the error."""
        if not path or "\0" in path:
            raise self.error(key, path, f"write the path of {what}")
        return str(PurePath(self.filename).parent / path)

    def routes(
        self, tables: Sequence[RouteEntry], listeners: Iterable[str], resolvers: Mapping[str, ResolverTable]
    ) -> tuple[Route, ...]:
        routes: dict[tuple[str, str | None], Route] = {}
        faults = Faults()
        for number, table in enumerate(tables):
            try:
                route = self.route(f"route[{number}]", table, listeners, resolvers, routes)
            except ConfigError as error:
                faults.errors.append(error)
                if len(faults.errors) > MAX_ERRORS:
                    break
            else:
                routes[route.server_name, route.listener] = route
        faults.check()
        return tuple(routes.values())

    def route(
        self,
        key: str,
        table: RouteEntry,
        listeners: Iterable[str],
        resolvers: Mapping[str, ResolverTable],
        others: Mapping[tuple[str, str | None], Route],
    ) -> Route:
        """@param others: the routes before it."""
        try:
            name = route_pattern(table.server_name) if table.server_name else ""
        except BadName as error:
            from sniproxy.config.diagnostics.cures import name_cure

            cure = f"{error}{name_cure(table.server_name)}"
            raise self.error(f"{key}.server_name", table.server_name, cure) from error
        if table.listener is not None and table.listener not in listeners:
            known = ", ".join(sorted(listeners))
            raise self.error(f"{key}.listener", table.listener, f"no listener has this name; listeners: {known}")
        if not name and table.listener is None:
            cure = "write [no_server_name] for hellos without a name, or name a listener in this route"
            raise self.error(f"{key}.server_name", table.server_name, cure)
        if (name, table.listener) in others:
            raise self.error(
                f"{key}.server_name",
                table.server_name,
                "another route has this name; list all targets in one route",
            )
        resolver = self.resolver(key, table.target, table.resolver, resolvers, name, bool(name))
        return Route(name, table.listener, resolver, *self.balance_and_limits(key, table))

    def default_route(
        self, table: DefaultTable | None, name: str, resolvers: Mapping[str, ResolverTable]
    ) -> Route | None:
        if table is None:
            return None
        named = name != NO_SERVER_NAME
        resolver = self.resolver(name, table.target, table.resolver, resolvers, "", named)
        return Route(name, None, resolver, *self.balance_and_limits(name, table))

    def balance_and_limits(
        self, key: str, table: RouteEntry | DefaultTable
    ) -> tuple[bool, int | None, ClientList | None, SendProxy | None, bool]:
        """The fields of a L{Route} from C{least_connections} on."""
        send, source = table.send_proxy, table.target_source
        keys = table.max_connections, table.balance, table.only_from, send, table.proxy_tlvs, source
        if keys == _NO_KEYS:
            return False, None, None, None, False  # fast, for many routes
        most = self.converted(key, lambda: connection_limit("max_connections", table.max_connections))
        clients = self.converted(key, lambda: make_client_list(table.only_from))
        header = self.converted(key, lambda: make_send_proxy(table))
        from_client = self.converted(key, lambda: is_from_client(source))
        least = self.converted(key, lambda: is_least_connections(table.balance))
        return least, most, clients, header, from_client

    def converted(self, key: str, make: Callable[[], T]) -> T:
        """Convert a table. @raise ConfigError: a value is wrong."""
        try:
            return make()
        except BadValue as error:
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
        """@param pattern: the route's, for captures; or empty. @param named: its connections have a server name."""
        if (target is None) == (resolver is None):
            both = "it has both target and resolver" if target is not None else "it has neither target nor resolver"
            cure = f'{both}; write either target = "host:port" or resolver = "NAME"'
            raise ConfigError(f"{self.filename}: {key}: {cure}", f"{key}.target")
        if resolver is not None:
            return resolver_list(f"{key}.resolver", resolver, resolvers, self.error)
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
            least_allowed = "0 or more" if key in _MAY_BE_ZERO else "more than 0"
            if not (0 < value <= 1e7 or (value == 0 and key in _MAY_BE_ZERO)):
                raise self.error(f"timeouts.{key}", value, f"must be a number of seconds, {least_allowed}")
        return timeouts
