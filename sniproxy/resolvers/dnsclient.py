"""Asks name servers: by UDP, by TCP when the answer does not fit, the next one when one does not answer.

Each question has a port of its own, takes answers from the server alone that was asked (the kernel sees to it), and
compares id and question: an answer is not easily made up by somebody else (RFC 5452).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from typing import Any, TypeVar, cast

import dns.message
import dns.rdatatype
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import DatagramProtocol, connectionDone
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from sniproxy.interfaces import Unavailable
from sniproxy.names import host_port
from sniproxy.resolvers.dnswire import BadAnswer, Found, found, question, read, truncated, why_unusable

PATIENCE = 1.0
"""Seconds for one server's answer by UDP, then again by TCP, before the next one is asked."""

ROUNDS = 2
"""How often a silent server is asked: a datagram may be lost."""

T = TypeVar("T")

Server = tuple[str, int]
"""Address and port."""


class _NoAnswer(Exception):
    """This server does not answer; the message says why."""


class NameServers:
    """@param servers: asked in this order."""

    def __init__(self, reactor: Any, servers: Sequence[Server]) -> None:
        self._reactor = reactor
        self._servers = servers

    async def ask(self, name: str, kind: dns.rdatatype.RdataType) -> Found:
        """What there is of this kind for a name.

        @raise Unavailable: no server says.
        """
        problems: dict[Server, str] = {}
        silent = list(self._servers)
        for _ in range(ROUNDS):
            for server in list(silent):
                try:
                    answer = await self._ask(server, question(name, kind))
                except _NoAnswer as error:
                    problems[server] = str(error)
                    continue
                silent.remove(server)
                why = why_unusable(answer)
                if why is None:
                    try:
                        return found(answer)
                    except BadAnswer as error:
                        why = str(error)
                problems[server] = why
        kind_text = dns.rdatatype.to_text(kind)
        told = ", ".join(f"{host_port(*server)}: {why}" for server, why in problems.items())
        raise Unavailable(f"no name server says what {kind_text} {name} has: {told}")

    async def _ask(self, server: Server, asked: dns.message.QueryMessage) -> dns.message.Message:
        datagram = _Datagram(asked, server)
        is_v6 = ":" in server[0]
        port = self._reactor.listenUDP(0, datagram, interface="::" if is_v6 else "")
        try:
            answer = await self._in_time(datagram.answer)
        finally:
            port.stopListening()
        if not truncated(answer):
            return answer
        endpoint = (TCP6ClientEndpoint if is_v6 else TCP4ClientEndpoint)(self._reactor, *server, timeout=30)
        stream = _Stream(asked)
        try:
            await self._in_time(connectProtocol(endpoint, stream))
            return await self._in_time(stream.answer)
        finally:
            if stream.transport is not None:
                cast(ITCPTransport, stream.transport).abortConnection()

    async def _in_time(self, waiting: Deferred[T]) -> T:
        try:
            return await waiting.addTimeout(PATIENCE, self._reactor)
        except DeferredTimeout as error:
            raise _NoAnswer(f"silent for {PATIENCE:g} s") from error
        except _NoAnswer:
            raise
        except (ConnectError, OSError) as error:
            raise _NoAnswer(f"no connection by TCP: {error}") from error


class _Datagram(DatagramProtocol):
    """One question by UDP."""

    noisy = False

    def __init__(self, asked: dns.message.QueryMessage, server: Server) -> None:
        self.answer: Deferred[dns.message.Message] = Deferred()
        self._asked = asked
        self._server = server

    def startProtocol(self) -> None:
        assert self.transport is not None
        self.transport.connect(*self._server)
        try:
            self.transport.write(self._asked.to_wire())  # type: ignore[call-arg]  # it is connected
        except OSError as error:  # no way there
            self._fail(f"cannot be reached: {error.strerror}")

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        answer = read(self._asked, datagram)
        if answer is not None and not self.answer.called:
            self.answer.callback(answer)

    def connectionRefused(self) -> None:
        self._fail("nobody listens there")

    def stopProtocol(self) -> None:
        self.connectionRefused()  # as epoll's reactor tells of it

    def _fail(self, why: str) -> None:
        if not self.answer.called:
            self.answer.errback(_NoAnswer(why))


class _Stream(Int16StringReceiver):
    """One question by TCP (RFC 7766)."""

    def __init__(self, asked: dns.message.QueryMessage) -> None:
        self.answer: Deferred[dns.message.Message] = Deferred()
        self._asked = asked

    def connectionMade(self) -> None:
        self.sendString(self._asked.to_wire())  # type: ignore[no-untyped-call]

    def stringReceived(self, string: bytes) -> None:
        answer = read(self._asked, string)
        if not self.answer.called:
            if answer is None:
                self.answer.errback(_NoAnswer("by TCP it answers something else"))
            else:
                self.answer.callback(answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self.answer.called:
            self.answer.errback(_NoAnswer("by TCP it ends without an answer"))


def parse_server(text: str) -> Server:
    """C{192.0.2.53}, C{192.0.2.53:5353}, C{2001:db8::53}, C{[2001:db8::53]:5353}.

    @raise ValueError: it is none of these.
    """
    host, port = text.strip(), "53"
    if host.startswith("["):
        host, bracket, rest = host[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise ValueError(text)
        port = rest[1:] or port
    elif host.count(":") == 1:
        host, _, port = host.partition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise ValueError(text)
    return str(ipaddress.ip_address(host)), int(port)


def system_servers(text: str) -> list[Server]:
    """Those of a resolv.conf; the one of this machine when it names none (resolv.conf(5)).

    @param text: the file's.
    """
    servers = []
    for line in text.splitlines():
        words = line.split()
        if len(words) >= 2 and words[0] == "nameserver":
            try:
                servers.append((str(ipaddress.ip_address(words[1])), 53))
            except ValueError:  # libc lets it pass, too
                pass
    return servers or [("127.0.0.1", 53)]
