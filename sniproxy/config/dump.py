"""The current configuration in the JSON of C{/status}. Pure.

It has no secrets: resolvers appear by name, because their options may be tokens or URLs with passwords.
"""

from __future__ import annotations

from itertools import islice
from typing import Any

import attrs
from msgspec.structs import asdict

from sniproxy.config.health import BALANCES
from sniproxy.config.model import Bridge, Configuration, Listener, Route
from sniproxy.config.proxyprotocol import CLIENT
from sniproxy.config.warnings import templates


def dump_configuration(configuration: Configuration, most: int) -> dict[str, Any]:
    """The configuration with its defaults. Times are seconds, sizes bytes; None: absent, or no limit.

    @param most: the maximum length of each list. C{route_count} is the number of all routes.
    """
    policy, limits, inspect_log, admin = (
        configuration.policy, configuration.limits, configuration.inspect_log, configuration.admin,
    )  # fmt: skip
    timeouts = configuration.timeouts
    return {
        "listeners": [_entrance(one, most) for one in islice(configuration.entrances, most)],
        "route_count": len(configuration.routes),
        "routes": [_route(route, most) for route in islice(configuration.routes, most)],
        "default": _default(configuration.default, most),
        "no_server_name": _default(configuration.no_server_name, most),
        "timeouts": {key: getattr(timeouts, key) for key in timeouts.__struct_fields__},
        "policy": {
            "allow_cidrs": [str(network) for network in policy.allow_cidrs[:most]],
            "allow_ports": sorted(policy.allow_ports)[:most],
            "allow_names": None if policy.allow_names is None else list(policy.allow_names[:most]),
        },
        "limits": {**attrs.asdict(limits), "exempt": [str(network) for network in limits.exempt[:most]]},
        "health": attrs.asdict(configuration.health),
        "access_log": configuration.access_log,
        "log_format": configuration.log_format,
        "open_lines": configuration.open_lines,
        "inspect_log": None if inspect_log is None else asdict(inspect_log),
        "admin": None if admin is None else admin.endpoint.text,
        "reload_on_change": configuration.reload_on_change,
        "workers": configuration.workers,
        "relay": configuration.relay,
        "relay_threads": configuration.relay_threads,
    }


def _entrance(one: Listener | Bridge, most: int) -> dict[str, Any]:
    """C{mode} is C{tls} (passed through), C{ends_tls}, C{plaintext} or C{bridge}."""
    found = {"name": one.name, "endpoint": one.endpoint.text, "inspect": one.inspect}
    if isinstance(one, Bridge):
        allow = None if one.allow is None else [f"{each.pattern}:{each.port}" for each in one.allow[:most]]
        proxy = None if one.proxy is None else str(one.proxy)
        return {**found, "mode": "bridge", "service_url": str(one.service_url), "proxy": proxy, "allow": allow}
    found["deferred_accept"] = one.deferred_accept
    headers = one.proxy_protocol
    found["proxy_protocol"] = None if headers is None else headers.mode
    found["proxy_protocol_from"] = [] if headers is None else [str(network) for network in headers.networks[:most]]
    if one.plaintext is not None:
        return {**found, "mode": "plaintext", **_targets(one.plaintext, most)}
    if one.termination is None:
        return {**found, "mode": "tls"}
    ends = one.termination
    return {**found, "mode": "ends_tls", "certificates": ends.certificates, "upstream_trust": ends.trust}


def _default(route: Route | None, most: int) -> dict[str, Any] | None:
    return None if route is None else _targets(route, most)


def _route(route: Route, most: int) -> dict[str, Any]:
    return {"server_name": route.server_name, "listener": route.listener, **_targets(route, most)}


def _targets(route: Route, most: int) -> dict[str, Any]:
    """C{targets}, or C{resolvers} in order; the first that answers decides."""
    return {
        "targets": [str(one) for one in templates(route)[:most]],
        "resolvers": [each.name for each in route.resolver.members[:most] if each.name is not None],
        "balance": BALANCES[route.least_connections],
        "max_connections": route.max_connections,
        "only_from": None if route.only_from is None else str(route.only_from),
        "send_proxy": None if route.send_proxy is None else route.send_proxy.text,
        "target_source": CLIENT if route.from_client else None,
    }
