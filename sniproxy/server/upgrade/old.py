"""The old process of an upgrade, from the request until it has nothing left."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection
from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from sniproxy.admin.sources import UpgradeReport
from sniproxy.connection.lifecycle import Lifecycle
from sniproxy.events import Connection
from sniproxy.server.upgrade import messages
from sniproxy.server.upgrade.channel import Channel, close_all
from sniproxy.server.upgrade.listening import Listening
from sniproxy.server.upgrade.messages import Message
from sniproxy.server.upgrade.program import CannotStart, Start, Successor
from sniproxy.server.upgrade.sender import TunnelSender
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import counted

log = Logger()

START_TIMEOUT_S = 60.0
"""Seconds in which the new process must be ready."""

ANSWER_TIMEOUT_S = 10.0
"""Seconds in which the new process must answer while tunnels move and at the commit."""

EXIT_TIMEOUT_S = 2.0
"""Seconds in which a new process that has closed the channel must end."""

CHECK_INTERVAL_S = 0.25
"""Seconds between two looks at the new process, and at what is left in this one."""

REPORT_INTERVAL_S = 2.0
"""Seconds between two reports of what is left."""


@attrs.define
class _Ready:
    """The new process is ready. @ivar pid: its process id. @ivar taken: numbers of the sockets that it uses."""

    pid: int
    taken: tuple[int, ...]


class Upgrade:
    """One upgrade.

    @param live: the connections of this process.
    @param left: see L{TunnelSender}.
    @param in_charge: called with the new process's id when that is in charge.
    @param end: called once after that, to end this process: it has no connections left, or the new one stops.
    @ivar ends: when this process ends its tunnels, in seconds since 1970. None: at no time.
    """

    def __init__(
        self,
        reactor: IReactor,
        listening: Listening,
        live: Collection[Lifecycle],
        left: Callable[[Connection], None],
        in_charge: Callable[[int], None],
        end: Callable[[], None],
    ) -> None:
        self.ends: float | None = None
        self._reactor = reactor
        self._listening = listening
        self._live = live
        self._left_with = left
        self._in_charge = in_charge
        self._end: Callable[[], None] | None = end
        self._done: Deferred[UpgradeReport] = Deferred()
        self._sockets: list[tuple[str, socket.socket, bool]] = []
        self._program: Successor | None = None
        self._channel: Channel | None = None
        self._sender: TunnelSender | None = None
        self._ready: _Ready | None = None
        self._state = "start"
        self._refused = False
        self._deadline = self._began = reactor.seconds()
        self._timer: Any = None
        self._reported = 0.0

    def begin(self, start: Start) -> Deferred[UpgradeReport]:
        """Start the new process.

        @return: fires when the new process is in charge, or when the upgrade has failed.
        """
        from sniproxy import __version__

        try:
            self._program, ours = start()
        except CannotStart as error:
            return self._report(str(error))
        log.info("upgrade: started process {pid}", pid=self._program.pid)
        self._channel = channel = Channel(self._reactor, ours, self._received, self._lost)
        channel.send(messages.Offer(messages.VERSIONS, __version__, os.getpid(), len(self._live)))
        self._sockets = self._listening.sockets()
        for number, (text, sock, admin) in enumerate(self._sockets):
            channel.send(messages.Socket(number, text, admin), sock.fileno())
        channel.send(messages.Offered())
        self._wait_for_answer(START_TIMEOUT_S)
        self._timer = self._reactor.callLater(CHECK_INTERVAL_S, self._check)
        return self._done

    def end(self, seconds: float) -> None:
        """This process ends its tunnels in this number of seconds."""
        self.ends = time.time() + seconds

    def bequeath(self, message: messages.Inherited, sock: socket.socket) -> None:
        """Give the channel to an older process to the new one. @param sock: is closed here."""
        if self._channel is None:
            sock.close()
        else:
            self._channel.send(message, sock.fileno(), sent=sock.close)

    def stop(self) -> None:
        """This process stops: an upgrade that is running fails, and no more tunnels move."""
        if self._channel is not None:
            self._end = None
            if self._state != "done":
                self._fail("the proxy is stopping")
            if self._state == "done":
                self._stop_moving()
                self._channel.finish(messages.Aborted())
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _received(self, message: Message, descriptors: list[int]) -> None:
        close_all(descriptors)
        if self._state != "gone":
            self._wait_for_answer(ANSWER_TIMEOUT_S)
        if self._sender is not None and self._sender.answered(message):
            return
        if self._state not in ("gone", "done") and isinstance(message, messages.Refused):
            self._refused = self._state == "start"
            if self._state == "committed":  # it has ended since
                self._state = "commit"
            self._fail(message.why)
        elif self._state == "start" and isinstance(message, messages.Ready):
            assert self._channel is not None and self._program is not None
            self._program.pid = message.pid
            self._ready = _Ready(message.pid, message.taken)
            self._state = "move"
            self._sender = TunnelSender(self._reactor, self._live, self._channel.send, self._left_with, self._none_left)
            self._sender.start()
        elif self._state == "commit" and isinstance(message, messages.Committed):
            self._state = "committed"
            # If the new process has ended since, its end has arrived, too, and this one continues.
            self._reactor.callLater(0, self._committed)
        elif self._state in ("committed", "done") and isinstance(message, messages.Order):
            self._obey(message)
        else:
            self._fail(f"unexpected message: {type(message).__name__}")

    def _obey(self, order: messages.Order) -> None:
        """Follow an order of the new process, which is in charge."""
        if isinstance(order, messages.Drains):
            self._listening.follow(order.drains)
        elif isinstance(order, messages.Reopen):
            self._listening.follow_rotation()
        else:
            self._stop_moving()
            self._reactor.callLater(0, self._stop_too)  # behind `_committed`

    def _none_left(self) -> None:
        """No tunnel can be moved at this moment: the new process takes charge."""
        if self._state != "move":
            return
        assert self._channel is not None
        self._state = "commit"
        self._listening.hold()
        self._channel.send(messages.Commit(self._listening.drains(), self._listening.faults()))
        self._wait_for_answer(ANSWER_TIMEOUT_S)

    def _committed(self) -> None:
        if self._state != "committed":
            return
        assert self._ready is not None and self._program is not None and self._sender is not None
        self._state = "done"
        taken = {sock for number, (_, sock, _) in enumerate(self._sockets) if number in self._ready.taken}
        self._sockets = []
        self._listening.hand_over(taken)
        self._in_charge(self._ready.pid)
        self._report_remaining()
        self._program.close()
        why = None
        if self._sender.declined is not None:
            why = f"the new process could not take all tunnels: {self._sender.declined}"
        self._report(why)

    def _stop_too(self) -> None:
        """The new process stops, and has told this one to do the same."""
        if self._end is not None:
            assert self._program is not None
            log.info("process {pid} stops, and so does this one; {left} here", pid=self._program.pid, left=self._left())
            self._end_once()

    def _end_once(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()

    def _lost(self, why: str) -> None:
        assert self._program is not None
        if self._state == "start":  # its exit status follows
            self._state = "gone"
            self._wait_for_answer(EXIT_TIMEOUT_S)
        else:
            if self._state == "committed":
                self._state = "commit"
            self._fail(f"the new process has failed: {why}")

    def _fail(self, why: str) -> None:
        """The upgrade has failed, or the new process after it: this one continues with what it has."""
        if self._state == "commit" and self._channel is not None:
            self._channel.end_reading()  # the new process is in charge if it has said so by now
        self._committed()
        if self._state == "failed":
            return
        assert self._program is not None and self._channel is not None
        done, self._state = self._state == "done", "failed"
        self._stop_moving()
        if done:
            log.warn("process {pid}: {why}; {left} here", pid=self._program.pid, why=why, left=self._left())
            self._channel.send(messages.Aborted())
            self._state = "done"
            return
        self._channel.finish(messages.Aborted())
        self._listening.release()
        if self._sender is None or not self._sender.moved:
            if not self._refused:
                for line in self._program.errors():
                    log.error("new process: {line}", line=line)
            self._program.kill()
        self._program.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._report(why)

    def _stop_moving(self) -> None:
        """This process resumes the tunnels that the new one has not taken, and cannot take from now on."""
        assert self._channel is not None
        self._channel.end_reading()
        if self._sender is not None:
            self._sender.stop()

    def _report(self, why: str | None) -> Deferred[UpgradeReport]:
        moved = 0 if self._sender is None else self._sender.moved
        pid = None if self._ready is None else self._ready.pid
        seconds = self._reactor.seconds() - self._began
        if why is None:
            log.info(
                "upgrade: process {pid} is in charge after {seconds:.1f} s; {moved} moved, {left} here",
                pid=pid, seconds=seconds, moved=counted(moved, "tunnel"), left=self._left(),
            )  # fmt: skip
        else:
            log.error("upgrade failed: {why}; {left} here", why=why, left=self._left())
        done = self._done
        done.callback(UpgradeReport(why, pid, moved, len(self._live), seconds, self._state == "done"))
        return done

    def _report_remaining(self) -> None:
        assert self._channel is not None
        self._reported = self._reactor.seconds()
        self._channel.send(messages.Remaining(len(self._live), self.ends))

    def _left(self) -> str:
        return f"{counted(len(self._live), 'connection')} left"

    def _wait_for_answer(self, seconds: float) -> None:
        self._deadline = self._reactor.seconds() + seconds

    def _check(self) -> None:
        """Look whether the new process fails to answer, and what is left in this one."""
        self._timer = self._reactor.callLater(CHECK_INTERVAL_S, self._check)
        assert self._program is not None and self._channel is not None
        now = self._reactor.seconds()
        ended = self._program.ended  # this collects its exit status
        if self._state == "gone" and (ended or now >= self._deadline):
            self._fail(f"the new process did not start: {self._program.why()}")
            return
        if self._state not in ("start", "gone", "commit") and (self._sender is None or not self._sender.waits):
            self._wait_for_answer(ANSWER_TIMEOUT_S)
        elif now >= self._deadline:
            self._channel.doRead()  # this process may have been stopped for long: the answer may have arrived
            if now < self._deadline or self._state in ("committed", "failed"):
                return
            what = {"start": f"was not ready in {START_TIMEOUT_S:g} s"}.get(self._state)
            self._fail(f"the new process {what or f'did not answer for {ANSWER_TIMEOUT_S:g} s'}")
            return
        if self._state != "done":
            return
        if now - self._reported >= REPORT_INTERVAL_S:
            self._report_remaining()
        if not self._live and self._end is not None:
            self._timer.cancel()
            self._timer = None
            if self._sender is not None:
                self._sender.stop()
            self._channel.close()
            self._end_once()
