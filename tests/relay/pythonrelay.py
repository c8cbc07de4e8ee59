"""The contract of relays for the relay in Python."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, ClassVar

from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.direction import Direction, Side
from sniproxy.relay.relay import Relay
from sniproxy.util.buffered import BufferAccount
from tests.relay.deadlinecontract import HandClockContract, NotifiedContract, full_for_the_target
from tests.support.reactor import reactor


class PythonRelayContract(HandClockContract, NotifiedContract):
    """The contract for the relay on the reactor. @cvar way: makes its directions."""

    way: ClassVar[Callable[..., Direction]] = Direction

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.addCleanup(self.check_reactor)

    def check_reactor(self) -> None:
        """A relay that has ended leaves nothing in the reactor. Tunnels that a test leaves open end here."""
        waits = [*reactor.getReaders(), *reactor.getWriters()]
        self.assertEqual([], [each for each in waits if isinstance(each, Side)])

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
        account: BufferAccount,
    ) -> Relay:
        return Relay(
            clock, client, upstream, head,
            closer=closer, idle=idle, half_closed=half_closed, account=account, directions=self.way,
        )  # fmt: skip

    def leave_no_room(self) -> None:
        self.patch(reactor, "addReader", full_for_the_target(reactor.addReader))
