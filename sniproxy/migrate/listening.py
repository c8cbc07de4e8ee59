"""Addresses to listen on, as Twisted's endpoint strings. Pure."""

from __future__ import annotations

import attrs


@attrs.frozen
class Address:
    """Where a program listens.

    @ivar host: an address without brackets; ``0.0.0.0`` and ``::`` are all addresses of their family. ``unix``: a unix
        socket.
    @ivar port: of TCP. @ivar path: of a unix socket.
    """

    host: str
    port: int = 0
    path: str = ""

    @property
    def endpoint(self) -> str:
        """The endpoint string."""
        if self.host == "unix":
            return "unix:" + self.path.replace("\\", "\\\\").replace(":", "\\:")
        if ":" in self.host:
            return f"tcp6:{self.port}" + ("" if self.host == "::" else f":interface={escaped(self.host)}")
        return f"tcp:{self.port}" + ("" if self.host == "0.0.0.0" else f":interface={self.host}")


def escaped(host: str) -> str:
    """A host for an endpoint string."""
    return host.replace(":", "\\:")


def port_number(text: str) -> int | None:
    """A port from 1 to 65535; None: the text is none."""
    if text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= 65535:
        return int(text)
    return None


def split_address(text: str) -> tuple[str, str]:
    """The host, without brackets, and the port of an address; either may be empty.

    ``80`` is a port, ``[::]:80`` and ``10.0.0.7:80`` are both, ``::1`` and ``localhost`` are hosts.
    """
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        return host, rest.removeprefix(":")
    if text.isascii() and text.isdigit():
        return "", text
    if text.count(":") > 1:
        return text, ""
    host, _, port = text.partition(":")
    return host, port
