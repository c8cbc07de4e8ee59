"""Asks name servers: by UDP, by TCP when the answer does not fit, the next one when one is late or fails.

Each question has a port of its own, takes answers from the server alone that was asked (the kernel sees to it), and
compares id and question: an answer is not easily made up by somebody else (RFC 5452).
"""

from __future__ import annotations

import errno
import ipaddress
import os
from collections.abc import Callable
from typing import Any, cast

import attrs
import dns.message
import dns.rdatatype
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import ITCPTransport
from twisted.python.failure import Failure

from sniproxy.interfaces import Unavailable
from sniproxy.resolvers.dns.resolvconf import ResolvConf, Server
from sniproxy.resolvers.dns.servers import ServerStates
from sniproxy.resolvers.dns.stream import Stream, streams
from sniproxy.resolvers.dns.udpsocket import DatagramSocket
from sniproxy.resolvers.dns.wire import (
    MIN_TTL_S,
    QUERY_REFUSED,
    SERVER_FAILED,
    BadMessage,
    DNSAnswer,
    extract_answer,
    is_truncated,
    may_reject_edns,
    parse_answer,
    question,
    rejects_edns,
    why_unusable,
)
from sniproxy.util.names import host_port

NEXT_SERVER_DELAY_S = 0.3
"""Seconds without an answer before the next server is asked, too; twice as long in each further round."""

QUERY_TIMEOUT_S = 4.0
"""Seconds for a question at most, however many servers there are: less than a resolver's deadline, so that the cause
is said."""

TOO_MANY_FILES = "too many open files"
NO_ANSWER = "no answer"


class QueryFailed(Unavailable):
    """No name server gives an answer; the message has the cause and what each server did.

    @ivar cause: L{TOO_MANY_FILES}, C{server failed}, C{query refused} or L{NO_ANSWER}.
    """

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause
        self.local = cause == TOO_MANY_FILES


class NameServers:
    """@param conf: gives the servers, their order and the number of attempts, for each question anew."""

    def __init__(self, reactor: Any, conf: Callable[[], ResolvConf]) -> None:
        self._reactor = reactor
        self._conf = conf
        self._states = ServerStates()
        self._turn = 0

    async def ask(self, name: str, kind: dns.rdatatype.RdataType) -> DNSAnswer:
        """What there is of this kind for a full name; the search list is not used here.

        @raise LookupFailed: no server gives an answer.
        """
        conf = self._conf()
        servers = list(conf.servers)
        if conf.rotate:
            first = self._turn % len(servers)
            self._turn += 1
            servers = servers[first:] + servers[:first]
        servers = self._states.order(servers, self._reactor.seconds())
        return await _Lookup(self._reactor, conf, servers, self._states, name, kind).answer


@attrs.frozen
class _Query:
    """One to send. @ivar round: 0 at first. @ivar edns: with an OPT record."""

    server: Server
    round: int
    edns: bool


class _Lookup:
    """One question. The next server is asked when one is late or fails; a late answer counts until the end."""

    def __init__(
        self,
        reactor: Any,
        conf: ResolvConf,
        servers: list[Server],
        states: ServerStates,
        name: str,
        kind: dns.rdatatype.RdataType,
    ) -> None:
        self._reactor = reactor
        self._states = states
        self._name = name
        self._kind = kind
        self._timeout = conf.timeout
        self._queue: list[_Query] = []
        without = {server for server in servers if states.without_edns(server, reactor.seconds())}
        for number in range(conf.attempts):
            # A silent server may be one that drops questions with an OPT record (RFC 6891): later ones have none.
            self._queue += [_Query(server, number, not number and server not in without) for server in servers]
        self._talks: dict[Server, _Exchange] = {}
        self._problems: dict[Server, str] = {}
        self._partial: DNSAnswer | None = None
        self._ended = False
        self._round = 0
        self._next_timer: Any = None
        self._begun = reactor.seconds()
        self._end_timer = reactor.callLater(QUERY_TIMEOUT_S, self._fail)
        self.answer: Deferred[DNSAnswer] = Deferred(lambda _: self._stop())
        self._next()

    def _next(self) -> None:
        """Send the next query."""
        _cancel(self._next_timer)
        while self._queue:
            query = self._queue.pop(0)
            self._round = query.round
            try:
                self._talk(query.server).send(query.edns)
            except OSError as error:
                self._gave_up(query.server, _in_words(error))
                continue
            if self._queue:
                self._next_timer = self._reactor.callLater(NEXT_SERVER_DELAY_S * 2**query.round, self._next)
            else:
                left = self._begun + QUERY_TIMEOUT_S - self._reactor.seconds()
                self._end_timer.reset(max(0.0, min(self._timeout, left)))
            return
        if not self._talks:
            self._fail()

    def _talk(self, server: Server) -> _Exchange:
        if server not in self._talks:

            def said(answer: dns.message.Message | str) -> None:
                if not self._ended and server in self._talks:
                    self._said(server, answer)

            self._talks[server] = _Exchange(self._reactor, server, self._name, self._kind, said)
        return self._talks[server]

    def _said(self, server: Server, answer: dns.message.Message | str) -> None:
        why = answer if isinstance(answer, str) else why_unusable(answer)
        if why is None:
            try:
                came = extract_answer(cast(dns.message.Message, answer))
            except BadMessage as error:
                why = str(error)
            else:
                self._note_silent()
                self._states.answered(server, self._talks[server].answered_edns, self._reactor.seconds())
                self._stop()
                self.answer.callback(came)
                return
        again = not isinstance(answer, str) and may_reject_edns(answer) and self._talks[server].answered_edns
        self._gave_up(server, why)
        if again:
            # Behind the other servers of this round: one of them may know the name.
            place = sum(query.round == self._round for query in self._queue)
            self._queue.insert(place, _Query(server, self._round, False))
        self._next()

    def _note_silent(self) -> None:
        now = self._reactor.seconds()
        for server, talk in self._talks.items():
            if not talk.by_tcp and now >= talk.begun + NEXT_SERVER_DELAY_S:
                self._states.silent(server, now)

    def _gave_up(self, server: Server, why: str) -> None:
        self._problems[server] = why
        self._queue = [query for query in self._queue if query.server != server]
        talk = self._talks.pop(server, None)
        if talk is not None:
            talk.close()
            self._partial = self._partial or talk.partial()

    def _fail(self) -> None:
        self._note_silent()
        for server, talk in self._talks.items():
            self._partial = self._partial or talk.partial()
            seconds = self._reactor.seconds() - self._begun
            silence = f"{NO_ANSWER} in {seconds:.2g} s" + (" by TCP" if talk.by_tcp else "")
            self._problems.setdefault(server, silence)
        self._stop()
        if self._partial is not None:
            self.answer.callback(self._partial)
            return
        cause = next((one for one in _CAUSES if any(one in why for why in self._problems.values())), NO_ANSWER)
        told = ", ".join(f"{host_port(*server)}: {why}" for server, why in self._problems.items())
        kind = dns.rdatatype.to_text(self._kind)
        self.answer.errback(QueryFailed(cause, f"{self._name} ({kind}): {cause}: {told}"))

    def _stop(self) -> None:
        self._ended = True
        _cancel(self._next_timer)
        _cancel(self._end_timer)
        talks, self._talks = self._talks, {}
        for talk in talks.values():
            talk.close()


