"""Dials targets from the client's own address: C{target_source = "client"}, as HAProxy's C{usesrc clientip}.

Linux lets a socket have an address that is not of this machine (C{IP_TRANSPARENT}, ip(7)). It needs CAP_NET_RAW or
CAP_NET_ADMIN, and the target's answers must be routed through this machine.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
from functools import lru_cache

from sniproxy.util.names import plain_address

_IP_TRANSPARENT, _IPV6_TRANSPARENT = 19, 75
"""Of Linux's in.h and in6.h; Python lacks the second."""

_IP_BIND_ADDRESS_NO_PORT = 24
"""C{connect} chooses the port, not C{bind}: one client's port then serves for several targets (ip(7))."""

_MAX_REMEMBERED = 1024

NO_RIGHT = "this process has neither CAP_NET_RAW nor CAP_NET_ADMIN"


class CannotBind(OSError):
    """A socket cannot get the client's address; C{strerror} says why. The target is not at fault."""


class NoSource(Exception):
    """A client has no address to dial from. The message says why."""


def client_source(client: str) -> str:
    """The address to dial a client's targets from.

    @param client: ``192.0.2.7:50123``, ``[2001:db8::7]:50123`` or ``unix``.
    @raise NoSource: targets could not answer to it.
    """
    return _source(client.rpartition(":")[0])


@lru_cache(_MAX_REMEMBERED)
def _source(host: str) -> str:
    if not host:
        raise NoSource("the client of a unix socket has no address")
    address = plain_address(host)
    # From 0.0.0.0, which a PROXY protocol header may name, the system would dial with an address of its own.
    if address.is_unspecified or address.is_multicast or address.is_link_local or address == _BROADCAST:
        raise NoSource(f"the client's address {address} is not that of a single host in a routed network")
    return str(address)


_BROADCAST = ipaddress.IPv4Address("255.255.255.255")


def why_not_from(source: str, host: str) -> str | None:
    """Why a target's address cannot be dialled from a client's. None: it can be. Both are IP addresses."""
    if (":" in source) != (":" in host):
        return f"not dialled from the client {source}: it has no IPv{6 if ':' in host else 4} address"
    if _is_loopback(source) and not _is_loopback(host):
        return f"not dialled from the client {source}: a loopback address has no way to other hosts"
    return None


@lru_cache(_MAX_REMEMBERED)
def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback


def bind_to_client(sock: socket.socket, source: str) -> None:
    """Give a socket the client's address, and a free port.

    @param source: an IP address of the socket's family.
    @raise CannotBind: the capability is missing, or the address cannot be used.
    """
    try:
        _make_transparent(sock)
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((source, 0))
    except OSError as error:
        raise cannot_bind(source, error.errno or errno.EIO) from error


def cannot_bind(source: str, number: int) -> CannotBind:
    """The error of a socket that cannot get the client's address. @param number: an errno."""
    why = NO_RIGHT if number == errno.EPERM else os.strerror(number)
    return CannotBind(number, f"cannot dial from the client {source}: {why}")


def why_unavailable() -> str | None:
    """Why this process cannot dial from clients' addresses, with the cure. None: it can."""
    if sys.platform != "linux":
        return "only Linux can dial from a client's address; remove it"
    try:
        with _any_socket() as sock:
            _make_transparent(sock)
    except PermissionError:
        return (
            f"{NO_RIGHT}; add CAP_NET_RAW, as by AmbientCapabilities= of a systemd unit, "
            "and run --check as the user of the proxy"
        )
    except OSError as error:
        return f"this system cannot dial from a client's address: {error.strerror}"
    return None


def _any_socket() -> socket.socket:
    try:
        return socket.socket(socket.AF_INET)
    except OSError:  # a system without IPv4
        return socket.socket(socket.AF_INET6)


def _make_transparent(sock: socket.socket) -> None:
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, _IPV6_TRANSPARENT, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, _IP_TRANSPARENT, 1)
