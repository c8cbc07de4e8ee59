"""Reads a client's first frame, which must be CONNECT."""

from __future__ import annotations

import socket

from sniproxy.net.firstbytes import FirstBytes
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, read, type_name
from sniproxy.pulsar.frames import FrameError, FrameReader
from sniproxy.tls.nottls import MAX_PREFIX_BYTES, Protocol, protocol_of
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.reactor import IReactor

MAX_FRAME_BYTES = 256 * 1024
"""Largest CONNECT in bytes. Credentials may be long."""


class NotConnect(Exception):
    """The first bytes are no CONNECT.

    @ivar speaks_tls: they are TLS. @ivar speaks_pulsar: they are another Pulsar frame.
    """

    def __init__(self, reason: str, speaks_tls: bool = False, speaks_pulsar: bool = False) -> None:
        super().__init__(reason)
        self.speaks_tls = speaks_tls
        self.speaks_pulsar = speaks_pulsar


class FirstFrame(FirstBytes[pb.CommandConnect]):
    """Reads a client's socket until its first frame is complete, or raises L{NotConnect}. See L{FirstBytes}."""

    __slots__ = ("_reader",)

    def __init__(self, reactor: IReactor, sock: socket.socket, seconds: float, account: BufferAccount) -> None:
        super().__init__(reactor, sock, seconds, account, "CONNECT")
        self._reader = FrameReader(MAX_FRAME_BYTES)

    def parse(self, data: bytes) -> pb.CommandConnect | None:
        protocol = protocol_of(bytes(self.received[:MAX_PREFIX_BYTES]))
        if protocol in (Protocol.TLS, Protocol.SSLV2):
            cure = "this port is plaintext: use a pulsar:// service URL; the bridge speaks TLS with the brokers"
            raise NotConnect(f"the client speaks TLS; {cure}", speaks_tls=True)
        if protocol is Protocol.HTTP:
            raise NotConnect("the client speaks HTTP, not Pulsar's binary protocol")
        if protocol in (Protocol.PROXY_V1, Protocol.PROXY_V2):
            cure = "turn off send-proxy in the load balancer"
            raise NotConnect(f"the client sends a PROXY protocol header, which a bridge does not read: {cure}")
        try:
            frames = self._reader.feed(data)
            if not frames:
                return None
            command = read(frames[0].command)
        except FrameError as error:
            raise NotConnect(f"the first bytes are not a Pulsar frame: {error}") from error
        except CommandError as error:
            raise NotConnect(f"the first frame cannot be parsed: {error}", speaks_pulsar=True) from error
        if command.type != pb.BaseCommand.CONNECT:
            raise NotConnect(f"the first frame is {type_name(command)}, not CONNECT", speaks_pulsar=True)
        return command.connect
