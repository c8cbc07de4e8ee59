"""The supervisor's connections to the admin site of one worker, by L{sniproxy.server.workers.admin.channel}."""

from __future__ import annotations

import os
import re
import socket
from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred, fail
from twisted.internet.defer import TimeoutError as DeadlineError
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.python.failure import Failure

from sniproxy.server.workers.admin.channel import VARIABLE, send_connection
from sniproxy.util.reactor import IReactor

MAX_HEADER_BYTES = 8192

_LINE = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})[ \r]")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]{1,12})\r\n", re.IGNORECASE)


class NoReply(Exception):
    """A worker has not answered; the message says why."""


@attrs.frozen
class Reply:
    """The answer of a worker. @ivar code: its HTTP status."""

    code: int
    body: bytes


class WorkerLink:
    """Asks one worker. It belongs to the process: a successor has a link of its own.

    @param adopted: the descriptor of the channel to a worker that runs. None: it is about to be started.
    @ivar theirs: the worker's end of the channel, for the start of its process; see L{started}.
    """

    def __init__(self, reactor: IReactor, adopted: int | None = None) -> None:
        """@raise OSError: no descriptor is left."""
        self._reactor = reactor
        self._channel: socket.socket | None
        if adopted is None:
            self._channel, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        else:
            os.set_inheritable(adopted, False)
            self._channel = self.theirs = socket.socket(fileno=adopted)
        self._channel.setblocking(False)

    @property
    def descriptor(self) -> int | None:
        """The supervisor's end of the channel. None: it is closed."""
        return None if self._channel is None else self._channel.fileno()

    def environment(self, number: int) -> dict[str, str]:
        """The variables of the worker's environment. @param number: of the channel's descriptor in the worker."""
        return {VARIABLE: str(number)}

    def started(self) -> None:
        """Close the worker's end, which the worker has inherited."""
        self.theirs.close()

    def ask(self, method: str, path: str, timeout: float, max_bytes: int) -> Deferred[Reply]:
        """Send a request.

        @param path: with its query. @param timeout: seconds for the whole answer.
        @param max_bytes: maximum size of the answer's body.
        @return: fires with the answer. Fails with L{NoReply}.
        """
        if self._channel is None:
            return fail(NoReply("has ended"))
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            with ours, theirs:
                ours.setblocking(False)
                send_connection(self._channel, theirs)
                client = _Client(f"{method} {path} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode("ascii"), max_bytes)
                # It makes a copy of the descriptor.
                self._reactor.adoptStreamConnection(ours.fileno(), socket.AF_UNIX, _ClientFactory(client))
        except BlockingIOError:
            return fail(NoReply("does not read its requests"))
        except OSError as error:
            return fail(NoReply(f"cannot be asked: {error.strerror}"))
        return client.answered.addTimeout(timeout, self._reactor).addErrback(_describe_timeout, timeout)

    def close(self) -> None:
        """Stop asking: the worker has ended."""
        self.theirs.close()
        if self._channel is not None:
            self._channel.close()
            self._channel = None


def _describe_timeout(failure: Failure, timeout: float) -> Failure:
    return Failure(NoReply(f"did not answer within {timeout:g} s")) if failure.check(DeadlineError) else failure


class _ClientFactory(ServerFactory):
    noisy = False

    def __init__(self, client: _Client) -> None:
        self._client = client

    def buildProtocol(self, addr: IAddress | None) -> _Client:
        return self._client


class _Client(Protocol):
    """One request and its answer, which ends with the connection. @ivar answered: as L{WorkerLink.ask} returns it."""

    def __init__(self, request: bytes, max_bytes: int) -> None:
        self.answered: Deferred[Reply] = Deferred(lambda _: self._abort())
        self._request = request
        self._max_bytes = max_bytes
        self._pieces: list[bytes] = []
        self._size = 0

    def connectionMade(self) -> None:
        cast(Any, self.transport).write(self._request)

    def dataReceived(self, data: bytes) -> None:
        self._size += len(data)
        self._pieces.append(data)
        if self._size > self._max_bytes + MAX_HEADER_BYTES:
            self._fail(f"answered with more than {self._max_bytes} bytes")
            self._abort()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        whole, self._pieces = b"".join(self._pieces), []
        reply = parse_reply(whole)
        if reply is None:
            self._fail("ended before its answer was complete")
        elif not self.answered.called:
            self.answered.callback(reply)

    def _fail(self, why: str) -> None:
        self._pieces = []
        if not self.answered.called:
            self.answered.errback(NoReply(why))

    def _abort(self) -> None:
        if self.transport is not None:
            cast(Any, self.transport).abortConnection()


def parse_reply(whole: bytes) -> Reply | None:
    """Parse an HTTP answer that has a Content-Length. @return: None: it is incomplete, or not HTTP."""
    head, end, body = whole.partition(b"\r\n\r\n")
    line, length = _LINE.match(head), _LENGTH.search(head + b"\r\n")
    if not end or line is None or length is None or int(length[1]) != len(body):
        return None
    return Reply(int(line[1]), body)
