"""A ZooKeeper session. kazoo runs in threads of its own; this module passes their results to the reactor thread.

No call in the reactor thread waits for another thread: a stop, which waits, runs in a thread of its own.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import NoNodeError
from kazoo.handlers.threading import SequentialThreadingHandler
from kazoo.protocol.states import EventType, KazooState
from twisted.internet.defer import CancelledError, Deferred
from twisted.python.failure import Failure

from sniproxy.net.daemonthread import in_daemon_thread
from sniproxy.resolvers.zookeeper.access import BadAccess, ZooKeeperCredentials
from sniproxy.tls.clientcontext import BadPem
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded

SESSION_TIMEOUT_S = 10.0
"""Seconds of silence after which ZooKeeper ends the session and kazoo tries the next server."""

STOP_TIMEOUT_S = 2.0
"""Seconds that a stop waits for kazoo to close the session."""

ABORT_TIMEOUT_S = 0.25
"""The same without a session, when kazoo may still wait for a DNS lookup of its thread."""

MAX_PAUSE_S = 5.0
"""Upper bound, in seconds, of the pause between two connects."""

# The resolver logs what matters; kazoo would write to standard error.
_silent = logging.getLogger("sniproxy.zookeeper")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class ZooKeeperFailure(Exception):
    """ZooKeeper did not answer, or answered with an error. The text says why."""


class KazooSession:
    """A session that reconnects until it is stopped. All callbacks run in the reactor thread.

    @param servers: ``host:port`` with commas between them, optionally followed by a path, the chroot.
    @param connected: called after each connect of the session.
    @param lost: called with the reason when the session is lost and when a connect fails.
    @param changed: called when a node whose L{children} were read has other children.
    """

    def __init__(
        self,
        reactor: IReactor,
        servers: str,
        access: ZooKeeperCredentials,
        connected: Callable[[], None],
        lost: Callable[[str], None],
        changed: Callable[[], None],
        client: Callable[..., Any] = KazooClient,
    ) -> None:
        self._reactor = reactor
        self._access = access
        self._connected, self._lost, self._changed = connected, lost, changed
        self._stopped = False
        self._handler = KazooHandler(self._prepare_connect, self._connect_failed)
        retry = {"max_tries": -1, "max_delay": MAX_PAUSE_S, "sleep_func": self._handler.sleep_func}
        self._client = client(
            hosts=servers, timeout=SESSION_TIMEOUT_S, connection_retry=retry, handler=self._handler, logger=_silent
        )
        self._client.add_listener(self._state)

    def start(self) -> None:
        """Start to connect."""
        self._client.start_async()

    def stop(self) -> Deferred[None]:
        """Stop the session and its threads. No callback is called afterwards.

        @return: fires when the session has stopped, or after L{STOP_TIMEOUT_S} or L{ABORT_TIMEOUT_S}.
        """
        seconds = STOP_TIMEOUT_S if self._client.connected else ABORT_TIMEOUT_S
        self._stopped = True
        ended: Deferred[None] = Deferred()
        ending = in_daemon_thread(self._reactor, self._end)
        ending.chainDeferred(ended)
        return ended.addTimeout(seconds, self._reactor, lambda result, seconds: _ignore_timeout(result, ending))

    def children(self, path: str) -> Deferred[list[str]]:
        """The names of a node's children, and watch them. Fails with L{ZooKeeperFailure}."""
        return self._later(self._client.get_children_async(path, watch=self._event))

    def data(self, path: str) -> Deferred[bytes | None]:
        """The data of a node. None: the node does not exist. Fails with L{ZooKeeperFailure}."""
        found: Deferred[Any] = self._later(self._client.get_async(path))
        return found.addCallbacks(lambda answer: answer[0], _none_if_missing)

    def _later(self, result: Any) -> Deferred[Any]:
        found: Deferred[Any] = Deferred(lambda _: None)

        def ready(result: Any) -> None:  # in a kazoo thread
            self._call_in_reactor(_fire, found, result)

        result.rawlink(ready)
        return found.addErrback(_translate_error)

    # The following methods run in kazoo's threads.

    def _state(self, state: Any) -> None:
        if state == KazooState.CONNECTED:
            self._call_in_reactor(self._connected)
        else:
            self._call_in_reactor(self._lost, "ZooKeeper session lost; reconnecting")

    def _event(self, event: Any) -> None:
        if event.type != EventType.NONE:  # NONE means that the session is lost, which the listener reports
            self._call_in_reactor(self._changed)

    def _prepare_connect(self) -> Any:
        """Load the login before a connect. @return: the TLS context. None: plain TCP."""
        login = self._access.login()
        self._client.auth_data = set() if login is None else {("digest", login)}
        return self._access.context()

    def _connect_failed(self, why: str) -> None:
        self._call_in_reactor(self._lost, why)

    def _call_in_reactor(self, call: Callable[..., None], *args: Any) -> None:
        self._reactor.callFromThread(self._call_unless_stopped, call, *args)

    def _call_unless_stopped(self, call: Callable[..., None], *args: Any) -> None:
        if not self._stopped:
            call(*args)

    def _end(self) -> None:
        if not self._client.connected:
            self._handler.abort()
        self._client.stop()
        self._client.close()


