"""Writes TLS that ends in Envoy, and TLS towards targets that are verified for the client's server name. Pure.

C{tcp_proxy} has one name for all connections of a cluster; a filter before it sets that of each connection.
"""

from __future__ import annotations

from typing import Any

from sniproxy.config.schema import ListenerTable

API = "type.googleapis.com/envoy.extensions"
_TLS = f"{API}.transport_sockets.tls.v3"
_VERSIONS = {"tls_params": {"tls_minimum_protocol_version": "TLSv1_2", "tls_maximum_protocol_version": "TLSv1_3"}}
_NAMES = ("envoy.network.upstream_server_name", "envoy.network.upstream_subject_alt_names")


def made_filter(where: str, kind: str, message: str, config: dict[str, Any]) -> dict[str, Any]:
    """A filter. @param where: C{listener} or C{network}. @param message: of its configuration."""
    full = f"{API}.filters.{where}.{kind}.v3.{message}"
    return {"name": f"envoy.filters.{where}.{kind}", "typed_config": {"@type": full, **config}}


def named_upstream() -> dict[str, Any]:
    """The filter by which the client's server name is the target's: sent to it, and verified in its certificate."""
    name = {"text_format_source": {"inline_string": "%REQUESTED_SERVER_NAME%"}}
    states = [{"object_key": key, "format_string": name, "shared_with_upstream": "ONCE"} for key in _NAMES]
    return made_filter("network", "set_filter_state", "Config", {"on_new_connection": states})


def downstream(table: ListenerTable) -> dict[str, Any]:
    """TLS with clients. @param table: has C{certificates}, a file."""
    return _socket("Downstream", {**_VERSIONS, "tls_certificates": [_pair(table.certificates)]})


def upstream(table: ListenerTable) -> dict[str, Any]:
    """TLS with targets."""
    common: dict[str, Any] = {**_VERSIONS}
    if table.upstream_certificate is not None:
        common["tls_certificates"] = [_pair(table.upstream_certificate)]
    common["validation_context"] = {"trusted_ca": {"filename": table.upstream_trust}}
    return _socket("Upstream", common)


def _pair(file: str | None) -> dict[str, Any]:
    return {"certificate_chain": {"filename": file}, "private_key": {"filename": file}}


def _socket(side: str, common: dict[str, Any]) -> dict[str, Any]:
    config = {"@type": f"{_TLS}.{side}TlsContext", "common_tls_context": common}
    return {"name": "envoy.transport_sockets.tls", "typed_config": config}
