"""Parses Twisted server endpoint strings as far as the configuration needs. Pure.

Twisted opens the endpoints. This module rejects those that cannot be a listener of the proxy.
"""

from __future__ import annotations

import re

import attrs

BACKLOG = 1024
"""Maximum connections in the kernel's accept queue. Twisted's default of 50 overflows under bursts."""

_SEPARATOR = re.compile(r"(?<!\\):")
_REFUSED = {
    "ssl": "TLS passes through to the brokers; use tcp:, with certificates = to terminate TLS here",
    "tls": "TLS passes through to the brokers; use tcp:, with certificates = to terminate TLS here",
    "haproxy": 'use tcp:, with proxy_protocol = "required" for the PROXY protocol',
    "stdio": "a listener accepts connections; use tcp:",
}


class BadEndpoint(ValueError):
    """An endpoint string is not a listener. The message gives the reason and the cure."""


@attrs.frozen
class Endpoint:
    """A parsed endpoint string.

    @ivar text: the string for Twisted, with the backlog added.
    @ivar kind: ``tcp``, ``tcp6``, ``unix``, ...
    @ivar host: the listening address of a TCP endpoint; ``0.0.0.0`` or ``::`` for all. None: not TCP.
    @ivar port: 0: the system chooses one. None: not TCP.
    @ivar backlog: size of the kernel's accept queue; only for TCP.
    @ivar shared: other processes may listen on the same port (C{SO_REUSEPORT}); only for TCP.
    """

    text: str
    kind: str
    host: str | None
    port: int | None
    backlog: int = BACKLOG
    shared: bool = False

    def private(self) -> Endpoint:
        """The endpoint with mode 0600 if it is a unix socket without an explicit mode."""
        parts = _SEPARATOR.split(self.text)[1:]
        positional = [part for part in parts if "=" not in part]
        named = any(part.startswith("mode=") for part in parts)
        if self.kind != "unix" or named or len(positional) > 1:
            return self
        return attrs.evolve(self, text=f"{self.text}:mode=600")


def parse_endpoint(text: str) -> Endpoint:
    """Parse and check a server endpoint string.

    @raise BadEndpoint: it is malformed, or not an endpoint for plain connections.
    """
    kind, *arguments = _SEPARATOR.split(text.strip())
    kind = kind.lower()
    if kind.isdigit():
        raise BadEndpoint(f"write tcp:{kind}")
    if kind in _REFUSED:
        raise BadEndpoint(_REFUSED[kind])
    if not arguments:
        raise BadEndpoint("expected a Twisted server endpoint string, as in tcp:4443:interface=127.0.0.1")
    positional = [value for value in arguments if "=" not in value]
    if "" in positional[1:] and kind in ("tcp", "tcp6"):
        raise BadEndpoint(r"escape the colons of an IPv6 address, as in tcp6:4443:interface=\:\:1")
    keys = dict(value.split("=", 1) for value in arguments if "=" in value)
    whole = text.strip()
    if kind in ("tcp", "tcp6", "unix") and "backlog" not in keys and len(positional) < 3:
        whole += f":backlog={BACKLOG}"
    if kind not in ("tcp", "tcp6"):
        return Endpoint(whole, kind, None, None)
    unknown = sorted(keys.keys() - {"port", "interface", "backlog"})
    if unknown:
        raise BadEndpoint(f"{kind}: unknown argument {unknown[0]!r}; use port, interface or backlog")
    port = keys.get("port", positional[0] if positional else "")
    if not (_is_number(port) and int(port) <= 65535):
        raise BadEndpoint(f"bad port {port!r}: expected a number from 0 (any free port) to 65535, as in tcp:4443")
    backlog = keys.get("backlog", positional[2] if len(positional) > 2 else str(BACKLOG))
    if not (_is_number(backlog) and int(backlog) > 0):
        raise BadEndpoint(f"bad backlog {backlog!r}: expected a number of connections, as in backlog={BACKLOG}")
    interface = keys.get("interface", positional[1] if len(positional) > 1 else "").replace("\\", "")
    if not interface:
        interface = "::" if kind == "tcp6" else "0.0.0.0"
    return Endpoint(whole, kind, interface, int(port), int(backlog))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 5
