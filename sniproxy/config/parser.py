"""Parses TOML text or options into a checked L{Configuration}. Pure.

Every error names the file, the key, the value and the cure. A file with an error is not used at all.
docs/reference/configuration.md is the manual.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from sniproxy.config import tomlslices
from sniproxy.config.checks import COMMAND_LINE, NO_PATH, Check
from sniproxy.config.health import make_health
from sniproxy.config.inspectlog import make_inspect_log
from sniproxy.config.limits import make_limits
from sniproxy.config.listeners import make_listener
from sniproxy.config.model import (
    DEFAULT,
    NO_SERVER_NAME,
    Bridge,
    Configuration,
    Listener,
    ResolverTable,
)
from sniproxy.config.relay import check_relay, relay_notes
from sniproxy.config.resolvers import resolver_tables
from sniproxy.config.schema import (
    BridgeTable,
    ConfigError,
    File,
    ListenerTable,
    convert,
    shown,
)
from sniproxy.config.workers import with_workers
from sniproxy.routing.policy import make_policy
from sniproxy.routing.templates import PROXY_PORT


def parse(
    text: str, filename: str, access_log: str | None = None, use: Callable[[Configuration], object] | None = None
) -> Configuration:
    """Parse the text of a configuration file.

    @param filename: its path, for messages and for relative paths.
    @param access_log: overrides the file's access log. None: the file's.
    @param use: builds the proxy from a configuration, or raises C{ConfigError}. If the text has errors, it is called
        with the valid rest, so that errors of both kinds are reported together.
    @raise ConfigError: the text has errors.
    """
    try:
        configuration = replace(_checked(tomlslices.loads(text), filename), text=text)
    except (ConfigError, ValueError, RecursionError) as error:  # RecursionError: deep nesting
        # Imported here: most configurations have no error and start faster without it.
        from sniproxy.config.diagnostics.collecting import all_errors

        raise all_errors(text, filename, lambda data: _checked(data, filename), use) from error
    if access_log == "":
        raise ConfigError(f'--access-log = "": {NO_PATH}')
    return configuration if access_log is None else replace(configuration, access_log=access_log)


def from_options(listen: Sequence[str], routes: Sequence[str], access_log: str | None) -> Configuration:
    """Make a configuration from the options ``--listen``, ``--route`` and ``--access-log``.

    @raise ConfigError: an option is wrong.
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
        raise ConfigError(f"{filename}: listener: missing; {cure}", "listener")
    listeners = _listeners(check, file.listener, resolvers)
    routes = check.routes(file.route, {listener.name for listener in listeners}, resolvers)
    check_relay(file.relay, file.relay_threads, check.error)
    allowed = file.policy
    access_log = check.path("access_log.path", file.access_log.path) if file.access_log else None
    events = file.inspect_log
    events_path = check.path("inspect_log.path", events.path) if events else ""
    configuration = Configuration(
        filename,
        listeners,
        routes,
        check.default_route(file.default, DEFAULT, resolvers),
        check.default_route(file.no_server_name, NO_SERVER_NAME, resolvers),
        check.timeouts(file.timeouts),
        access_log,
        check.converted("inspect_log", lambda: make_inspect_log(events, events_path)) if events else None,
        check.admin(file.admin) if file.admin else None,
        check.converted("policy", lambda: make_policy(allowed.allow_cidrs, allowed.allow_ports, allowed.allow_names)),
        file.reload.on_change,
        check.converted("health", lambda: make_health(file.health)),
        _bridges(check, file.bridge),
        check.converted("limits", lambda: make_limits(file.limits)),
        relay=file.relay,
        relay_threads=file.relay_threads,
        log_format=check.log_format(file.log),
        open_lines=check.open_lines(file.access_log) if file.access_log else None,
        notes=tuple(_notes(data, file)),
    )
    if any(listener.closed_when_down is not None for listener in listeners):
        # Imported here: most configurations have none and start faster without it.
        from sniproxy.config.closing import check_closing

        check_closing(configuration, file.workers, check.error)
    if file.fault:
        # Imported here: nearly all configurations have none and start faster without Pulsar's commands.
        from sniproxy.config.faults import with_faults

        configuration = with_faults(check, configuration, file.fault, file.workers)
    if any(PROXY_PORT in template.places for template in check.targets.values()):
        # Imported here: few configurations have such a target, and the others start faster without it.
        from sniproxy.config.headerports import check_header_ports

        check_header_ports(check, configuration)
    return with_workers(configuration, file.workers, file.reuse_port, check.error)


def _notes(data: Mapping[str, Any], file: File) -> Iterator[str]:
    yield from relay_notes(data)
    health = data.get("health")
    if health is not None and file.health.check is None:
        idle = sorted(health.keys() - ({"eject", "fall"} if file.health.eject else ()))
        has_no_effect = f"; {', '.join(idle)} alone {'has' if len(idle) == 1 else 'have'} no effect" if idle else ""
        if idle or not health:
            yield f'[health] checks nothing: check is missing{has_no_effect}; write check = "tcp" or check = "tls"'


def _listeners(
    check: Check, tables: Sequence[ListenerTable], resolvers: Mapping[str, ResolverTable]
) -> tuple[Listener, ...]:
    keys = [f"listener[{number}]" for number in range(len(tables))]
    return tuple(
        make_listener(check, Listener(*check.name_and_endpoint(key, table), key), table, resolvers)
        for key, table in zip(keys, tables, strict=True)
    )


def _bridges(check: Check, tables: Sequence[BridgeTable]) -> tuple[Bridge, ...]:
    if not tables:
        return ()
    # Imported here: most configurations have no bridge and start faster without it.
    from sniproxy.config.bridges import make_bridge

    keys = [f"bridge[{number}]" for number in range(len(tables))]
    return tuple(make_bridge(check, key, table) for key, table in zip(keys, tables, strict=True))
