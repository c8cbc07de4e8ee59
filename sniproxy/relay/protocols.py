"""What relays and their owners need of each other."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Protocol

from sniproxy.relay.relay import Ending
from sniproxy.relay.state import TunnelState


class Timeouts(Protocol):
    """The time limits of a tunnel, in seconds. C{idle} 0: none."""

    @property
    def idle(self) -> float: ...
    @property
    def half_closed(self) -> float: ...


class Owner(Protocol):
    """The owner of a tunnel."""

    @property
    def timeouts(self) -> Timeouts:
        """Of its tunnel."""

    def finish(self, ending: Ending) -> object:
        """The tunnel has ended. Both sockets are closed, or are being closed in order."""


class Tunnel(Protocol):
    """What a connection needs of its relay."""

    @property
    def sockets(self) -> tuple[socket.socket, ...]:
        """The client's and the target's. Empty: Python does not own them."""

    @property
    def answer(self) -> bytes:
        """See L{sniproxy.relay.relay.Relay.answer}."""

    @property
    def bytes_up(self) -> int: ...
    @property
    def bytes_down(self) -> int: ...
    @property
    def half_closed(self) -> bool: ...

    @property
    def movable(self) -> bool:
        """Whether L{give_back} works now. False before the relay has started, and when it has ended or is to end."""

    def give_back(self, take: Callable[[TunnelState], object]) -> None:
        """Stop moving bytes. @param take: gets the tunnel, at once or later. If it ends by itself meanwhile, its owner
        gets the ending instead."""

    def end(self, ending: Ending) -> None: ...
