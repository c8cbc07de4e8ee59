"""Messages of an upgrade, and both ends of its channel."""

from __future__ import annotations

import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from sniproxy.events import Connection
from sniproxy.interfaces import Target
from sniproxy.relay.state import TunnelState
from sniproxy.server.upgrade import messages
from sniproxy.server.upgrade.channel import receive, socket_pair
from sniproxy.server.upgrade.messages import Message, encode
from tests.support.sockets import TIMEOUT_S, SocketTestCase, connected, in_thread

TARGET = Target("127.0.0.1", 6651)


def tunnel(number: int = 1, up: bytes = b"", down: bytes = b"", **changes: Any) -> messages.Tunnel:
    """A message with a tunnel. @param up: held for the target. @param down: held for the client."""
    record = Connection("a-1", 1234.5, "main", "192.0.2.1:1000", route="*.example", target=str(TARGET))
    made = messages.Tunnel(
        number, messages.to_record(record), messages.to_destination(TARGET), ("*.example", None), 3.0, False, len(up),
        len(down), 0, 0, 11, 22, b"", 1.0,
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)


class FakeTunnel:
    """What a relay shows of a tunnel. @ivar take: gets its state; None: nothing has asked for it."""

    def __init__(self) -> None:
        self.movable = True
        self.take: Callable[[TunnelState], object] | None = None

    def give_back(self, take: Callable[[TunnelState], object]) -> None:
        assert self.take is None
        self.movable = False
        self.take = take


class FakeConnection:
    """A connection with a tunnel, as L{sniproxy.connection.lifecycle.Lifecycle} shows it.

    @ivar left: how often the tunnel has left. @ivar resumed: its states when it was resumed.
    """

    def __init__(self, name: str = "a-1") -> None:
        self.record = Connection(name, 1234.5, "main", "192.0.2.1:1000", route="*.example", target=str(TARGET))
        self.target: Target | None = TARGET
        self.permit: Any = SimpleNamespace(route=("*.example", None))
        self.tunnel: FakeTunnel | None = FakeTunnel()
        self.ending = self.ended = False
        self.may_half_close = True
        self.left = 0
        self.resumed: list[TunnelState] = []
        self.far = [socket.socketpair() for _ in range(2)]

    def elapsed(self) -> float:
        return 7.0

    def leave(self) -> None:
        self.left += 1

    def resume(self, state: TunnelState) -> None:
        self.resumed.append(state)
        self.tunnel = FakeTunnel()

    @property
    def asked(self) -> bool:
        """Whether the relay is to give it back."""
        return self.tunnel is not None and self.tunnel.take is not None

    def give(self, up: bytes = b"", down: bytes = b"") -> TunnelState:
        """The relay gives it back. @return: what it has given."""
        assert self.tunnel is not None and self.tunnel.take is not None
        take, self.tunnel.take = self.tunnel.take, None
        state = TunnelState(self.far[0][0], self.far[1][0], up, down, 0, 0, 11, 22, b"", 1.0)
        take(state)
        return state

    def close(self) -> None:
        for pair in self.far:
            for sock in pair:
                sock.close()


class ChannelCase(SocketTestCase):
    """A channel of the code under test, of which the test has the other end."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        await super().setUp()
        self.ours, self.theirs = socket_pair()
        self.theirs.settimeout(TIMEOUT_S)
        for sock in (self.ours, self.theirs):
            self.addCleanup(sock.close)

    def say(self, message: Message, *descriptors: socket.socket) -> None:
        """Send a message. @param descriptors: are not closed."""
        socket.send_fds(self.theirs, [encode(message)], [sock.fileno() for sock in descriptors])

    async def heard(self) -> Message | None:
        """The next message of the code under test. None: it has closed the channel."""
        message, descriptors = await in_thread(receive, self.theirs)
        self.assertEqual([], descriptors)
        return message

    def say_tunnel(self, message: messages.Tunnel, *parts: bytes) -> tuple[socket.socket, socket.socket]:
        """Send a tunnel. @param parts: held bytes. @return: the far ends, of the client and of the target."""
        (client, ours), (target, theirs) = connected(), connected()
        for sock in (client, target):
            self.addCleanup(sock.close)
        with ours, theirs:
            self.say(message, ours, theirs)
        for held in messages.held(*parts):
            self.say(held)
        return client, target
