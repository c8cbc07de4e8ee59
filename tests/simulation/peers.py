"""The clients and targets of a world: each follows a script on its own end of a connection."""

from __future__ import annotations

import select
from random import Random
from typing import TYPE_CHECKING, Any

from tests.simulation.kernel import End
from tests.simulation.model import Half
from tests.simulation.plan import Step

if TYPE_CHECKING:
    from tests.simulation.world import World


class Peer:
    """A client or a target.

    @param out: what it sends. @param inn: what it gets. None: there is no tunnel yet; what comes is kept in C{early}.
    @ivar saw: how the connection ended for it: empty, ``end`` or the name of an error.
    """

    def __init__(self, world: World, end: End, name: str, rng: Random, out: Half) -> None:
        self.world = world
        self.end = end
        self.name = name
        self.out = out
        self.inn: Half | None = None
        self.early = bytearray()
        self.saw = ""
        self.chunk, self.pause = 1 << 16, 0.0
        self._rng = rng
        self._steps: list[Step] = []
        self._scripted = False
        self._pending = b""
        self._waits = False
        self._rests = False
        self._scheduled = False
        end.changed = self.poke

    def follow(self, steps: list[Step], first: bytes = b"") -> None:
        """Begin a script. @param first: sent before it."""
        self._steps = steps
        self._pending = first
        self._scripted = True
        self.poke()

    def attach(self, out: Half, inn: Half, model_of: str) -> None:
        """The tunnel is open."""
        self.inn = inn
        if self.early:
            with self.world.checking():
                inn.deliver(bytes(self.early))
        if self.saw == "end":
            inn.ended = True

    def calm(self) -> None:
        """Read without pauses, and end in order when the script is over."""
        self.pause, self.chunk, self._rests = 0.0, 1 << 16, False
        self._steps = [step for step in self._steps if step[0] not in ("wait", "vanish", "reset")]
        self._steps.append(("fin",))
        self._scripted, self._waits = True, False
        self.poke()

    def poke(self) -> None:
        """Something may have changed: look at it soon."""
        if not self._scheduled:
            self._scheduled = True
            self.world.reactor.later(0.0, self._look)

    @property
    def over(self) -> bool:
        """Whether nothing more happens here."""
        return self.end.closed or self.end.dead or self.end.vanished

    def _look(self) -> None:
        self._scheduled = False
        if self.end.vanished or self.end.closed or not (self.end.established or self.end.dead):
            return
        with self.world.checking():
            self._read()
            if not self.over:
                self._write()
            if self.end.dead and not self.saw:
                self._see_loss("a reset")

    def _read(self) -> None:
        while not self._rests and not self.saw:
            if self.end.events() & select.EPOLLERR and not self.end.inn.arrived:
                self.end.take_error()
                self._see_loss("a reset")
                return
            try:
                data = self.end.recv(self.chunk)
            except BlockingIOError:
                return
            except OSError as error:
                self._see_loss(str(error.strerror))
                return
            if not data:
                self._see_end()
                return
            self.world.note(f"{self.name} receives {len(data)} bytes")
            if self.inn is None:
                self.early += data
            else:
                self.inn.deliver(data)
            if self.pause:
                self._rests = True
                self.world.reactor.later(self.pause, self._wake)

    def _wake(self) -> None:
        self._rests = False
        self.poke()

    def _see_end(self) -> None:
        self.saw = "end"
        self.world.note(f"{self.name} receives the end")
        model = self.world.model_of(self)
        if model is not None and self.inn is not None:
            model.deliver_end(self.inn)

    def _see_loss(self, why: str) -> None:
        first, self.saw = self.saw, self.saw or why
        self.world.note(f"{self.name} sees its connection lost: {why}")
        model = self.world.model_of(self)
        if model is not None and self.inn is not None and not self.out.source_broke and not first:
            model.deliver_reset(self.inn)
        self.end.close()

    def _write(self) -> None:
        while not self._waits:
            if self._pending:
                try:
                    count = self.end.send(self._pending)
                except BlockingIOError:
                    return
                except OSError as error:
                    self._see_loss(str(error.strerror))
                    return
                self.out.sent += self._pending[:count]
                self._pending = self._pending[count:]
                continue
            if not self._steps:
                break
            self._step(*self._steps.pop(0))
            if self.over:
                return
        done = self._scripted and not self._steps and not self._pending and not self._waits
        if self.saw == "end" and (done or not self._scripted) and not self.end.out.fin_sent:
            self._finish()
        if self.saw and self.end.out.fin_sent:
            self.end.close()

    def _step(self, kind: str, value: Any = 0) -> None:
        if kind == "send":
            self._pending = self._rng.randbytes(int(value))
            self.world.note(f"{self.name} sends {int(value)} bytes")
        elif kind == "bytes":
            self._pending = value
            self.world.note(f"{self.name} sends {len(value)} bytes of its hello")
        elif kind == "wait":
            self._waits = True
            self.world.reactor.later(value, self._go_on)
        elif kind == "fin":
            if not self.end.out.fin_sent:
                self._finish()
        elif kind == "close":
            self.world.note(f"{self.name} closes")
            self.out.source_ended = True
            if self.end.inn.arrived or not self.saw:
                self.out.source_broke = "closed while bytes may come"
            self.end.close()
        elif kind == "reset":
            self.world.note(f"{self.name} resets")
            self.out.source_broke = "reset"
            self.end.reset()
            self.end.close()
        elif kind == "vanish":
            self.world.note(f"{self.name} vanishes")
            self.out.source_broke = "vanished"
            self.end.vanish()

    def _finish(self) -> None:
        self.world.note(f"{self.name} ends its side")
        self.out.source_ended = True
        self.end.shutdown()

    def _go_on(self) -> None:
        self._waits = False
        self.poke()
