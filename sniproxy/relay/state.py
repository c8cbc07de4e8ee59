"""What a tunnel consists of while no relay moves it.

A relay gives a plain tunnel back with everything in it, and another relay, of the same kind or not and in the same
process or not, resumes it.
"""

from __future__ import annotations

import socket

import attrs

NOBODY, CLIENT, TARGET, BOTH = range(4)
"""Sides of a tunnel."""

SIDE_NAMES = {CLIENT: "client", TARGET: "target"}


@attrs.frozen
class TunnelState:
    """A tunnel that was given back. Its sockets are the caller's.

    @ivar held_up: bytes read from the client and not written to the target.
    @ivar held_down: bytes read from the target and not written to the client.
    @ivar ended: the sides whose end (FIN) was read. It is passed on behind the bytes held.
    @ivar first: the side that ended first, or C{NOBODY}.
    @ivar bytes_up: bytes written to the target so far.
    @ivar bytes_down: bytes written to the client so far.
    @ivar answer: see L{sniproxy.relay.relay.Relay.answer}.
    @ivar quiet_s: seconds since the last byte crossed or a side ended. The relay in Python, which looks only at times,
        may say less: by one of its checks, and 0 if the tunnel has no timeout.
    """

    client: socket.socket
    target: socket.socket
    held_up: bytes = b""
    held_down: bytes = b""
    ended: int = NOBODY
    first: int = NOBODY
    bytes_up: int = 0
    bytes_down: int = 0
    answer: bytes = b""
    quiet_s: float = 0.0

    def close(self) -> None:
        """Close both sockets of this process. A process that has copies of them keeps the tunnel."""
        self.client.close()
        self.target.close()
