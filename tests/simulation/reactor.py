"""A simulated reactor: a clock, calls and descriptors, in an order that the seed decides.

It treats a descriptor as Twisted's C{epollreactor} does: level-triggered, read before write, C{connectionLost} for a
hang-up that nothing reads, and for an exception.
"""

from __future__ import annotations

import errno
import heapq
import select
from collections.abc import Callable
from random import Random
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import AlreadyCalled, AlreadyCancelled, CannotListenError, ConnectionLost
from twisted.logger import Logger
from twisted.python.failure import Failure

from tests.simulation.kernel import End, Kernel, Listening, error
from tests.simulation.sockets import SimulatedSocket

log = Logger()

MAX_ROUNDS = 5_000
"""Rounds without a step of the clock: more are a loop that never ends."""


class Stuck(Exception):
    """The reactor does not come to rest at one time."""


class Call:
    """A scheduled call, with what the proxy uses of C{IDelayedCall}."""

    __slots__ = ("_done", "arguments", "function", "time")

    def __init__(self, time: float, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.time = time
        self.function = function
        self.arguments = arguments
        self._done = ""

    def active(self) -> bool:
        return not self._done

    def getTime(self) -> float:
        return self.time

    def cancel(self) -> None:
        if self._done:
            raise AlreadyCancelled() if self._done == "cancelled" else AlreadyCalled()
        self._done = "cancelled"

    def run(self) -> None:
        if not self._done:
            self._done = "called"
            self.function(*self.arguments)


class Port:
    """What C{listenTCP} returns, as far as the proxy uses it."""

    def __init__(self, reactor: SimulatedReactor, listening: Listening) -> None:
        self._listening = listening
        self.socket = SimulatedSocket(fileno=reactor.kernel.open(listening))

    def stopReading(self) -> None:
        pass

    def startReading(self) -> None:
        pass

    def stopListening(self) -> None:
        self.socket.close()

    def getHost(self) -> IPv4Address:
        return IPv4Address("TCP", *self._listening.address)


class SimulatedReactor:
    """The reactor, and the clock of the whole world: peers and the network use it by L{later}.

    @param rng: decides the order of descriptors that are ready in one round.
    @ivar kernel: set by the world. @ivar halt: stop running at once.
    @ivar proxy_calls: calls of the proxy that are not made yet.
    """

    kernel: Kernel

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self._now = 1000.0
        self._calls: list[tuple[float, int, Call]] = []
        self._count = 0
        self._readers: dict[int, Any] = {}
        self._writers: dict[int, Any] = {}
        self.proxy_calls: dict[Call, None] = {}
        self.halt = False
        self.before_clock_moves: Callable[[], None] = lambda: None

    def seconds(self) -> float:
        return self._now

    def callLater(self, delay: float, function: Callable[..., object], *arguments: Any) -> Call:
        assert delay >= 0, delay
        call = self._add(delay, function, arguments)
        self.proxy_calls[call] = None
        return call

    def callFromThread(self, function: Callable[..., object], *arguments: Any) -> None:
        self._add(0.0, function, arguments)

    def later(self, delay: float, function: Callable[[], object]) -> Call:
        """Schedule something of the world outside the proxy."""
        return self._add(delay, function, ())

    def _add(self, delay: float, function: Callable[..., object], arguments: tuple[Any, ...]) -> Call:
        call = Call(self._now + delay, function, arguments)
        self._count += 1
        heapq.heappush(self._calls, (call.time, self._count, call))
        return call

    # Descriptors

    def addReader(self, one: Any) -> None:
        self._readers[self._watched(one)] = one

    def addWriter(self, one: Any) -> None:
        self._writers[self._watched(one)] = one

    def removeReader(self, one: Any) -> None:
        self._remove(self._readers, one)

    def removeWriter(self, one: Any) -> None:
        self._remove(self._writers, one)

    def getReaders(self) -> list[Any]:
        return list(self._readers.values())

    def getWriters(self) -> list[Any]:
        return list(self._writers.values())

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        address = interface, port
        if address in self.kernel.listening:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        listening = Listening(self.kernel, address, min(backlog, 8))
        try:
            opened = Port(self, listening)
        except OSError as error:
            raise CannotListenError(interface, port, error) from error
        self.kernel.listening[address] = listening
        return opened

    def _number(self, one: Any) -> int:
        number: int = one.fileno()
        if number not in self.kernel.descriptors:
            raise OSError(9, f"the reactor was given a closed descriptor of {one!r}")
        return number

    def _watched(self, one: Any) -> int:
        """As Twisted's: only a descriptor that is neither read nor written needs memory in the kernel."""
        number = self._number(one)
        if number not in self._readers and number not in self._writers:
            what = self.kernel.descriptors[number]
            rng = what.rng if isinstance(what, End) else self._rng
            if self.kernel.faults.rate("no_room", rng):
                raise error(rng.choice((errno.ENOMEM, errno.ENOSPC)))
        return number

    def _remove(self, from_: dict[int, Any], one: Any) -> None:
        number = one.fileno()
        if from_.get(number) is one:
            del from_[number]

    # The loop

    def run(self, until: float, over: Callable[[], bool]) -> bool:
        """Run until a condition holds at rest, or L{halt}. @return: False: the time came first.

        @raise Stuck: the proxy loops.
        """
        rounds = 0
        while not self.halt:
            rounds += 1
            if rounds > MAX_ROUNDS:
                raise Stuck(f"the reactor does not come to rest: {self.getReaders()!r}, {self.getWriters()!r}")
            if self._run_calls() | self._run_descriptors():
                continue
            rounds = 0
            self.before_clock_moves()
            if over():
                return True
            following = next(iter(self._due()), None)
            if following is None or following > until:
                self._now = max(self._now, until)
                return over()
            self._now = following
        return True

    def _due(self) -> list[float]:
        while self._calls and not self._calls[0][2].active():
            self.proxy_calls.pop(heapq.heappop(self._calls)[2], None)
        return [self._calls[0][0]] if self._calls else []

    def pending_calls(self) -> list[Call]:
        """The proxy's calls that are scheduled."""
        return [call for call in self.proxy_calls if call.active()]

    def _run_calls(self) -> bool:
        due = []
        while self._calls and self._calls[0][0] <= self._now:
            due.append(heapq.heappop(self._calls)[2])
        for call in due:
            self.proxy_calls.pop(call, None)
            try:
                call.run()
            except Exception:
                log.failure("exception in a call of the reactor")
        return bool(due)

    def _run_descriptors(self) -> bool:
        if self.halt:
            return False
        ready = []
        for number in sorted(self._readers.keys() | self._writers.keys()):
            mask = select.EPOLLERR | select.EPOLLHUP
            mask |= select.EPOLLIN if number in self._readers else 0
            mask |= select.EPOLLOUT if number in self._writers else 0
            what = self.kernel.descriptors.get(number)
            if what is None:
                raise Stuck(
                    f"closed while it is in the reactor: {self._readers.get(number, self._writers.get(number))!r}"
                )
            events = what.events() & mask
            if events:
                ready.append((number, events))
        self._rng.shuffle(ready)
        for number, events in ready:
            one = self._readers.get(number) or self._writers.get(number)
            if one is not None:  # an earlier one of this round may have removed it
                self._run_one(number, one, events)
        return bool(ready)

    def _run_one(self, number: int, one: Any, events: int) -> None:
        try:
            if events & (select.EPOLLHUP | select.EPOLLERR) and not events & select.EPOLLIN:
                self._lose(one)
                return
            if events & select.EPOLLIN and number in self._readers:
                one.doRead()
            if events & select.EPOLLOUT:  # Twisted calls it also if doRead has removed the writer
                one.doWrite()
        except Exception:
            log.failure("exception in a descriptor")
            self._lose(one)

    def _lose(self, one: Any) -> None:
        self.removeReader(one)
        self.removeWriter(one)
        one.connectionLost(Failure(ConnectionLost()))
