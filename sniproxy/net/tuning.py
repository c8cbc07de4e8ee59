"""Socket options, in one place."""

from __future__ import annotations

import socket
import struct

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 60, 15, 4
"""Seconds of silence before the kernel asks whether a peer lives, seconds between questions, questions unanswered."""

_TCP_CLOSE = 7  # in tcp_info's first byte (Linux, tcp_states.h)
_ABORT = struct.pack("ii", 1, 0)


def tune(sock: socket.socket) -> None:
    """Small writes go out at once; a peer that vanished without a word is found after two minutes."""
    if sock.family != socket.AF_UNIX:
        tune_tcp(sock)


def tune_tcp(sock: socket.socket) -> None:
    """As L{tune}, for a socket that is known to be of TCP."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_COUNT)


def is_over(sock: socket.socket) -> bool:
    """Whether a TCP connection has been reset or given up; for sockets that are not read at the moment."""
    if sock.family == socket.AF_UNIX:
        return False
    return sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == _TCP_CLOSE


def reset_on_close(sock: socket.socket) -> None:
    """Let the socket's close be a reset (RST): what waits to be sent is dropped."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    except OSError:  # it is gone already
        pass
