"""Results of reading one header of a captured packet, and helpers that `layers` and `tunnels` share. Pure."""

from __future__ import annotations

import attrs

V4, V6, ETHERNET, PPP, LLC, MPLS = 0x0800, 0x86DD, 0x6558, 0x880B, 0x0004, 0x8847
"""EtherTypes."""

VLAN_TAGS = {0x8100, 0x88A8, 0x9100, 0x9200, 0x9300}
"""EtherTypes of VLAN tags: 802.1Q, 802.1ad, and the older numbers."""


class MalformedHeader(Exception):
    """A header is truncated or has impossible values."""


@attrs.frozen
class Unsupported:
    """The packet has an unsupported layer. C{what}: its name. C{link}: the link type itself is unsupported."""

    what: str
    link: bool = False


@attrs.frozen
class LaterFragment:
    """An IP fragment other than the first one. C{tunnel}: it may belong to TCP or to a tunnel that carries TCP."""

    tunnel: bool


@attrs.frozen
class TCPData:
    """A TCP segment.

    @ivar source: the IP address, 4 or 16 bytes. @ivar data: the captured bytes from the TCP header on.
    @ivar length: bytes on the wire from the TCP header on. @ivar fragment: this is the first of several IP fragments.
    """

    source: bytes
    destination: bytes
    data: bytes
    length: int
    fragment: bool


@attrs.frozen
class InnerPacket:
    """The payload of a layer, to be read next. C{kind}: its EtherType (RFC 9542)."""

    kind: int
    data: bytes


Found = InnerPacket | TCPData | Unsupported | LaterFragment | None


def number(data: bytes, at: int) -> int:
    """The 16-bit number at this offset. Raises L{MalformedHeader} if the data ends before."""
    if at + 2 > len(data):
        raise MalformedHeader
    return data[at] << 8 | data[at + 1]


def rest(data: bytes, at: int) -> bytes:
    """The bytes after a header of this length. Raises L{MalformedHeader} if the data is shorter."""
    if at > len(data):
        raise MalformedHeader
    return data[at:]
