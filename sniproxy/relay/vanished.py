"""Detects peers that vanish while data waits for their acknowledgement, which pauses TCP keep-alive.

Linux ends a connection after ``TCP_USER_TIMEOUT`` without an acknowledgement (tcp(7)). It also counts the time in which
a peer announces a window of zero, and would end a tunnel whose reader only pauses (measured with Linux 6.18: a reader
that answered each window probe was lost after the timeout). So the option is off on every socket. The watch sets it on
a socket whose peer leaves retransmissions or several window probes unanswered, and clears it at the next check when the
peer has answered. The kernel does the rest: the relay gets ETIMEDOUT.

The watch also turns on keep-alive where it is off, as on a socket that was dialled: four system calls that a short
tunnel does not need.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

from twisted.internet.interfaces import IReactorTime

from sniproxy.net.sockopts import KEEPALIVE_COUNT, KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, keep_alive
from sniproxy.util.timerwheel import TICK_S, Deadline, timer_wheel_of

USER_TIMEOUT_MS = 1000 * (KEEPALIVE_IDLE + KEEPALIVE_COUNT * KEEPALIVE_INTERVAL)
"""Milliseconds without an acknowledgement: the same time as keep-alive's for a silent peer."""

INTERVAL_S = 10.0
"""Seconds between the end of one pass over all tunnels and the next pass."""

BATCH = 256
"""Tunnels checked before the reactor serves others: about a millisecond."""

PROBES = 4
"""Unanswered window probes before the option is set. Probe intervals double from 0.2 s to 120 s, so a few lost packets
do not reach this number."""

_RETRANSMITS, _PROBES, _INFO_SIZE = 2, 3, 8  # of struct tcp_info in linux/tcp.h

Sockets = tuple[socket.socket, ...]


def check_peer(sock: socket.socket) -> None:
    """Turn on keep-alive, and set ``TCP_USER_TIMEOUT`` while the peer does not answer; otherwise clear it.

    Ignores sockets that are not TCP.
    """
    if sock.family == socket.AF_UNIX or sock.fileno() < 0:
        return
    with suppress(OSError):  # the connection has ended
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE):
            keep_alive(sock)
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_SIZE)
        wanted = USER_TIMEOUT_MS if info[_RETRANSMITS] or info[_PROBES] >= PROBES else 0
        if sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) != wanted:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, wanted)


def end_time_limit(sock: socket.socket) -> None:
    """Clear C{TCP_USER_TIMEOUT}: the socket gets another owner, which does not know that it is set."""
    if sock.family != socket.AF_UNIX:
        with suppress(OSError):  # the connection has ended
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 0)


class VanishedPeers:
    """Checks the sockets of all tunnels periodically, in batches.

    @param tunnels: returns both sockets of each current tunnel.
    """

    def __init__(self, reactor: IReactorTime, tunnels: Callable[[], Iterable[Sockets]]) -> None:
        self._reactor = reactor
        self._tunnels = tunnels
        self._timer: Deadline | None = None

    def start(self) -> None:
        """Start checking. Does nothing if it has started."""
        if self._timer is None:
            self._timer = timer_wheel_of(self._reactor).after(INTERVAL_S, self._look)

    def stop(self) -> None:
        """Stop checking. L{start} may follow."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._batch(iter(list(self._tunnels())))

    def _batch(self, left: Any) -> None:
        count = 0
        for sockets in islice(left, BATCH):
            count += 1
            for sock in sockets:
                check_peer(sock)
        wheel = timer_wheel_of(self._reactor)
        if count == BATCH:
            self._timer = wheel.after(TICK_S, lambda: self._batch(left))
        else:
            self._timer = wheel.after(INTERVAL_S, self._look)
