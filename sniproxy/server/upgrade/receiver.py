"""Takes the tunnels of an old process, also those that it opens after the upgrade."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from sniproxy.admin.upgrades import OldProcess
from sniproxy.events import Connection
from sniproxy.interfaces import Target
from sniproxy.relay.state import TunnelState
from sniproxy.server.upgrade import messages
from sniproxy.server.upgrade.channel import ENDED, Channel, close_all, nothing
from sniproxy.server.upgrade.messages import BadMessage, Message
from sniproxy.util.reactor import IReactor

NO_DESCRIPTORS = "no descriptors are left (limit of open files)"
"""Why a tunnel is declined whose descriptors did not arrive."""

Adopt = Callable[[messages.Tunnel, Connection, Target, TunnelState], None]
"""Takes a tunnel over, with the record of its connection and its target."""


class TunnelReceiver:
    """The channel to one old process.

    @param old: the process, as known so far. @param version: of the protocol.
    @param adopt: called with each tunnel.
    @param others: called with each other message and its descriptors, which it owns.
    @param lost: called once, with the reason, when the old process has closed the channel.
    @ivar old: the process, and what is left there. @ivar adopted: number of tunnels that it has handed over.
    @ivar open: whether more may come.
    """

    def __init__(
        self,
        reactor: IReactor,
        sock: socket.socket,
        old: OldProcess,
        version: int,
        adopt: Adopt,
        others: Callable[[Message, list[int]], None],
        lost: Callable[[str], None],
    ) -> None:
        self.old = old
        self.version = version
        self.adopted = 0
        self.open = True
        self._adopt = adopt
        self._others = others
        self._lost = lost
        self._tunnel: tuple[messages.Tunnel, list[int], bytearray] | None = None
        self._promised: dict[int, tuple[TunnelState, Callable[[], None]]] = {}
        self._channel = Channel(reactor, sock, self._received, self._ended)

    def send(self, message: Message, sent: Callable[[], None] = nothing) -> None:
        """Send a message to the old process. @param sent: see L{Channel.send}."""
        self._channel.send(message, sent=sent)

    def order(self, message: messages.Order) -> None:
        """Send an order to the old process, unless its version of the protocol does not have it."""
        if self.version >= messages.FIRST_VERSIONS[type(message)]:
            self.send(message)

    def fail(self, why: str) -> None:
        """Close the channel, because the old process has sent what it must not send. It keeps what it has."""
        self._channel.close()
        self.forget_promises()
        self._ended(why)

    def forget_promises(self) -> None:
        """The old process continues with the tunnels whose C{took} it has not read."""
        for state, _ in self._promised.values():
            state.close()
        self._promised = {}

    def detach(self) -> socket.socket | None:
        """Give this end of the channel away. @return: None: it is closed, because it was lost or a tunnel arrives."""
        sock = None
        if self.open and self._tunnel is None and not self._promised:
            with suppress(OSError):
                sock = self._channel.sock.dup()
        self.close()
        return sock

    def close(self) -> None:
        """Take no more tunnels: the old process keeps what it has."""
        self.open = False
        self._channel.close()
        self._drop_half()
        self.forget_promises()

    def _received(self, message: Message, descriptors: list[int]) -> None:
        if isinstance(message, messages.Tunnel) and self._tunnel is None:
            self._tunnel = message, descriptors, bytearray()
            self._complete()
        elif isinstance(message, messages.Held) and self._tunnel is not None:
            close_all(descriptors)
            self._tunnel[2].extend(message.data)
            self._complete()
        elif isinstance(message, messages.Remaining):
            close_all(descriptors)
            self.old = OldProcess(self.old.pid, message.tunnels, message.ends)
        else:
            if isinstance(message, messages.Aborted):
                self.forget_promises()
            self._others(message, descriptors)

    def _complete(self) -> None:
        """Adopt the tunnel that arrives, if all its held bytes have come."""
        assert self._tunnel is not None
        message, descriptors, data = self._tunnel
        if len(data) < message.held_up + message.held_down:
            return
        self._tunnel = None
        if len(descriptors) < 2:
            close_all(descriptors)
            self.send(messages.Declined(message.number, NO_DESCRIPTORS))
            return
        client, target = (socket.socket(fileno=descriptor) for descriptor in descriptors)
        for sock in (client, target):
            sock.setblocking(False)
        state = TunnelState(
            client,
            target,
            bytes(data[: message.held_up]),
            bytes(data[message.held_up :]),
            message.ended,
            message.first,
            message.bytes_up,
            message.bytes_down,
            message.answer,
            message.quiet_s,
        )
        try:
            leads_to = messages.from_destination(message.target)
        except BadMessage as error:
            state.close()
            self.send(messages.Declined(message.number, str(error)))
            return
        record = messages.from_record(message.record, leads_to, message.bytes_up, message.bytes_down)
        self._promised[message.number] = state, partial(self._adopt, message, record, leads_to, state)
        # No byte moves before the system has this message: the old process resumes tunnels that were not taken.
        self._channel.send(messages.Took(message.number), sent=partial(self._keep_promise, message.number))

    def _keep_promise(self, number: int) -> None:
        _, adopt = self._promised.pop(number)
        self.adopted += 1
        adopt()

    def _ended(self, why: str) -> None:
        self.open = False
        self.old = OldProcess(self.old.pid, 0)
        self._drop_half()
        if why == ENDED:  # then it resumes nothing
            for number in list(self._promised):
                self._keep_promise(number)
        self.forget_promises()
        self._lost(why)

    def _drop_half(self) -> None:
        if self._tunnel is not None:
            close_all(self._tunnel[1])
            self._tunnel = None
