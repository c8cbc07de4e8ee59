"""Makes kernel relays for connected sockets. Owns the BPF maps and the epoll that all of them share."""

from __future__ import annotations

import errno
import socket

from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.kernel.relay import KernelRelay
from sniproxy.relay.kernel.sockmap import MAX_PAIRS, SocketMap
from sniproxy.relay.kernel.watch import ReadyWatch
from sniproxy.util.reactor import IReactor


class KernelRelayUnavailable(Exception):
    """The kernel relay cannot be used. The message gives the reason and the cure."""


class KernelRelayFactory:
    """Loads the BPF program, and makes a relay for each pair of sockets.

    @param pairs: tunnels at once, at most.
    @raise KernelRelayUnavailable: the kernel refuses.
    """

    def __init__(self, reactor: IReactor, pairs: int = MAX_PAIRS) -> None:
        self._reactor = reactor
        try:
            self.sockets = SocketMap(pairs)
        except OSError as error:
            raise KernelRelayUnavailable(_why(error)) from error
        self._watch = ReadyWatch(reactor, self.sockets.ring)

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
        """A relay for two connected sockets. @return: None if L{SocketMap.add} refuses them."""
        pair = self.sockets.add(client, upstream)
        if pair is None:
            return None
        return KernelRelay(
            self._reactor,
            self.sockets,
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
        """Unload the program. Call this after the last tunnel has ended."""
        self._watch.close()
        self.sockets.close()


def _why(error: OSError) -> str:
    reason = error.strerror or str(error)
    if error.errno in (errno.EPERM, errno.EACCES):
        return f"{reason}: needs CAP_BPF and CAP_NET_ADMIN"
    return f"{reason}: needs Linux 6.6 or newer with BPF_SYSCALL and BPF_STREAM_PARSER"
