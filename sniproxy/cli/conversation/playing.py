"""One connection on which a player plays its side of a conversation."""

from __future__ import annotations

from typing import cast

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure

from sniproxy.conversation.player import Outgoing, Player
from sniproxy.conversation.recorder import MAX_ANY_FRAME_BYTES
from sniproxy.pulsar.commands import CommandError
from sniproxy.pulsar.frames import Frame, FrameError, FrameReader, encode


class PlayingProtocol(Protocol):
    """Plays one connection.

    @param timeout_s: seconds to wait for each frame of the peer, and for it to close at the end.
    @param factor: of the recorded times between frames; None: does not wait.
    @param close: close at the end. False: wait for the peer to close.
    @ivar finished: fires when the conversation is over and the connection closed or given up.
    """

    def __init__(
        self, player: Player, clock: IReactorTime, timeout_s: float, factor: float | None, *, close: bool
    ) -> None:
        self.player = player
        self.finished: Deferred[None] = Deferred()
        self._clock = clock
        self._timeout_s = timeout_s
        self._factor = factor
        self._close = close
        self._reader = FrameReader(MAX_ANY_FRAME_BYTES)
        self._call: IDelayedCall | None = None
        self._held: Outgoing | None = None
        self._over = False

    def connectionMade(self) -> None:
        cast(ITCPTransport, self.transport).setTcpNoDelay(True)
        self._advance()

    def dataReceived(self, data: bytes) -> None:
        if self._over:
            return
        try:
            for frame in self._reader.each(data):
                answer = self.player.receive(frame)
                if answer is not None:
                    self._send(answer)
                if self._held is None:
                    self._advance()
        except (FrameError, CommandError) as error:
            self.player.unreadable(str(error))
            self._finish(abort=True)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._over:
            self.player.closed("" if reason.check(type(connectionDone.value)) else reason.getErrorMessage())
            self._finish(abort=False)

    def stop(self) -> None:
        """Give up."""
        self._finish(abort=True)

    def _advance(self) -> None:
        """Send what is due, then wait for the peer."""
        self._cancel()
        while not self._over:
            outgoing = self.player.outgoing()
            if outgoing is None:
                break
            if self._factor is not None and outgoing.wait_s * self._factor > 0:
                self._held = outgoing
                self._call = self._clock.callLater(outgoing.wait_s * self._factor, self._send_held)
                return
            self._send(outgoing.frame)
        if self.player.done and self._close:
            self._finish(abort=False)
        else:
            self._call = self._clock.callLater(self._timeout_s, self._timed_out)

    def _send_held(self) -> None:
        held, self._held, self._call = self._held, None, None
        assert held is not None
        self._send(held.frame)
        self._advance()

    def _send(self, frame: Frame) -> None:
        assert self.transport is not None
        self.transport.write(encode(frame.command, frame.section))

    def _timed_out(self) -> None:
        self._call = None
        self.player.timed_out(self._timeout_s)
        self._finish(abort=False)

    def _finish(self, abort: bool) -> None:
        if self._over:
            return
        self._over = True
        self._cancel()
        transport = cast(ITCPTransport, self.transport)
        if abort:
            transport.abortConnection()
        else:
            transport.loseConnection()
        self.finished.callback(None)

    def _cancel(self) -> None:
        if self._call is not None:
            self._call.cancel()
            self._call = None
