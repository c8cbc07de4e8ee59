"""The relay engine: plain tunnels are moved by native threads, so that nothing that Python does delays their bytes.

``_engine`` is written in Rust (``engine/`` in the sources) and optional. Its threads own a tunnel's two descriptors
from L{RelayEngine.open} to its ending, and never take the GIL. Endings come in batches, by an eventfd in the reactor.
Contract, results and reasons are those of L{sniproxy.relay.relay}.
"""

from __future__ import annotations

import os
import socket
from collections import deque
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, ClassVar, NamedTuple, TypeVar

from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.net.descriptor import how_broken
from sniproxy.relay.protocols import Owner, Timeouts
from sniproxy.relay.relay import FIRST_ENDED, Ending
from sniproxy.relay.state import NOBODY, SIDE_NAMES, TunnelState
from sniproxy.relay.vanished import PROBES, USER_TIMEOUT_MS
from sniproxy.util.reactor import IReactor

if TYPE_CHECKING:
    from sniproxy.relay import _engine as native

log = Logger()

T = TypeVar("T")

MODULE = "sniproxy.relay._engine"

BATCH = 128
"""Endings handled before the reactor serves others. Each writes a log line and updates the counts."""

MAX_THREADS = 64
"""Relay threads of a process; one serves a network interface of 10 Gbit/s."""

OK, RESET, IDLE, ENDED, GIVEN_BACK, UNWATCHED = range(6)
"""How a tunnel ended, in the endings of the native engine."""

NativeEnding = tuple[int, int, int, int, int, int, int, int, bytes, tuple[bytes, bytes, int, float]]
"""An entry of C{native.Engine.endings}."""


class EngineUnavailable(Exception):
    """The engine cannot be used. The message has the reason and the cure."""


def load() -> ModuleType:
    """Import the native module. @raise EngineUnavailable: it is not installed, or does not fit this system."""
    try:
        return import_module(MODULE)
    except ModuleNotFoundError as error:
        why = "this installation has no engine; install a wheel that has it, or build it with make engine"
        raise EngineUnavailable(why) from error
    except ImportError as error:
        raise EngineUnavailable(f"the engine cannot be loaded: {error}") from error


class _Counts(NamedTuple):
    """What remains of a tunnel that has ended."""

    bytes_up: int
    bytes_down: int
    answer: bytes
    half_closed: bool = False
    blocked: int = 0


class _Asked(NamedTuple):
    """An owner that has asked for its tunnel's end in order, or for the tunnel itself."""

    owner: Owner
    what: Ending | Callable[[TunnelState], object]


