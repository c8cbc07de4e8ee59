"""DNS client: queries name servers over UDP, over TCP for large answers, and the next server if one is late or fails.

To resist forged answers (RFC 5452), each lookup uses a local port of its own for each server, accepts answers only from
that server (the kernel checks it), and compares id and question.
"""

from __future__ import annotations

import errno
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
from sniproxy.resolvers.dns.stream import Stream, stream_factory
from sniproxy.resolvers.dns.udpsocket import DatagramSocket
from sniproxy.resolvers.dns.wire import (
    MIN_TTL_S,
    QUERY_REFUSED,
    SERVER_FAILED,
    BadMessage,
    DNSAnswer,
    extract_answer,
    is_truncated,
    make_query,
    may_reject_edns,
    parse_answer,
    rejects_edns,
    why_unusable,
)
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor

NEXT_SERVER_DELAY_S = 0.3
"""Seconds without an answer before the next server is queried, too. The delay doubles with each round."""

LOOKUP_TIMEOUT_S = 4.0
"""Seconds for a lookup at all servers. Less than a resolver's default timeout, so that the error has the cause."""

TOO_MANY_FILES = "too many open files"
NO_ANSWER = "no answer"


class QueryFailed(Unavailable):
    """No name server gave a usable answer. The message has the cause and the problem of each server.

    @ivar cause: L{TOO_MANY_FILES}, L{SERVER_FAILED}, L{QUERY_REFUSED} or L{NO_ANSWER}.
    """

    def __init__(self, cause: str, reason: str) -> None:
        super().__init__(reason)
        self.cause = cause
        self.local = cause == TOO_MANY_FILES


