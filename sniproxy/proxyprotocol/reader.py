"""Reads a PROXY protocol header from the first bytes of a connection. Pure."""

from __future__ import annotations

import ipaddress
import re
import struct
from collections.abc import Iterator
from functools import lru_cache

from sniproxy.proxyprotocol import tlvs
from sniproxy.proxyprotocol.header import NO_TLVS, V1_BEGIN, V2_SIGNATURE, Address, HeaderError, NoHeader, ProxyHeader
from sniproxy.util.names import bracketed, host_port
from sniproxy.util.text import bounded

MAX_V1_BYTES = 107
"""The longest header of version 1, with its line end (section 2.1)."""

MAX_V2_BYTES = 8192
"""The longest header of version 2 that is accepted. The length field allows 65,551; senders that add the client's
certificate need some kilobytes, all others less than 536 bytes."""

_FIXED_BYTES = 16  # of version 2: signature, version and command, family, length
_LOCAL, _PROXY = 0x20, 0x21
_IPV4_BYTES, _IPV6_BYTES, _UNIX_BYTES = 12, 36, 216
_ADDRESS_BYTES = {0x11: _IPV4_BYTES, 0x12: _IPV4_BYTES, 0x21: _IPV6_BYTES, 0x22: _IPV6_BYTES, 0x31: 216, 0x32: 216}
"""Bytes of both addresses, by family and transport: IPv4, IPv6 and unix sockets, each as a stream or datagrams."""

_PLAIN_V4, _PLAIN_V4_BYTES = V2_SIGNATURE + b"\x21\x11\x00\x0c", 28  # TCP over IPv4, without fields
_read_v4, _read_v6 = struct.Struct("!4s4s2H").unpack_from, struct.Struct("!16s16s2H").unpack_from
_V1_BYTES = len(V1_BEGIN)
_is_v4 = re.compile(rb"\.".join([rb"(?:[1-9]?\d|1\d\d|2[0-4]\d|25[0-5])"] * 4)).fullmatch
_V1_VERSIONS = {b"TCP4": 4, b"TCP6": 6}
_ZERO, _MAX_PORT = ord("0"), b"65535"
_MAX_REMEMBERED = 8192  # addresses; clients and load balancers come again