class EngineRelay:
    """One tunnel of the engine. It exists once for each idle tunnel, so it is small."""

    __slots__ = ("_owner", "_tunnel")

    sockets: ClassVar[tuple[socket.socket, ...]] = ()
    """The engine owns the descriptors, and watches for vanished peers itself."""

    def __init__(self, tunnel: native.Tunnel, owner: Owner) -> None:
        self._tunnel: native.Tunnel | _Counts = tunnel
        self._owner: Owner | _Asked | None = owner  # None: the tunnel has ended

    @property
    def bytes_up(self) -> int:
        """Bytes written to the target so far."""
        return self._tunnel.bytes_up

    @property
    def bytes_down(self) -> int:
        """Bytes written to the client so far."""
        return self._tunnel.bytes_down

    @property
    def half_closed(self) -> bool:
        """Whether one side has ended."""
        return self._tunnel.half_closed

    @property
    def answer(self) -> bytes:
        """See L{sniproxy.relay.relay.Relay.answer}; known once the tunnel has ended."""
        return self._tunnel.answer if isinstance(self._tunnel, _Counts) else b""

    @property
    def blocked(self) -> int:
        """The directions whose destination is full: 0 none, 1 up, 2 down, 3 both."""
        return self._tunnel.blocked

    def end(self, ending: Ending) -> None:
        """End both sides in order: each gets a FIN behind the bytes written to it. The first call counts.

        The owner's C{finish} is called later. If the tunnel ended by itself meanwhile, it gets that ending.
        """
        if self._ask(ending) and not isinstance(self._tunnel, _Counts):
            self._tunnel.end()

    @property
    def movable(self) -> bool:
        """See L{sniproxy.relay.protocols.Tunnel}."""
        return not (self._owner is None or isinstance(self._owner, _Asked))

    def give_back(self, take: Callable[[TunnelState], object]) -> None:
        """Take the tunnel out of the engine. @param take: called later, in place of the owner's C{finish}.

        If the tunnel ends by itself meanwhile, C{finish} is called instead. Does nothing unless L{movable}.
        """
        if self._ask(take) and not isinstance(self._tunnel, _Counts):
            self._tunnel.give_back()

    def _ask(self, what: Ending | Callable[[TunnelState], object]) -> bool:
        """@return: False: something was asked for before, or the tunnel has ended."""
        if self._owner is None or isinstance(self._owner, _Asked):
            return False
        self._owner = _Asked(self._owner, what)
        return True

    def ended(self, closer: LingeringCloser, told: NativeEnding) -> None:
        """The engine reports the end. @param closer: closes the sockets that come back."""
        _, kind, number, side, up, down, client, target, answer, (held_up, held_down, first, quiet_s) = told
        self._tunnel = _Counts(up, down, answer, kind == GIVEN_BACK and side != NOBODY)
        last, self._owner = self._owner, None  # the owner refers to the tunnel: leave no cycle to the collector
        assert last is not None
        owner, asked = last if isinstance(last, _Asked) else (last, None)
        if kind == GIVEN_BACK and callable(asked):
            sockets = _socket(client), _socket(target)
            asked(TunnelState(*sockets, held_up, held_down, side, first, up, down, answer, quiet_s))
            return
        for fd in (client, target):
            if fd >= 0:
                closer(_socket(fd))
        if isinstance(asked, Ending) and kind == ENDED:
            owner.finish(asked)
        else:
            owner.finish(_ending(kind, number, side, owner.timeouts))


def _ending(kind: int, number: int, side: int, timeouts: Timeouts) -> Ending:
    if kind == OK:
        return FIRST_ENDED.get(SIDE_NAMES.get(side, ""), Ending(Result.OK))
    if kind == RESET:
        return Ending(Result.RESET, how_broken(SIDE_NAMES[side], OSError(number, os.strerror(number))))
    if kind == IDLE:
        return Ending(Result.IDLE_TIMEOUT, _silence(side, timeouts))
    if kind == UNWATCHED:
        return Ending(Result.LIMIT, f"cannot watch its sockets: {os.strerror(number)}")
    return Ending(Result.SHUTDOWN, "the relay engine has stopped")


def _silence(side: int, timeouts: Timeouts) -> str:
    idle, half_closed = timeouts.idle, timeouts.half_closed
    if side not in SIDE_NAMES:
        return f"no bytes for {idle:g} s"
    return f"no bytes for {min(half_closed, idle or half_closed):g} s after the {SIDE_NAMES[side]} closed its side"


