"""Waiting for a client's first frame, which must be CONNECT."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.net.descriptor import SocketDescriptor, pending_error
from sniproxy.net.hello import ClientGone, HelloTimeout
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, read, type_name
from sniproxy.pulsar.frames import FrameError, FrameReader

MOST_FIRST = 256 * 1024
"""Bytes of a CONNECT; credentials may be long, but not without end."""

_READ = 65_536
_TLS = (b"\x16\x03", b"\x80")  # a handshake's record; SSLv2's hello, as some old stacks begin
_HTTP = (b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI")


class NotConnect(Exception):
    """The first bytes are no CONNECT.

    @ivar speaks_tls: they are TLS's. @ivar speaks_pulsar: they are another frame of Pulsar's.
    """

    def __init__(self, reason: str, speaks_tls: bool = False, speaks_pulsar: bool = False) -> None:
        super().__init__(reason)
        self.speaks_tls = speaks_tls
        self.speaks_pulsar = speaks_pulsar


class FirstFrame(SocketDescriptor):
    """Reads a client's socket until its first frame is whole. The socket stays its owner's.

    @ivar received: all bytes that have come, as they came: the frame, and what came behind it in the same read.
    @param seconds: the frame's deadline, counted from now.
    """

    __slots__ = ("_done", "_reactor", "_reader", "_timer", "received")

    def __init__(self, reactor: Any, sock: socket.socket, seconds: float) -> None:
        super().__init__(sock)
        self.received = bytearray()
        self._reactor = reactor
        self._reader = FrameReader(MOST_FIRST)
        self._done: Deferred[pb.CommandConnect] = Deferred(lambda _: self._stop())
        late = HelloTimeout(f"no whole CONNECT within {seconds:g} s")
        self._timer = reactor.callLater(seconds, self._fail, late)
        reactor.addReader(self)

    def connect(self) -> Deferred[pb.CommandConnect]:
        """Fires with the command.

        @raise NotConnect: it is another one. @raise HelloTimeout: it did not come in time.
        @raise ClientGone: the client left.
        """
        return self._done

    def doRead(self) -> None:
        try:
            data = self.sock.recv(_READ)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(ClientGone(error.strerror))
            return
        if not data:
            self._fail(ClientGone("it ended the connection"))
            return
        self.received += data
        try:
            command = self._first(data)
        except NotConnect as error:
            self._fail(error)
            return
        if command is not None:
            self._stop()
            self._done.callback(command)

    def connectionLost(self, reason: Failure) -> None:
        self._fail(ClientGone(pending_error(self.sock).strerror))

    def _first(self, data: bytes) -> pb.CommandConnect | None:
        if self.received.startswith(_TLS):
            cure = "this port speaks plaintext: use a pulsar:// service URL; the bridge has the TLS"
            raise NotConnect(f"the client speaks TLS; {cure}", speaks_tls=True)
        if self.received.startswith(_HTTP):
            raise NotConnect("the client speaks HTTP, not Pulsar's binary protocol")
        try:
            frames = self._reader.feed(data)
            if not frames:
                return None
            command = read(frames[0].command)
        except FrameError as error:
            # The frames before the bad bytes are good ones.
            raise NotConnect(f"the first bytes are no Pulsar frame: {error}") from error
        except CommandError as error:
            raise NotConnect(f"the first frame cannot be read: {error}", speaks_pulsar=True) from error
        if command.type != pb.BaseCommand.CONNECT:
            raise NotConnect(f"the first frame is {type_name(command)}, not CONNECT", speaks_pulsar=True)
        return command.connect

    def _fail(self, error: Exception) -> None:
        self._stop()
        if not self._done.called:
            self._done.errback(error)

    def _stop(self) -> None:
        self._reactor.removeReader(self)
        if self._timer.active():
            self._timer.cancel()
