"""Checks that this process may dial from clients' addresses, if a route asks for it (C{target_source})."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sniproxy.config.model import Configuration
from sniproxy.config.schema import ConfigError
from sniproxy.config.warnings import keyed_routes
from sniproxy.net.transparent import why_unavailable


def check_transparent(configuration: Configuration, why_not: Callable[[], str | None] = why_unavailable) -> None:
    """Check the system and this process's capabilities, once for all connections.

    @param why_not: says why targets cannot be dialled from clients' addresses. Called only if a route asks for it.
    @raise ConfigError: a route asks for it in vain. The message has the line of the first such route.
    """
    key = _key(configuration)
    why = None if key is None else why_not()
    if key is not None and why is not None:
        raise _error(configuration, key, why)


def check_user(configuration: Configuration, twistd: Mapping[str, Any] | None) -> None:
    """Check that twistd keeps the capabilities that root has. @param twistd: its options. None: not twistd.

    @raise ConfigError: C{--uid} drops them, and a route needs one.
    """
    key = _key(configuration)
    if key is not None and twistd is not None and twistd.get("uid"):
        cure = "start the proxy as that user with CAP_NET_RAW, as by User= and AmbientCapabilities= of a systemd unit"
        raise _error(configuration, key, f"twistd --uid drops the capability for it; {cure}")


def _key(configuration: Configuration) -> str | None:
    """The key of the first route that asks for it. None: no route does."""
    keys = (key for key, route in keyed_routes(configuration) if route.from_client)
    return next((f"{key}.target_source" for key in keys), None)


def _error(configuration: Configuration, key: str, why: str) -> ConfigError:
    error = ConfigError(f'{configuration.filename}: {key} = "client": {why}', key, "client")
    if not configuration.text:
        return error
    # Imported here: most configurations have no error, and start faster.
    from sniproxy.config.diagnostics.collecting import located

    return located(error, configuration.text, configuration.filename)