class KazooHandler(SequentialThreadingHandler):  # type: ignore[misc]
    """Opens kazoo's connections with our TLS context, and can abort them, so that a stop need not wait.

    @param before: called before each connect; returns the TLS context, or None for plain TCP.
    @param failed: called with the reason when a connect fails.
    """

    def __init__(self, before: Callable[[], Any], failed: Callable[[str], None]) -> None:
        super().__init__()
        self._before = before
        self._failed = failed
        self._socket: socket.socket | None = None
        self._aborted = threading.Event()

    def sleep_func(self, seconds: float) -> None:
        """The pause between two connects, called by kazoo. L{abort} ends it."""
        self._aborted.wait(seconds)

    def create_connection(
        self, address: tuple[str, int], hostname: str | None = None, timeout: float | None = None, **_: object
    ) -> socket.socket:
        """Connect, called by kazoo. Its own TLS options are ignored. @raise OSError: the connect failed."""
        try:
            context = self._before()
            self._open(super().create_connection(address=address, timeout=timeout))
            if context is not None:
                self._open(context.wrap_socket(self._socket, server_hostname=hostname, do_handshake_on_connect=False))
                self._socket.do_handshake()  # type: ignore[union-attr]
        except (OSError, ValueError) as error:
            self._close()
            why = getattr(error, "strerror", None) or str(error) or type(error).__name__
            place = (
                "" if isinstance(error, BadAccess | BadPem) else f"{host_port(hostname or address[0], address[1])}: "
            )
            self._failed(bounded(f"{place}{why}"))
            raise OSError(why) from error  # which kazoo retries
        return self._socket  # type: ignore[return-value]

    def abort(self) -> None:
        """End the connection and refuse further ones. A blocked read gets the end of the stream."""
        self._aborted.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _open(self, opened: socket.socket) -> None:
        self._socket = opened
        if self._aborted.is_set():
            raise OSError("the session has stopped")

    def _close(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()


def _ignore_timeout(result: Any, ending: Deferred[None]) -> Any:
    """Ignore the timeout of a stop, and its later error."""
    if isinstance(result, Failure) and result.check(CancelledError):
        ending.addErrback(lambda _: None)
        return None
    return result


def _fire(found: Deferred[Any], result: Any) -> None:
    if found.called:  # it was cancelled
        return
    if result.exception is None:
        found.callback(result.value)
    else:
        found.errback(result.exception)


def _translate_error(failure: Any) -> None:
    error = failure.value
    if failure.check(NoNodeError):
        raise _NoNode("no such node") from error
    # Most of kazoo's errors have no text, but clear names.
    if isinstance(error, Exception) and type(error).__module__.startswith("kazoo."):
        raise ZooKeeperFailure(f"{type(error).__name__} {error}".strip()) from error
    failure.raiseException()


class _NoNode(ZooKeeperFailure):
    pass


def _none_if_missing(failure: Any) -> None:
    failure.trap(_NoNode)
