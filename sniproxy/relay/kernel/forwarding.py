"""Tunnels that the kernel forwards, for those who begin them: opened once, given what fits, closed at the end."""

from __future__ import annotations

import errno
import socket
from typing import Any

from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.kernel.gate import MAX_PAIRS, Gate
from sniproxy.relay.kernel.relay import KernelRelay
from sniproxy.relay.kernel.watch import ReadyWatch


class CannotForward(Exception):
    """The kernel does not do it. The message says why, and the cure."""


class Forwarding:
    """The gate and what stands beside it. @raise CannotForward: the kernel does not let us."""

    def __init__(self, reactor: Any, pairs: int = MAX_PAIRS) -> None:
        self._reactor = reactor
        try:
            self.gate = Gate(pairs)
        except OSError as error:
            raise CannotForward(_why(error)) from error
        self._watch = ReadyWatch(reactor, self.gate.ring)

    def relay(
        self,
        client: socket.socket,
        upstream: socket.socket,
        head: bytes,
        *,
        closer: LingeringCloser,
        idle: float,
        half_closed: float,
    ) -> KernelRelay | None:
        """A relay for two connected sockets. @return: None: they are not for the kernel, or it has enough of them."""
        pair = self.gate.join(client, upstream)
        if pair is None:
            return None
        return KernelRelay(
            self._reactor,
            self.gate,
            self._watch,
            pair,
            client,
            upstream,
            head,
            closer=closer,
            idle=idle,
            half_closed=half_closed,
        )

    def close(self) -> None:
        """No tunnel is left."""
        self._watch.close()
        self.gate.close()


def _why(error: OSError) -> str:
    said = error.strerror or str(error)
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"{said}: needs CAP_BPF and CAP_NET_ADMIN"
    return f"{said}: needs Linux 6.6 or newer with BPF_SYSCALL and BPF_STREAM_PARSER"
