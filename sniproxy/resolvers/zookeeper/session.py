"""A session with ZooKeeper, by kazoo, which works in threads of its own: what they find is handed to the reactor.

Nothing here is called in the reactor's thread that waits for another one; ending is, and so is done beside it.
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
from sniproxy.util.text import bounded

SESSION_TIMEOUT_S = 10.0
"""Seconds without a word after which ZooKeeper ends the session, and kazoo tries the next server."""

STOP_TIMEOUT_S = 2.0
"""How long a stop waits for kazoo to close a session."""

CUT_TIMEOUT_S = 0.25
"""As L{STOP_TIMEOUT_S}, without a session: kazoo may wait for a lookup that its daemon thread has under way."""

MAX_PAUSE_S = 5.0
"""Seconds between two tries to connect, at most."""

# What matters of it is said by who uses the session; kazoo would write to standard error.
_silent = logging.getLogger("sniproxy.zookeeper")
_silent.addHandler(logging.NullHandler())
_silent.propagate = False


class Lost(Exception):
    """ZooKeeper has not answered, or not with what was asked for; the text says why."""


class Session:
    """@param servers: ``host:port`` with commas between, and the path below which everything is, if any.

    @param came: called in the reactor's thread when the session stands, again after each time that it did not.
    @param went: called there when it no longer does, and when a server cannot be reached, with the reason; it is tried
        to make it stand again, for ever.
    @param changed: called there when children of a node that was asked for have come or gone.
    """

    def __init__(
        self,
        reactor: Any,
        servers: str,
        access: ZooKeeperCredentials,
        came: Callable[[], None],
        went: Callable[[str], None],
        changed: Callable[[], None],
        client: Callable[..., Any] = KazooClient,
    ) -> None:
        self._reactor = reactor
        self._access = access
        self._came, self._went, self._changed = came, went, changed
        self._ended = False
        self._handler = KazooHandler(self._connecting, self._not_connected)
        retry = {"max_tries": -1, "max_delay": MAX_PAUSE_S, "sleep_func": self._handler.sleep_func}
        self._client = client(
            hosts=servers, timeout=SESSION_TIMEOUT_S, connection_retry=retry, handler=self._handler, logger=_silent
        )
        self._client.add_listener(self._state)

    def start(self) -> None:
        """Begin to connect."""
        self._client.start_async()

    def stop(self) -> Deferred[None]:
        """End it, and its threads. Nothing is called from now on.

        @return: fires when it has ended, or after L{STOP_TIMEOUT_S} or L{CUT_TIMEOUT_S}.
        """
        seconds = STOP_TIMEOUT_S if self._client.connected else CUT_TIMEOUT_S
        self._ended = True
        ended: Deferred[None] = Deferred()
        ending = in_daemon_thread(self._reactor, self._end)
        ending.chainDeferred(ended)
        return ended.addTimeout(seconds, self._reactor, lambda result, seconds: _given_up(result, ending))

    def children(self, path: str) -> Deferred[list[str]]:
        """The names of a node's children, from now on watched. It fails with L{Lost}."""
        return self._later(self._client.get_children_async(path, watch=self._event))

    def data(self, path: str) -> Deferred[bytes | None]:
        """What a node holds; None: it is gone. It fails with L{Lost}."""
        found: Deferred[Any] = self._later(self._client.get_async(path))
        return found.addCallbacks(lambda answer: answer[0], _gone)

    def _later(self, result: Any) -> Deferred[Any]:
        found: Deferred[Any] = Deferred(lambda _: None)

        def ready(result: Any) -> None:  # in a thread of kazoo's
            self._hand_over(_fire, found, result)

        result.rawlink(ready)
        return found.addErrback(_lost)

    # From here on all is called in threads of kazoo's.

    def _state(self, state: Any) -> None:
        if state == KazooState.CONNECTED:
            self._hand_over(self._came)
        else:
            self._hand_over(self._went, "the session with ZooKeeper is lost; it is tried to make it again")

    def _event(self, event: Any) -> None:
        if event.type != EventType.NONE:  # which means that the session is lost: that is told by its state
            self._hand_over(self._changed)

    def _connecting(self) -> Any:
        """Before each connection. @return: by what TLS goes; None: it is plain TCP."""
        login = self._access.login()
        self._client.auth_data = set() if login is None else {("digest", login)}
        return self._access.context()

    def _not_connected(self, why: str) -> None:
        self._hand_over(self._went, why)

    def _hand_over(self, call: Callable[..., None], *args: Any) -> None:
        self._reactor.callFromThread(self._unless_ended, call, *args)

    def _unless_ended(self, call: Callable[..., None], *args: Any) -> None:
        if not self._ended:
            call(*args)

    def _end(self) -> None:
        if not self._client.connected:
            self._handler.cut()
        self._client.stop()
        self._client.close()


class KazooHandler(SequentialThreadingHandler):  # type: ignore[misc]
    """Opens kazoo's connections: by TLS that trusts whom we trust, and so that who ends a session need not wait.

    @param before: called before each connection, gives what TLS goes by, or None.
    @param failed: called when there is none, with the reason.
    """

    def __init__(self, before: Callable[[], Any], failed: Callable[[str], None]) -> None:
        super().__init__()
        self._before = before
        self._failed = failed
        self._socket: socket.socket | None = None
        self._ended = threading.Event()

    def sleep_func(self, seconds: float) -> None:
        """What kazoo calls between two tries; it ends when the session does."""
        self._ended.wait(seconds)

    def create_connection(
        self, address: tuple[str, int], hostname: str | None = None, timeout: float | None = None, **_: object
    ) -> socket.socket:
        """What kazoo calls; its own options of TLS are not used. @raise OSError: there is none."""
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
            raise OSError(why) from error  # which kazoo takes for what may pass
        return self._socket  # type: ignore[return-value]

    def cut(self) -> None:
        """For ever: who reads from the connection reads its end, and there will be no other one."""
        self._ended.set()
        if self._socket is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)

    def _open(self, opened: socket.socket) -> None:
        self._socket = opened
        if self._ended.is_set():
            raise OSError("the session has ended")

    def _close(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()


def _given_up(result: Any, ending: Deferred[None]) -> Any:
    """Of an end that took too long."""
    if isinstance(result, Failure) and result.check(CancelledError):
        ending.addErrback(lambda _: None)
        return None
    return result


def _fire(found: Deferred[Any], result: Any) -> None:
    if found.called:  # nobody waits for it any more
        return
    if result.exception is None:
        found.callback(result.value)
    else:
        found.errback(result.exception)


def _lost(failure: Any) -> None:
    error = failure.value
    if failure.check(NoNodeError):
        raise _NoNode("there is no such node") from error
    # kazoo's errors have mostly no text, but telling names.
    if isinstance(error, Exception) and type(error).__module__.startswith("kazoo."):
        raise Lost(f"{type(error).__name__} {error}".strip()) from error
    failure.raiseException()


class _NoNode(Lost):
    pass


def _gone(failure: Any) -> None:
    failure.trap(_NoNode)