class NameServers:
    """The name servers of a configuration, with their states.

    @param conf: gives the settings; it is called for each lookup.
    """

    def __init__(self, reactor: IReactor, conf: Callable[[], ResolvConf]) -> None:
        self._reactor = reactor
        self._conf = conf
        self._states = ServerStates()
        self._turn = 0

    async def ask(self, name: str, kind: dns.rdatatype.RdataType) -> DNSAnswer:
        """Look up the records of one type. The name must be full: the search list is not used here.

        @raise QueryFailed: no server gave a usable answer.
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
    """A query to send. @ivar round: 0 for the first query to a server. @ivar edns: whether it has an OPT record."""

    server: Server
    round: int
    edns: bool


class _Lookup:
    """One lookup. Queries the next server when one is late or fails; a late answer counts until the lookup ends."""

    def __init__(
        self,
        reactor: IReactor,
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
            # A silent server may drop queries with an OPT record (RFC 6891), so later rounds send none.
            self._queue += [_Query(server, number, not number and server not in without) for server in servers]
        self._exchanges: dict[Server, _Exchange] = {}
        self._problems: dict[Server, str] = {}
        self._partial: DNSAnswer | None = None
        self._ended = False
        self._round = 0
        self._next_timer: Any = None
        self._begun = reactor.seconds()
        self._end_timer = reactor.callLater(LOOKUP_TIMEOUT_S, self._fail)
        self.answer: Deferred[DNSAnswer] = Deferred(lambda _: self._stop())
        self._next()

    def _next(self) -> None:
        """Send the next query. Fail if none is left and no answer can come."""
        _cancel(self._next_timer)
        while self._queue:
            query = self._queue.pop(0)
            self._round = query.round
            try:
                self._exchange(query.server).send(query.edns)
            except OSError as error:
                self._drop_server(query.server, _in_words(error))
                continue
            if self._queue:
                self._next_timer = self._reactor.callLater(NEXT_SERVER_DELAY_S * 2**query.round, self._next)
            else:
                left = self._begun + LOOKUP_TIMEOUT_S - self._reactor.seconds()
                self._end_timer.reset(max(0.0, min(self._timeout, left)))
            return
        if not self._exchanges:
            self._fail()

    def _exchange(self, server: Server) -> _Exchange:
        if server not in self._exchanges:

            def on_answer(answer: dns.message.Message | str) -> None:
                if not self._ended and server in self._exchanges:
                    self._handle_answer(server, answer)

            self._exchanges[server] = _Exchange(self._reactor, server, self._name, self._kind, on_answer)
        return self._exchanges[server]

    def _handle_answer(self, server: Server, answer: dns.message.Message | str) -> None:
        why = answer if isinstance(answer, str) else why_unusable(answer)
        if why is None:
            try:
                result = extract_answer(cast(dns.message.Message, answer))
            except BadMessage as error:
                why = str(error)
            else:
                self._record_silent_servers()
                self._states.record_answer(server, self._exchanges[server].answered_edns, self._reactor.seconds())
                self._stop()
                self.answer.callback(result)
                return
        without_edns = not isinstance(answer, str) and may_reject_edns(answer) and self._exchanges[server].answered_edns
        self._drop_server(server, why)
        if without_edns:
            # After the other servers of this round: one of them may know the name.
            place = sum(query.round == self._round for query in self._queue)
            self._queue.insert(place, _Query(server, self._round, False))
        self._next()

    def _record_silent_servers(self) -> None:
        now = self._reactor.seconds()
        for server, exchange in self._exchanges.items():
            if not exchange.by_tcp and now >= exchange.begun + NEXT_SERVER_DELAY_S:
                self._states.record_silence(server, now)

    def _drop_server(self, server: Server, why: str) -> None:
        self._problems[server] = why
        self._queue = [query for query in self._queue if query.server != server]
        exchange = self._exchanges.pop(server, None)
        if exchange is not None:
            exchange.close()
            self._partial = self._partial or exchange.partial()

    def _fail(self) -> None:
        self._record_silent_servers()
        for server, exchange in self._exchanges.items():
            self._partial = self._partial or exchange.partial()
            seconds = self._reactor.seconds() - self._begun
            silence = f"{NO_ANSWER} in {seconds:.2g} s" + (" over TCP" if exchange.by_tcp else "")
            self._problems.setdefault(server, silence)
        self._stop()
        if self._partial is not None:
            self.answer.callback(self._partial)
            return
        cause = next((one for one in _CAUSES if any(one in why for why in self._problems.values())), NO_ANSWER)
        problems = ", ".join(f"{host_port(*server)}: {why}" for server, why in self._problems.items())
        kind = dns.rdatatype.to_text(self._kind)
        self.answer.errback(QueryFailed(cause, f"{self._name} ({kind}): {cause}: {problems}"))

    def _stop(self) -> None:
        self._ended = True
        _cancel(self._next_timer)
        _cancel(self._end_timer)
        exchanges, self._exchanges = self._exchanges, {}
        for exchange in exchanges.values():
            exchange.close()


_CAUSES = (TOO_MANY_FILES, SERVER_FAILED, QUERY_REFUSED)


class _Exchange:
    """The queries of one lookup to one server.

    @param on_answer: called with the answer, or with a text that says why there is none.
    @ivar by_tcp: whether the query has been repeated over TCP. @ivar begun: the time of the first query.
    @ivar answered_edns: whether the answered query had an OPT record.
    """

    def __init__(
        self,
        reactor: IReactor,
        server: Server,
        name: str,
        kind: dns.rdatatype.RdataType,
        on_answer: Callable[[dns.message.Message | str], None],
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._name = name
        self._kind = kind
        self._on_answer = on_answer
        self._queries: list[dns.message.QueryMessage] = []
        self._truncated: dns.message.Message | None = None
        self._stream: Stream | None = None
        self._connecting: Deferred[Any] | None = None
        self.by_tcp = self.answered_edns = False
        self.begun = reactor.seconds()
        self._socket = DatagramSocket(reactor, *server, self._received, self._lost)

    def send(self, edns: bool) -> None:
        """Send the query, unless it has been repeated over TCP. @raise OSError: it cannot be sent."""
        if not self.by_tcp:
            query = make_query(self._name, self._kind, edns)
            self._queries.append(query)
            self._socket.send(query.to_wire())

    def partial(self) -> DNSAnswer | None:
        """The records of a truncated answer, with the shortest TTL, in case TCP fails. None: there are none."""
        if self._truncated is None:
            return None
        try:
            answer = extract_answer(self._truncated)
        except BadMessage:
            return None
        return DNSAnswer(answer.records, MIN_TTL_S) if answer.records else None

    def close(self) -> None:
        """Close the UDP socket and abort TCP."""
        self._socket.close()
        if self._connecting is not None:
            self._connecting.cancel()
        if self._stream is not None and self._stream.transport is not None:
            cast(ITCPTransport, self._stream.transport).abortConnection()

    def _received(self, data: bytes) -> None:
        for query in self._queries:
            answer = parse_answer(query, data)
            if answer is None:
                continue
            self.answered_edns = query.edns >= 0
            if rejects_edns(query, answer):
                self._queries.remove(query)
                try:
                    self.send(edns=False)
                except OSError as error:
                    self._lost(error)
            elif is_truncated(answer) and why_unusable(answer) is None:
                self._truncated = answer
                if not self.by_tcp:
                    self._query_tcp(query)
            else:
                self._on_answer(answer)
            return

    def _lost(self, error: OSError) -> None:
        if not self.by_tcp:
            self._on_answer(_in_words(error))
        else:
            self._socket.close()

    def _query_tcp(self, query: dns.message.QueryMessage) -> None:
        self.by_tcp = True
        endpoint = (TCP6ClientEndpoint if ":" in self._server[0] else TCP4ClientEndpoint)(self._reactor, *self._server)
        stream = self._stream = Stream(query, self._on_answer)
        self._connecting = endpoint.connect(stream_factory(stream))
        self._connecting.addErrback(self._tcp_failed)

    def _tcp_failed(self, failure: Failure) -> None:
        number = getattr(failure.value, "osError", None)
        if number in (errno.EMFILE, errno.ENFILE):
            self._on_answer(TOO_MANY_FILES)
        elif not failure.check(CancelledError):
            self._on_answer(f"TCP connection failed: {failure.getErrorMessage()}")


def _in_words(error: OSError) -> str:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return TOO_MANY_FILES
    if error.errno == errno.ECONNREFUSED:
        return "connection refused"
    return f"unreachable: {error.strerror or os.strerror(error.errno or errno.EIO)}"


def _cancel(timer: Any) -> None:
    if timer is not None and timer.active():
        timer.cancel()
