"""A timer wheel for deadlines that are usually cancelled and need no millisecond precision.

Each C{callLater} of a reactor costs an object, a place in a heap and work in each round. Here, deadlines in the same
eighth of a second share one call; setting or cancelling one is a dictionary operation.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from sniproxy.util.perreactor import PerReactor

log = Logger()

TICK_S = 0.125
"""Seconds. A deadline fires at the next multiple: never early, and late by less than one tick."""


class Deadline:
    """One scheduled call, which can be cancelled."""

    __slots__ = ("_call", "_slot", "_wheel")

    def __init__(self, wheel: TimerWheel, slot: int, call: Callable[[], object]) -> None:
        self._wheel = wheel
        self._slot = slot
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """Cancel the call. Does nothing if it was made or cancelled."""
        if self._call is not None:
            self._call = None
            self._wheel._forget(self, self._slot)

    def _fire(self) -> None:
        call, self._call = self._call, None
        if call is not None:
            try:
                call()
            except Exception:
                log.failure("internal error in a timer callback")


class TimerWheel:
    """All deadlines of one reactor; see L{timer_wheel_of}."""

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._slots: dict[int, dict[Deadline, None]] = {}  # by the number of the tick at which they fire
        self._next = 0
        self._timer: Any = None

    def after(self, seconds: float, call: Callable[[], object]) -> Deadline:
        """Schedule a call. @param seconds: the delay. @return: for cancelling."""
        slot = math.ceil((self._reactor.seconds() + seconds) / TICK_S - 1e-6)
        deadline = Deadline(self, slot, call)
        slots = self._slots.get(slot)
        if slots is None:
            self._slots[slot] = {deadline: None}
            if self._timer is None or slot < self._next:
                self._wait_for(slot)
        else:
            slots[deadline] = None
        return deadline

    def _forget(self, deadline: Deadline, slot: int) -> None:
        deadlines = self._slots.get(slot)
        if deadlines is None:  # this slot is firing
            return
        deadlines.pop(deadline, None)
        if not deadlines:
            del self._slots[slot]
            if not self._slots:
                self._stop()

    def _wait_for(self, slot: int) -> None:
        self._stop()
        self._next = slot
        self._timer = self._reactor.callLater(max(slot * TICK_S - self._reactor.seconds(), 0.0), self._turn)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _turn(self) -> None:
        self._timer = None
        now = math.floor(self._reactor.seconds() / TICK_S + 1e-6)
        for slot in sorted(slot for slot in self._slots if slot <= now):
            for deadline in self._slots.pop(slot, ()):
                deadline._fire()
        if self._slots:
            first = min(self._slots)
            if self._timer is None or first < self._next:
                self._wait_for(first)


timer_wheel_of = PerReactor(TimerWheel)
"""The timer wheel of a reactor or a clock."""
