"""The tunnels of a world's proxy move to a second one, by the code of an upgrade, over a simulated channel."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.error import CannotListenError

from sniproxy.admin.upgrades import OldProcess
from sniproxy.config.parser import parse
from sniproxy.events import Connection
from sniproxy.interfaces import Target
from sniproxy.relay.state import TunnelState
from sniproxy.server.upgrade.messages import Message, Tunnel
from sniproxy.server.upgrade.receiver import TunnelReceiver
from sniproxy.server.upgrade.sender import TunnelSender
from sniproxy.service import ProxyService
from tests.simulation.settings import configuration

if TYPE_CHECKING:
    from tests.simulation.world import World

VERSION = 1

MAX_TRANSIT_S = 0.2
"""Seconds that a message takes, at most. A tunnel in transit is not silent: its new process counts from its arrival."""


class NewEnd:
    """The new process's end of the channel, in place of L{sniproxy.server.upgrade.channel.Channel}."""

    def __init__(self, reactor: Any, sock: Line, received: Callable[..., None], ended: Callable[[str], None]) -> None:
        self._line = sock
        sock.received, sock.ended = received, ended

    def send(self, message: Message, *descriptors: int, sent: Callable[[], None] | None = None) -> None:
        # What the system has, the old process reads before anything else happens: see docs/reference/upgrade-protocol.
        if self._line.sender is not None:
            self._line.sender.answered(message)
        if sent is not None:
            sent()

    def close(self) -> None:
        """Nothing more is taken."""


class Line:
    """The channel. Messages of the old process arrive in order and later."""

    def __init__(self, world: World) -> None:
        self.sender: TunnelSender | None = None
        self.received: Callable[..., None] = lambda message, descriptors: None
        self.ended: Callable[[str], None] = lambda why: None
        self._world = world
        self._queue: deque[tuple[Message, list[int]]] = deque()
        self._cut = False

    def send(self, message: Message, *descriptors: int) -> None:
        """The old process sends a message. The system duplicates the descriptors, if the new process may open more."""
        kernel = self._world.kernel
        copies: list[int] = []
        if isinstance(message, Tunnel):
            self._world.note(f"a tunnel to {message.target.host} moves")
        try:
            for number in descriptors:
                copies.append(kernel.duplicate(number))
        except OSError:
            pass
        self._queue.append((message, copies))
        self._world.reactor.later(self._world.rng.choice((0.0, 0.001, MAX_TRANSIT_S)), self._arrive)

    def _arrive(self) -> None:
        if self._queue:
            self.received(*self._queue.popleft())

    def cut(self) -> None:
        """The old process stops to send: what has not arrived is dropped, and resumed there."""
        for _, copies in self._queue:
            for number in copies:
                self._world.kernel.close(number)
        self._queue.clear()
        self.ended("cut")
        if self.sender is not None:
            self.sender.stop()


def move(world: World) -> None:
    """Start a second proxy, and move the tunnels of the first to it. Only the first call does."""
    if world.line is not None:
        return
    old = world.service
    text = configuration(world.plan.settings, "second")
    new = ProxyService(parse(text, "world.toml"), world.reactor, world.record)
    try:
        new.startService()
    except CannotListenError:  # no descriptor is left
        return
    world.services.append(new)
    line = world.line = Line(world)

    def adopt(tunnel: Tunnel, record: Connection, target: Target, state: TunnelState) -> None:
        new._connections.adopt(new._context, tunnel, record, target, state)

    receiver: Any = TunnelReceiver  # its channel is a L{NewEnd} here
    receiver(world.reactor, line, OldProcess(1, 0), VERSION, adopt, _ignore, world.note)
    line.sender = TunnelSender(world.reactor, old._connections.live, line.send, lambda record: None, lambda: None)
    line.sender.start()


def _ignore(message: Message, descriptors: list[int]) -> None:
    """No other messages come."""
