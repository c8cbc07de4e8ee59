"""One query to one name server over TCP (RFC 7766)."""

from __future__ import annotations

from collections.abc import Callable

import dns.message
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from sniproxy.resolvers.dns.wire import parse_answer


class Stream(Int16StringReceiver):
    """A TCP connection for one query.

    @param on_answer: called with the answer, or with a text that says why there is none. It may be called repeatedly.
    """

    def __init__(self, query: dns.message.QueryMessage, on_answer: Callable[[dns.message.Message | str], None]) -> None:
        self._query = query
        self._on_answer = on_answer

    def connectionMade(self) -> None:
        self.sendString(self._query.to_wire())  # type: ignore[no-untyped-call]

    def stringReceived(self, string: bytes) -> None:
        answer = parse_answer(self._query, string)
        self._on_answer("mismatched answer over TCP" if answer is None else answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._on_answer("TCP connection closed without an answer")


class _StreamFactory(Factory):
    """A factory that does not log its start and stop, unlike that of connectProtocol()."""

    noisy = False


def stream_factory(stream: Stream) -> Factory:
    """A factory for one connection."""
    return _StreamFactory.forProtocol(lambda: stream)