@implementer(IReadDescriptor)
class RelayEngine:
    """The engine of one proxy: opens tunnels in it, and hands its endings to their owners.

    @param closer: closes the sockets that come back.
    @param threads: relay threads, from 1 to L{MAX_THREADS}.
    @raise EngineUnavailable: there is no native module, or no thread or descriptor is left.
    """

    def __init__(self, reactor: IReactor, closer: LingeringCloser, threads: int) -> None:
        module = load()
        try:
            self._native: native.Engine = module.Engine(threads, USER_TIMEOUT_MS, PROBES)
        except OSError as error:
            raise EngineUnavailable(f"the engine cannot start: {error.strerror or error}") from error
        self.threads = threads
        self._reactor = reactor
        self._closer = closer
        # A tunnel's key is its place: a list costs 8 bytes a tunnel, a dictionary a hundred.
        self._relays: list[EngineRelay | None] = []
        self._free: list[int] = []
        self._endings: deque[NativeEnding] = deque()
        self._scheduled = False
        self._closed = self._failed = False
        self._fd: int = self._native.fileno()
        reactor.addReader(self)

    @property
    def held(self) -> int:
        """Bytes that tunnels hold for slow readers, in memory and in pipes."""
        return self._native.held

    @property
    def pipes(self) -> int:
        """Open pipes, of two descriptors each."""
        return self._native.pipes

    @property
    def tunnels(self) -> int:
        """Open tunnels."""
        return len(self._relays) - len(self._free)

    def open(self, client: socket.socket, target: socket.socket, head: bytes, owner: Owner) -> EngineRelay | None:
        """Move the bytes of a tunnel. The engine owns both sockets from now on.

        @param head: bytes already read from the client; the target gets them first.
        @param owner: its C{finish} is called once, in a later round of the reactor.
        @return: None: the engine has failed, and the sockets are still the caller's. The log has a line.
        """
        return self._begin(self._native.add, client, target, head, owner)

    def resume(self, state: TunnelState, owner: Owner) -> EngineRelay | None:
        """Continue a tunnel that a relay gave back. Like L{open}, but the bytes held are written later."""
        told = (
            state.held_up, state.held_down, state.ended, state.first,
            state.bytes_up, state.bytes_down, state.answer, state.quiet_s,
        )  # fmt: skip
        return self._begin(self._native.resume, state.client, state.target, told, owner)

    def _begin(
        self,
        begin: Callable[[int, int, int, T, float, float], native.Tunnel],
        client: socket.socket,
        target: socket.socket,
        told: T,
        owner: Owner,
    ) -> EngineRelay | None:
        timeouts = owner.timeouts
        key = self._free.pop() if self._free else len(self._relays)
        try:
            tunnel = begin(key, client.fileno(), target.fileno(), told, timeouts.idle, timeouts.half_closed)
        except OSError as error:
            if key < len(self._relays):
                self._free.append(key)
            if not self._failed:
                self._failed = True
                log.error("relay engine failed: {why}; new tunnels use Python, restart to cure it", why=error.strerror)
            return None
        client.detach()
        target.detach()
        relay = EngineRelay(tunnel, owner)
        if key == len(self._relays):
            self._relays.append(relay)
        else:
            self._relays[key] = relay
        return relay

    def close(self) -> None:
        """Stop the threads. Tunnels that are still open are cut, and their owners are called."""
        if self._closed:
            return
        self._closed = True
        self._reactor.removeReader(self)
        self._endings.extend(self._native.endings())
        self._native.close()
        while self._endings:
            self._end_one()
        for key, relay in enumerate(self._relays):
            if relay is not None:
                counts = relay.bytes_up, relay.bytes_down
                self._endings.append((key, ENDED, 0, NOBODY, *counts, -1, -1, b"", (b"", b"", NOBODY, 0.0)))
        while self._endings:
            self._end_one()

    # Called by the reactor

    def fileno(self) -> int:
        return self._fd

    def logPrefix(self) -> str:
        return "relay engine"

    def doRead(self) -> None:
        """Tunnels have ended."""
        self._endings.extend(self._native.endings())
        if not self._scheduled:
            self._end_some()

    def connectionLost(self, reason: Failure) -> None:
        """The reactor stops."""
        self.close()

    def _end_some(self) -> None:
        self._scheduled = False
        for _ in range(min(len(self._endings), BATCH)):
            self._end_one()
        if self._endings:
            self._scheduled = True
            self._reactor.callLater(0, self._end_some)

    def _end_one(self) -> None:
        told = self._endings.popleft()
        relay = self._relays[told[0]]
        self._relays[told[0]] = None
        self._free.append(told[0])
        assert relay is not None
        try:
            relay.ended(self._closer, told)
        except Exception:  # other tunnels must continue
            log.failure("internal error at the end of a tunnel")


def _socket(fd: int) -> socket.socket:
    sock = socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock
