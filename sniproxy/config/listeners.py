"""Checks C{[[listener]]} tables. Pure."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from msgspec.structs import replace

from sniproxy.config.checks import Check
from sniproxy.config.model import PLAINTEXT, PULSAR, Listener, ResolverTable, Route, Termination
from sniproxy.config.proxyprotocol import is_from_client, make_proxy_protocol, make_send_proxy
from sniproxy.config.schema import ConfigError, ListenerTable
from sniproxy.routing.clientlist import make_client_list
from sniproxy.routing.patterns import route_pattern
from sniproxy.util.names import BadName

_IN_ROUTE = {
    "target": "a [[route]]",
    "resolver": "a [[route]]",
    "only_from": "it in the [[route]]",
    "send_proxy": "it in the [[route]]",
    "proxy_tlvs": "it in the [[route]]",
    "target_source": "it in the [[route]]",
}


def make_listener(
    check: Check, listener: Listener, table: ListenerTable, resolvers: Mapping[str, ResolverTable]
) -> Listener:
    """Complete a listener: plaintext, TLS termination, or TLS passed through."""
    key = listener.key
    if table.inspect not in (None, PULSAR):
        raise check.error(f"{key}.inspect", table.inspect, 'the only inspector is "pulsar"')
    inspect = table.inspect is not None
    if table.deferred_accept:
        if sys.platform != "linux" or listener.endpoint.kind == "unix":
            raise check.error(f"{key}.deferred_accept", True, "only available on Linux and for TCP; remove it")
        listener = replace(listener, deferred_accept=True)
    termination = make_termination(check, key, table)
    if table.proxy_protocol is not None or table.proxy_protocol_from:
        found = check.converted(key, lambda: make_proxy_protocol(table, listener.endpoint))
        listener = replace(listener, proxy_protocol=found)
    if table.closed_when_down is not None:
        if table.plaintext:
            cure = "only for listeners that use routes; remove it"
            raise check.error(f"{key}.closed_when_down", table.closed_when_down, cure)
        listener = replace(listener, closed_when_down=_pattern(check, key, table.closed_when_down))
    if table.plaintext:
        if termination is not None:
            cure = "a plaintext listener terminates no TLS; remove plaintext or certificates"
            raise check.error(f"{key}.certificates", table.certificates, cure)
        send = check.converted(key, lambda: make_send_proxy(table))
        from_client = check.converted(key, lambda: is_from_client(table.target_source))
        clients = check.converted(key, lambda: make_client_list(table.only_from))
        resolver = check.resolver(key, table.target, table.resolver, resolvers)
        route = Route(PLAINTEXT, table.name, resolver, only_from=clients, send_proxy=send, from_client=from_client)
        return replace(listener, plaintext=route, inspect=inspect)
    for name in _IN_ROUTE:
        value = getattr(table, name)
        if value is not None:
            cure = f"a TLS listener uses the routes; write {_IN_ROUTE[name]}, or plaintext = true for a test"
            raise check.error(f"{key}.{name}", value, cure)
    if inspect and termination is None:
        cure = (
            "the proxy cannot inspect TLS that it passes through; terminate it with certificates and upstream_trust, "
            "or write plaintext = true"
        )
        raise check.error(f"{key}.inspect", table.inspect, cure)
    return replace(listener, termination=termination, inspect=inspect)


def _pattern(check: Check, key: str, text: str) -> str:
    try:
        return route_pattern(text)
    except BadName as error:
        raise check.error(f"{key}.closed_when_down", text, f"name the server_name of a route: {error}") from error


def make_termination(check: Check, key: str, table: ListenerTable) -> Termination | None:
    """The TLS termination of a listener, or None. Its paths are relative to the file's folder."""
    given = {
        name: value
        for name in ("certificates", "upstream_trust", "upstream_certificate")
        if (value := getattr(table, name)) is not None
    }
    if not given:
        return None
    for name, cure in (
        ("certificates", "write the path of the PEM file, or folder of PEM files, that clients are shown"),
        ("upstream_trust", "write the path of a PEM file with the CA that signs the brokers' certificates"),
    ):
        if name not in given:
            others = " and ".join(given)
            raise ConfigError(
                f"{check.filename}: {key}.{name}: required together with {others}; {cure}", f"{key}.{name}"
            )
    paths = {name: check.file(f"{key}.{name}", value) for name, value in given.items()}
    return Termination(paths["certificates"], paths["upstream_trust"], paths.get("upstream_certificate"), key)
