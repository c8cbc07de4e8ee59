"""Checks C{[[bridge]]} tables. Pure.

Loaded only for configurations that have a bridge.
"""

from __future__ import annotations

from sniproxy.config.allowed import Allowed, parse_allowed
from sniproxy.config.checks import Check
from sniproxy.config.model import PULSAR, Bridge
from sniproxy.config.proxyprotocol import OPTIONAL, REQUIRED, make_send_proxy
from sniproxy.config.schema import BridgeTable, ConfigError
from sniproxy.interfaces import BadValue
from sniproxy.pulsar.serviceurl import BadServiceURL, pip60
from sniproxy.util.names import ip_literal


def make_bridge(check: Check, key: str, table: BridgeTable) -> Bridge:
    """Make a bridge. Its paths are relative to the file's folder. @param key: the table's key in the configuration.

    @raise ConfigError: a value is wrong.
    """
    name, endpoint = check.name_and_endpoint(key, table)
    if table.inspect not in (None, PULSAR):
        raise check.error(f"{key}.inspect", table.inspect, 'the only inspector is "pulsar"')
    if table.proxy_protocol in (REQUIRED, OPTIONAL):
        cure = (
            "this key is PIP-60's here, and a bridge reads no PROXY protocol headers: it runs beside its clients; "
            'write "SNI", or remove the key'
        )
        raise check.error(f"{key}.proxy_protocol", table.proxy_protocol, cure)
    try:
        settings = pip60(table.service_url, table.proxy_service_url, table.proxy_protocol)
    except BadServiceURL as error:
        raise ConfigError(f"{check.filename}: {key}: {error}", key) from error
    if not settings.service_url.tls:
        cure = "a bridge speaks TLS to brokers; write pulsar+ssl:// and the brokers' TLS port"
        raise check.error(f"{key}.service_url", table.service_url, cure)
    for host, _ in settings.service_url.hosts:
        if ip_literal(host) is not None:
            cure = "TLS carries no server name for an IP address; write a host name"
            raise check.error(f"{key}.service_url", table.service_url, cure)
    allow: list[Allowed] = []
    for number, text in enumerate(table.allow or ()):
        try:
            allow.append(parse_allowed(text))
        except BadValue as error:
            raise check.error(f"{key}.allow[{number}]", text, str(error)) from error
    return Bridge(
        name,
        endpoint,
        settings.service_url,
        settings.proxy,
        check.file(f"{key}.trust", table.trust),
        None if table.certificate is None else check.file(f"{key}.certificate", table.certificate),
        None if table.allow is None else tuple(allow),
        table.inspect is not None,
        key,
        check.converted(key, lambda: make_send_proxy(table)),
    )