def read_header(data: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    """Read the header at the beginning of the bytes that were received.

    @return: the header, and the number of its bytes. None: it is not complete.
    @raise NoHeader: the bytes begin no header. @raise HeaderError: the header is malformed or too long.
    """
    if data[:_FIXED_BYTES] == _PLAIN_V4 and len(data) >= _PLAIN_V4_BYTES:  # most are; the short way
        source, destination, port, at_port = _read_v4(data, _FIXED_BYTES)
        return ProxyHeader(2, f"{_v4_host(source)}:{port}", _v2_address(destination, at_port)), _PLAIN_V4_BYTES
    if data[:_V1_BYTES] == V1_BEGIN:
        return _read_v1(bytes(data[:MAX_V1_BYTES]))
    if data.startswith(V2_SIGNATURE):
        return _read_v2(data)
    if begins_header(data) is None:
        return None
    raise NoHeader("no PROXY protocol header")


def begins_header(data: bytes | bytearray) -> bool | None:
    """Whether received bytes begin a header of version 1 or 2. None: too few have arrived."""
    begin = bytes(data[: len(V2_SIGNATURE)])
    if begin.startswith(V1_BEGIN) or begin == V2_SIGNATURE:
        return True
    return None if V1_BEGIN.startswith(begin) or V2_SIGNATURE.startswith(begin) else False


def _read_v1(data: bytes) -> tuple[ProxyHeader, int] | None:
    """Section 2.1: one line of text."""
    line, end, _ = data.partition(b"\r\n")
    if not end:
        if len(data) >= MAX_V1_BYTES:
            raise HeaderError(f"the header (v1) has no line end within {MAX_V1_BYTES} bytes")
        return None
    try:
        hosts, port, at_port = line.rsplit(b" ", 2)
        host, destination = _v1_hosts(hosts, at_port)
    except ValueError:
        if line.split(b" ", 2)[1] == b"UNKNOWN":
            return ProxyHeader(1), len(line) + 2
        raise HeaderError(f"the header (v1) is malformed: {_shown(line)}") from None
    return ProxyHeader(1, f"{host}:{_v1_port(port).decode()}", destination), len(line) + 2


@lru_cache(_MAX_REMEMBERED)
def _v1_hosts(text: bytes, at_port: bytes) -> tuple[str, Address]:
    """The host of the source as in C{host:port}, and the destination.

    @param text: ``PROXY TCP4 192.0.2.7 198.51.100.1``. @raise ValueError: it has another form.
    """
    _, family, host, at_host = text.split(b" ")
    if family not in _V1_VERSIONS:
        raise ValueError(family)
    return bracketed(_v1_host(family, host)), _v1_address(family, at_host, at_port)


@lru_cache(_MAX_REMEMBERED)
def _v1_address(family: bytes, host: bytes, port: bytes) -> Address:
    """Clients come to few addresses: idle tunnels share one object for each."""
    return Address(_v1_host(family, host), int(_v1_port(port)))


def _v1_host(family: bytes, host: bytes) -> str:
    """The address in its shortest form."""
    text = host.decode("latin-1")
    if family == b"TCP4" and _is_v4(host):  # a tenth of the time of ipaddress, for more clients than are remembered
        return text
    try:
        # A zone ("%eth0") is valid for ipaddress, but not here.
        address = ipaddress.ip_address("" if "%" in text else text)
    except ValueError:
        raise HeaderError(f"the header (v1) has the address {_shown(host)}") from None
    if address.version != _V1_VERSIONS[family]:
        raise HeaderError(f"the header (v1) says {family.decode()} and has the address {address}")
    return _shortest(address)


def _v1_port(port: bytes) -> bytes:
    """The port, if it is one."""
    # int takes more: signs, spaces and underscores.
    size = len(port)
    if port.isdigit() and (size < 5 or (size == 5 and port <= _MAX_PORT)) and (port[0] != _ZERO or size == 1):
        return port
    raise HeaderError(f"the header (v1) has the port {_shown(port)}")


def _shown(data: bytes) -> str:
    return repr(bounded(data.decode("latin-1")))


def _read_v2(data: bytes | bytearray) -> tuple[ProxyHeader, int] | None:
    """Section 2.2: binary."""
    if len(data) > 12 and data[12] not in (_LOCAL, _PROXY):
        raise HeaderError(f"the header (v2) has the version and command {data[12]:#04x}")
    local = len(data) > 12 and data[12] == _LOCAL
    if len(data) > 13 and not local and data[13] and data[13] not in _ADDRESS_BYTES:
        raise HeaderError(f"the header (v2) has the family and transport {data[13]:#04x}")
    if len(data) < _FIXED_BYTES:
        return None
    family, size = data[13], _FIXED_BYTES + int.from_bytes(data[14:16])
    if size > MAX_V2_BYTES:
        raise HeaderError(f"the header (v2) has {size:,} bytes; at most {MAX_V2_BYTES:,} are accepted")
    addresses = 0 if local else _ADDRESS_BYTES.get(family, 0)
    if size < _FIXED_BYTES + addresses:
        raise HeaderError(f"the header (v2) has {size - _FIXED_BYTES} bytes for addresses of {addresses}")
    if len(data) < size:
        return None
    # LOCAL: a connection of the sender itself, for example a health check. Without addresses the format of the rest is
    # not defined. The receiver ignores both.
    if not addresses:
        return ProxyHeader(2), size
    start = _FIXED_BYTES + addresses
    # Most headers have no fields.
    fields = NO_TLVS if size == start else tlvs.named(_checked_fields(bytes(data[:size]), start))
    if addresses == _UNIX_BYTES:
        return ProxyHeader(2, tlvs=fields), size
    read = _read_v4 if addresses == _IPV4_BYTES else _read_v6
    source, destination, port, at_port = read(data, _FIXED_BYTES)
    return ProxyHeader(2, host_port(_v2_host(source), port), _v2_address(destination, at_port), fields), size


def _checked_fields(whole: bytes, start: int) -> Iterator[tuple[int, int, bytes]]:
    """The header's fields, after a check of its CRC-32C if it has one (section 2.2.4)."""
    fields = list(tlvs.split(whole[start:]))
    sums = [(start + at, value) for kind, at, value in fields if kind == tlvs.CRC32C]
    if len(sums) > 1 or any(len(value) != 4 for _, value in sums):
        raise HeaderError("the header (v2) has a malformed checksum (CRC32c)")
    for at, value in sums:
        if tlvs.crc32c(whole[:at] + bytes(4) + whole[at + 4 :]) != int.from_bytes(value):
            raise HeaderError("the header's checksum (CRC32c) is wrong")
    return iter(fields)


@lru_cache(_MAX_REMEMBERED)
def _v2_address(packed: bytes, port: int) -> Address:
    """As L{_v1_address}."""
    return Address(_v2_host(packed), port)


def _v2_host(packed: bytes) -> str:
    """@param packed: 4 or 16 bytes."""
    return _v4_host(packed) if len(packed) == 4 else _v6_host(packed)


@lru_cache(_MAX_REMEMBERED)
def _v4_host(packed: bytes) -> str:
    # Without ipaddress: a proxy may have more clients than the cache has places.
    a, b, c, d = packed
    return f"{a}.{b}.{c}.{d}"


@lru_cache(_MAX_REMEMBERED)
def _v6_host(packed: bytes) -> str:
    return _shortest(ipaddress.IPv6Address(packed))


def _shortest(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    """An IPv4 address in an IPv6 one (RFC 4291, section 2.5.5.2) is IPv4, as for the proxy's own connections."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)
