"""Socket options of the proxy."""

from __future__ import annotations

import select
import socket
import struct

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 60, 15, 4
"""Seconds of silence before the first keep-alive probe, seconds between probes, unanswered probes before a reset."""

_ABORT = struct.pack("ii", 1, 0)


def tune(sock: socket.socket) -> None:
    """Send small writes at once, and detect a silent peer after two minutes."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        keep_alive(sock)


def keep_alive(sock: socket.socket) -> None:
    """Detect a silent peer after two minutes. @param sock: it is known to be TCP."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)


def is_over(sock: socket.socket) -> bool:
    """Whether a connection was reset or has timed out; for sockets that are currently not read.

    False for a connection that both ends closed in order: its last bytes may still be unread.
    """
    poll = select.poll()
    poll.register(sock, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def reset_on_close(sock: socket.socket) -> None:
    """Make the socket's close send a reset (RST): unsent data is dropped."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    except OSError:  # the socket is broken
        pass