_CAUSES = (TOO_MANY_FILES, SERVER_FAILED, QUERY_REFUSED)


class _Exchange:
    """One question to one server, which may be sent more than once.

    @param said: called with the answer, or with why there will be none.
    @ivar by_tcp: whether the answer is being fetched by TCP. @ivar begun: when the server was asked first.
    @ivar answered_edns: whether the question that was answered had an OPT record.
    """

    def __init__(
        self,
        reactor: Any,
        server: Server,
        name: str,
        kind: dns.rdatatype.RdataType,
        said: Callable[[dns.message.Message | str], None],
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._name = name
        self._kind = kind
        self._said = said
        self._asked: list[dns.message.QueryMessage] = []
        self._cut: dns.message.Message | None = None
        self._stream: Stream | None = None
        self._connecting: Deferred[Any] | None = None
        self.by_tcp = self.answered_edns = False
        self.begun = reactor.seconds()
        self._socket = DatagramSocket(reactor, *server, self._received, self._lost)

    def send(self, edns: bool) -> None:
        """Send the question, unless the answer is being fetched by TCP. @raise OSError: it cannot be sent."""
        if not self.by_tcp:
            asked = question(self._name, self._kind, edns)
            self._asked.append(asked)
            self._socket.send(asked.to_wire())

    def partial(self) -> DNSAnswer | None:
        """The records of an answer that was cut short, for when TCP fails; for the shortest time."""
        if self._cut is None:
            return None
        try:
            came = extract_answer(self._cut)
        except BadMessage:
            return None
        return DNSAnswer(came.records, MIN_TTL_S) if came.records else None

    def close(self) -> None:
        self._socket.close()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._stream is not None and self._stream.transport is not None:
            cast(ITCPTransport, self._stream.transport).abortConnection()

    def _received(self, data: bytes) -> None:
        for asked in self._asked:
            answer = parse_answer(asked, data)
            if answer is None:
                continue
            self.answered_edns = asked.edns >= 0
            if rejects_edns(asked, answer):
                self._asked.remove(asked)
                try:
                    self.send(edns=False)
                except OSError as error:
                    self._lost(error)
            elif is_truncated(answer) and why_unusable(answer) is None:
                self._cut = answer
                if not self.by_tcp:
                    self._ask_by_tcp(asked)
            else:
                self._said(answer)
            return

    def _lost(self, error: OSError) -> None:
        if not self.by_tcp:
            self._said(_in_words(error))
        else:
            self._socket.close()

    def _ask_by_tcp(self, asked: dns.message.QueryMessage) -> None:
        self.by_tcp = True
        endpoint = (TCP6ClientEndpoint if ":" in self._server[0] else TCP4ClientEndpoint)(self._reactor, *self._server)
        stream = self._stream = Stream(asked, self._said)
        self._connecting = endpoint.connect(streams(stream))
        self._connecting.addErrback(self._no_tcp)

    def _no_tcp(self, failure: Failure) -> None:
        number = getattr(failure.value, "osError", None)
        if number in (errno.EMFILE, errno.ENFILE):
            self._said(TOO_MANY_FILES)
        elif not failure.check(CancelledError):
            self._said(f"no connection by TCP: {failure.getErrorMessage()}")


def _in_words(error: OSError) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return TOO_MANY_FILES
    if error.errno == errno.ECONNREFUSED:
        return "connection refused"
    return f"cannot be reached: {error.strerror or os.strerror(error.errno or errno.EIO)}"


def _cancel(timer: Any) -> None:
    if timer is not None and timer.active():
        timer.cancel()


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
