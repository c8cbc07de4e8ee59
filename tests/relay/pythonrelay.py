"""The contract of relays for the Python relay, and how tests make one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.copy import CopyDirection
from sniproxy.relay.direction import Direction
from sniproxy.relay.poller import Poller, poller_of
from sniproxy.relay.relay import Relay
from tests.relay.deadlinecontract import HandClockContract, full_for_the_target
from tests.support.reactor import reactor

copying_relay = partial(Relay, directions=CopyDirection)
"""Makes a relay that copies."""


class PythonRelayContract(HandClockContract):
    """The contract for the relay on the reactor.

    @cvar way: makes its directions.
    @cvar poller: makes or finds its poller, from a clock.
    """

    way: ClassVar[Callable[..., Direction]] = CopyDirection
    poller: ClassVar[Callable[..., Poller]] = staticmethod(poller_of)

    def make(
        self,
        clock: Any,
        client: socket.socket,
        upstream: socket.socket,
        head: bytes,
        /,
        *,
        closer: LingeringCloser,
        idle: float,
        half_closed: float,
    ) -> Relay:
        return Relay(
            clock, client, upstream, head,
            directions=self.way, closer=closer, idle=idle, half_closed=half_closed, poller=self.poller(clock),
        )  # fmt: skip

    def leave_no_room(self) -> None:
        poller = self.poller(reactor)
        self.patch(poller, "watch", full_for_the_target(poller.watch))
        self.patch(self, "poller", lambda clock: poller)
