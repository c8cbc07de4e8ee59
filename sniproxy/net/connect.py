"""Starts to connect a socket: from an address of this machine, or from a client's (C{target_source})."""

from __future__ import annotations

import errno
import socket

from sniproxy.net.transparent import bind_to_client, cannot_bind

_NONBLOCK: int = getattr(socket, "SOCK_NONBLOCK", 0)
_INET, _INET6, _STREAM = int(socket.AF_INET), int(socket.AF_INET6), socket.SOCK_STREAM | _NONBLOCK

_BAD_SOURCE = (errno.EADDRNOTAVAIL, errno.EINVAL)
"""What a connect from a client's address returns if no port is free, or if the system sends nothing from it."""

Begun = tuple[socket.socket, int]
"""A socket and an errno: 0 if it is connected, EINPROGRESS or EALREADY while it connects."""


_KINDS = {
    errno.ECONNREFUSED: "refused",
    errno.ETIMEDOUT: "timeout",
    errno.EHOSTUNREACH: "unreachable",
    errno.ENETUNREACH: "unreachable",
}


def failure_kind(number: int) -> str:
    """How a connect has failed, for counts. @param number: its errno.

    @return: ``refused``, ``timeout``, ``unreachable``, or ``failed`` for all others.
    """
    return _KINDS.get(number, FAILED)


FAILED = "failed"
"""A connect that failed in another way than L{failure_kind} names, or whose name was not found."""


def begin(host: str, port: int, source: str | None = None) -> Begun:
    """Start connecting to an IP address. The socket has no keep-alive: the tunnel sets it (L{sniproxy.relay.vanished}).

    @param source: the client's IP address, of the family of C{host}, which the socket gets. None: the system chooses.
    @raise OSError: no descriptor is left, or the system lacks the address family.
    @raise CannotBind: the socket cannot get the client's address, or all its ports to this target are in use.
    """
    sock = socket.socket(_INET6 if ":" in host else _INET, _STREAM)
    if not _NONBLOCK:
        sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if source is not None:
        try:
            bind_to_client(sock, source)
        except OSError:
            sock.close()
            raise
    number = sock.connect_ex((host, port))
    if source is not None and number in _BAD_SOURCE:
        sock.close()
        raise cannot_bind(source, number)
    if number == errno.EINPROGRESS:  # a connect to this machine is usually complete by now
        number = sock.connect_ex((host, port))
    return sock, 0 if number == errno.EISCONN else number
