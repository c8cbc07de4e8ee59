"""A scripted stand-in for the native module ``sniproxy.relay._engine``: it moves only held bytes."""

from __future__ import annotations

import os
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay import engine


class FakeTunnel:
    """A tunnel. @ivar asked: the names of the methods that were called. @ivar state: of a resumed one."""

    def __init__(self, *given: Any) -> None:
        self.key, self.client, self.target, self.held, self.idle, self.half_closed_s = given
        self.asked: list[str] = []
        self.state: tuple[Any, ...] = ()
        self.bytes_up, self.bytes_down, self.half_closed, self.blocked = len(self.held), 0, False, 0

    def end(self) -> None:
        self.asked.append("end")

    def give_back(self) -> None:
        self.asked.append("give_back")


class FakeEngine:
    """Stands for C{_engine.Engine}, and for the module. A test calls L{finish} for a tunnel.

    @ivar refusal: raised by the constructor. @ivar full: raised by L{add}. None: nothing is raised.
    @ivar opened: all tunnels.
    """

    refusal: OSError | None = None
    full: OSError | None = None

    def __init__(self) -> None:
        self.arguments: tuple[int, ...] = ()
        self.opened: list[FakeTunnel] = []
        self.held = self.pipes = 0
        self.closed = 0
        self._live: dict[FakeTunnel, None] = {}
        self._told: list[engine.NativeEnding] = []

    def Engine(self, threads: int, user_timeout_ms: int, probes: int) -> FakeEngine:
        """The constructor."""
        if self.refusal is not None:
            raise self.refusal
        self.arguments = (threads, user_timeout_ms, probes)
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        return self

    def fileno(self) -> int:
        return self._fd

    def add(self, *given: Any) -> FakeTunnel:
        if self.full is not None:
            raise self.full
        tunnel = FakeTunnel(*given)
        self.opened.append(tunnel)
        if tunnel.held:
            os.write(tunnel.target, tunnel.held)
        self._live[tunnel] = None
        return tunnel

    def resume(self, key: int, client: int, target: int, state: tuple[Any, ...], *limits: float) -> FakeTunnel:
        if self.full is not None:
            raise self.full
        tunnel = FakeTunnel(key, client, target, b"", *limits)
        tunnel.state, tunnel.bytes_up, tunnel.bytes_down = state, state[4], state[5]
        self.opened.append(tunnel)
        self._live[tunnel] = None
        return tunnel

    def finish(self, tunnel: FakeTunnel, kind: int, number: int = 0, side: int = 0, **more: Any) -> None:
        """A tunnel ends. @param more: C{back} (both descriptors by default), C{held}, C{first}, C{quiet}."""
        del self._live[tunnel]
        back = more.get("back", (True, True))
        fds = []
        for fd, comes_back in zip((tunnel.client, tunnel.target), back, strict=True):
            if not comes_back:
                os.close(fd)
            fds.append(fd if comes_back else -1)
        up, down = tunnel.bytes_up, tunnel.bytes_down
        held = more.get("held", (b"", b""))
        state = (*held, more.get("first", 0), more.get("quiet", 0.0))
        self._told.append((tunnel.key, kind, number, side, up, down, *fds, more.get("answer", b""), state))
        os.eventfd_write(self._fd, 1)

    def endings(self) -> list[engine.NativeEnding]:
        if self._told:
            os.eventfd_read(self._fd)
        told, self._told = self._told, []
        return told

    def close(self) -> None:
        self.closed += 1
        if self.closed == 1:
            for fd in (self._fd, *(fd for tunnel in self._live for fd in (tunnel.client, tunnel.target))):
                os.close(fd)


def use_fake(case: SynchronousTestCase) -> FakeEngine:
    """Make the adapter load a fake for one test."""
    fake = FakeEngine()
    case.patch(engine, "load", lambda: fake)
    return fake


def use_none(case: SynchronousTestCase) -> None:
    """Make the adapter find no native module for one test."""

    def load() -> None:
        raise engine.EngineUnavailable("no engine here")

    case.patch(engine, "load", load)
