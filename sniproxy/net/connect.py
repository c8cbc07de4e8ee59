"""Starts to connect a socket: from an address of this machine, or from a client's (C{target_source})."""

from __future__ import annotations

import errno
import socket

from sniproxy.net.transparent import bind_to_client

_NONBLOCK: int = getattr(socket, "SOCK_NONBLOCK", 0)
_INET, _INET6, _STREAM = int(socket.AF_INET), int(socket.AF_INET6), socket.SOCK_STREAM | _NONBLOCK

Begun = tuple[socket.socket, int]
"""A socket and an errno: 0 if it is connected, EINPROGRESS or EALREADY while it connects."""


def begin(host: str, port: int, source: str | None = None) -> Begun:
    """Start connecting to an IP address. The socket has no keep-alive: the tunnel sets it (L{sniproxy.relay.vanished}).

    @param source: the client's IP address, of the family of C{host}, which the socket gets. None: the system chooses.
    @raise OSError: no descriptor is left, or the system lacks the address family.
    @raise CannotBind: the socket cannot get the client's address.
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
    if number == errno.EINPROGRESS:  # a connect to this machine is usually complete by now
        number = sock.connect_ex((host, port))
    return sock, 0 if number == errno.EISCONN else number
