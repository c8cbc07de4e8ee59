"""What the headers of a captured packet lead to: the values that `layers` and `tunnels` share. Pure."""

from __future__ import annotations

import attrs

V4, V6, ETHERNET, PPP, LLC, MPLS = 0x0800, 0x86DD, 0x6558, 0x880B, 0x0004, 0x8847
"""EtherTypes."""

VLAN_TAGS = {0x8100, 0x88A8, 0x9100, 0x9200, 0x9300}
"""EtherTypes of tags: 802.1Q, 802.1ad, and the numbers that were used before it."""


class Unreadable(Exception):
    """A header is cut off, or says what cannot be."""


@attrs.frozen
class Unread:
    """The packet carries something that is not read. C{what}: its name. C{link}: it is the link type itself."""

    what: str
    link: bool = False


@attrs.frozen
class Fragment:
    """A part of an IP datagram other than the first one: what it belongs to is not known. C{tunnel}: it may be TCP, or
    a tunnel that carries it."""

    tunnel: bool


@attrs.frozen
class Carried:
    """A TCP segment.

    @ivar source: the IP address, 4 or 16 bytes. @ivar data: from the TCP header on, as far as it was captured.
    @ivar length: bytes from the TCP header on, on the wire. @ivar fragment: the first of several IP fragments.
    """

    source: bytes
    destination: bytes
    data: bytes
    length: int
    fragment: bool


@attrs.frozen
class Next:
    """What a layer carries. C{kind}: an EtherType (RFC 9542)."""

    kind: int
    data: bytes


Found = Next | Carried | Unread | Fragment | None


def number(data: bytes, at: int) -> int:
    """Two bytes."""
    if at + 2 > len(data):
        raise Unreadable
    return data[at] << 8 | data[at + 1]


def rest(data: bytes, at: int) -> bytes:
    """What follows a header of this length."""
    if at > len(data):
        raise Unreadable
    return data[at:]
