"""Socket options, in one place."""

from __future__ import annotations

import select
import socket
import struct

KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 60, 15, 4
"""Seconds of silence before the kernel asks whether a peer lives, seconds between questions, questions unanswered."""

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
    """Whether a connection has been reset or given up; for sockets that are not read at the moment.

    One of which both ends have ended in order is not: what was sent before the end may still wait to be read.
    """
    poll = select.poll()
    poll.register(sock, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


def reset_on_close(sock: socket.socket) -> None:
    """Let the socket's close be a reset (RST): what waits to be sent is dropped."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _ABORT)
    except OSError:  # it is gone already
        pass
