"""One question to one name server by TCP (RFC 7766)."""

from __future__ import annotations

from collections.abc import Callable

import dns.message
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from sniproxy.resolvers.dns.wire import parse_answer


class Stream(Int16StringReceiver):
    """@param said: called with the answer, or with why there will be none; perhaps more than once."""

    def __init__(self, asked: dns.message.QueryMessage, said: Callable[[dns.message.Message | str], None]) -> None:
        self._asked = asked
        self._said = said

    def connectionMade(self) -> None:
        self.sendString(self._asked.to_wire())  # type: ignore[no-untyped-call]

    def stringReceived(self, string: bytes) -> None:
        answer = parse_answer(self._asked, string)
        self._said("by TCP it answers something else" if answer is None else answer)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._said("by TCP it ends without an answer")


class _Streams(Factory):
    """Logs nothing when it starts and stops, unlike the factory of connectProtocol()."""

    noisy = False


def streams(stream: Stream) -> Factory:
    """A factory for one connection."""
    return _Streams.forProtocol(lambda: stream)
