"""Reads a ClientHello from a socket."""

from __future__ import annotations

import socket

from sniproxy.net.firstbytes import FirstBytes
from sniproxy.tls.clienthello import ClientHello, ClientHelloReader
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.reactor import IReactor


class HelloStage(FirstBytes[ClientHello]):
    """Reads a client's socket until the hello is complete; raises C{HelloError}. See L{FirstBytes}."""

    __slots__ = ("_reader",)

    def __init__(
        self, reactor: IReactor, sock: socket.socket, seconds: float, account: BufferAccount, spent: float = 0.0
    ) -> None:
        super().__init__(reactor, sock, seconds, account, "hello", spent)
        self._reader = ClientHelloReader()

    def parse(self, data: bytes) -> ClientHello | None:
        return self._reader.feed(data)

    def kept(self) -> int:
        return super().kept() + self._reader.kept
