"""What a PROXY protocol header says, and the error of a header that cannot be read. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from sniproxy.util.names import host_port

V1_BEGIN = b"PROXY "
V2_SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


class HeaderError(Exception):
    """The header is malformed. The message says how."""


class NoHeader(HeaderError):
    """The first bytes begin no PROXY protocol header."""


class Address(msgspec.Struct, frozen=True, gc=False):  # made for each connection, in a sixth of a NamedTuple's time
    """One end of a connection. @ivar host: an IP address in its shortest form. @ivar port: 0 to 65535."""

    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)


NO_TLVS: Mapping[str, str] = MappingProxyType({})
"""No optional fields; idle tunnels share it."""


class ProxyHeader(msgspec.Struct, frozen=True, gc=False):
    """A header.

    @ivar version: 1 or 2.
    @ivar source: ``address:port``, the peer of the connection that the sender accepted. None: the header has no IP
        address, as with ``LOCAL``, ``UNKNOWN`` and unix sockets; the addresses of the receiver's own connection count.
    @ivar destination: where that connection was accepted. None with C{source}.
    @ivar tlvs: the optional fields of version 2, by name; see L{sniproxy.proxyprotocol.tlvs}.
    """

    version: int
    source: str | None = None
    destination: Address | None = None
    tlvs: Mapping[str, str] = NO_TLVS
