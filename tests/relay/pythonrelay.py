"""The contract of relays for the relay in Python."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import ClassVar

from sniproxy.relay.direction import Direction, Side
from sniproxy.relay.relay import Relay
from tests.relay.deadlinecontract import HandClockContract, NotifiedContract, full_for_the_target
from tests.relay.relaycontract import Settings
from tests.support.reactor import reactor


def make_relay(
    settings: Settings,
    client: socket.socket,
    upstream: socket.socket,
    head: bytes,
    directions: Callable[..., Direction] = Direction,
) -> Relay:
    """See L{tests.relay.relaycontract.Maker}."""
    one = settings
    return Relay(
        one.clock, client, upstream, head,
        closer=one.closer, idle=one.idle, half_closed=one.half_closed, account=one.account, directions=directions,
    )  # fmt: skip


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

    def make(self, settings: Settings, client: socket.socket, upstream: socket.socket, head: bytes) -> Relay:
        return make_relay(settings, client, upstream, head, self.way)

    def leave_no_room(self) -> None:
        self.patch(reactor, "addReader", full_for_the_target(reactor.addReader))
