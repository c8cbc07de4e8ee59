"""Which process serves: this one takes over from its predecessor, and a new process from this one."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy.admin.upgrades import OldProcess, UpgradeReport
from sniproxy.connection.lifecycle import ConnectionContext, Lifecycle
from sniproxy.events import Connection
from sniproxy.interfaces import Target
from sniproxy.relay.state import TunnelState
from sniproxy.server.connections import ConnectionManager
from sniproxy.server.upgrade.channel import close_all
from sniproxy.server.upgrade.listening import Listening
from sniproxy.server.upgrade.messages import Commit, Drains, Inherited, Message, Order, Reopen, Stop, Tunnel
from sniproxy.server.upgrade.old import Upgrade
from sniproxy.server.upgrade.predecessor import Predecessor
from sniproxy.server.upgrade.program import Start
from sniproxy.server.upgrade.receiver import TunnelReceiver
from sniproxy.server.view import ServiceView
from sniproxy.util.reactor import IReactor


class Succession:
    """Both ends of upgrades.

    @param left: called with the record of each connection that a new process has taken over.
    @param adopted: called with each tunnel that this process has taken over, and its bytes before that.
    @param retire: called when another process has taken over.
    @param predecessor: the process that this one replaces. None: it replaces none.
    @ivar over: whether another process accepts the connections, and this one only keeps tunnels.
    """

    def __init__(
        self,
        reactor: IReactor,
        listening: Listening,
        connections: ConnectionManager,
        left: Callable[[Connection], None],
        adopted: Callable[[Lifecycle, int, int], None],
        retire: Callable[[], None],
        predecessor: Predecessor | None,
    ) -> None:
        self.over = False
        self._reactor = reactor
        self._listening = listening
        self._connections = connections
        self._left = left
        self._adopted = adopted
        self._predecessor = predecessor
        self._waits = predecessor is not None  # for the commit
        self._in_charge = False  # instead of the predecessor
        self._receivers: list[TunnelReceiver] = []
        self._end_call: Any = None
        self._retire = retire
        self._upgrade: Upgrade | None = None

    @property
    def old_processes(self) -> list[OldProcess]:
        """The processes that this one and those before it have replaced, and that still have tunnels."""
        return [one.old for one in self._receivers if one.open and one.old.tunnels]

    def show(self, view: ServiceView) -> None:
        """Show the old processes, and follow the drains."""
        view.drains_changed = self.pass_drains
        view.find_old_processes = lambda: self.old_processes

    def started(self) -> None:
        """The listeners are open. A process with a predecessor does not accept yet."""
        if self._predecessor is not None:
            self._listening.hold()

    def take_over(self, context: Callable[[], ConnectionContext], in_charge: Callable[[bool], None]) -> None:
        """Take the tunnels of the predecessor, then accept connections. Call this when the reactor runs.

        @param context: returns that of new connections.
        @param in_charge: called with True when this process accepts connections; with False if it must not, because the
            predecessor continues: it only keeps the tunnels that it has taken.
        """
        assert self._predecessor is not None

        def adopt(tunnel: Tunnel, record: Connection, target: Target, state: TunnelState) -> None:
            conn = self._connections.adopt(context(), tunnel, record, target, state)
            self._adopted(conn, tunnel.bytes_up, tunnel.bytes_down)

        def accept(message: Commit | None) -> None:
            if message is not None:
                self._listening.drain(message.drains)
                self._listening.take_faults(message.faults)
            self._listening.release()

        def settle() -> None:
            self._waits, self._in_charge = False, True
            in_charge(True)

        def inherit(message: Inherited, sock: socket.socket) -> None:
            old = OldProcess(message.pid, message.tunnels, message.ends)
            receiver = TunnelReceiver(self._reactor, sock, old, message.version, adopt, _ignore, lambda why: None)
            self._receivers.append(receiver)
            receiver.order(Drains(self._listening.drains()))

        def abort() -> None:
            self._leave_listeners()
            in_charge(False)

        begin = self._predecessor.begin
        self._receivers.append(begin(self._reactor, adopt, accept, settle, abort, inherit))

    def upgrade(
        self,
        start: Start,
        drain_s: float,
        in_charge: Callable[[int], None],
        end: Callable[[], None],
    ) -> Deferred[UpgradeReport]:
        """Start a process that takes over the listeners and the tunnels (L{sniproxy.server.upgrade}).

        @param start: starts it. @param drain_s: seconds for the tunnels that cannot move.
        @param in_charge: called with its process id when it accepts connections instead of this one.
        @param end: called after that, to end this process: it has no connections left, or C{drain_s} has passed.
        @return: fires with the result.
        """

        def retire(pid: int) -> None:
            self.over = True
            self._retire()
            upgrade.end(drain_s)
            self._end_call = self._reactor.callLater(drain_s, end)
            for receiver in self._receivers:
                old, sock = receiver.old, receiver.detach()
                if sock is not None:
                    upgrade.bequeath(Inherited(receiver.version, old.pid, old.tunnels, old.ends), sock)
            in_charge(pid)

        upgrade = Upgrade(self._reactor, self._listening, self._connections.live, self._left, retire, end)
        self._upgrade = upgrade
        return upgrade.begin(start)

    def pass_drains(self) -> None:
        """Let the processes before this one drain what this one drains."""
        self._order(Drains(self._listening.drains()))

    def reopen(self) -> None:
        """Open this process's log files again, and let the processes before it do so."""
        self._listening.reopen()
        self._order(Reopen())

    def _order(self, message: Order) -> None:
        if self._in_charge:
            for receiver in self._receivers:
                receiver.order(message)

    def retire(self, drain_s: float, end: Callable[[], None]) -> None:
        """Accept no more connections, although no process takes over. Those that are open continue.

        @param drain_s: seconds until C{end} is called, unless L{stop} is called first.
        """
        self.over = True
        self._retire()
        self._listening.close()
        self._end_call = self._reactor.callLater(drain_s, end)

    def stop(self) -> None:
        """This process stops. An upgrade that is running fails. If it is in charge, the ones before it stop, too."""
        if not self.over:
            self._order(Stop())
        if self._waits:
            self._leave_listeners()
        if self._upgrade is not None:
            self._upgrade.stop()
        if self._end_call is not None and self._end_call.active():
            self._end_call.cancel()
        for receiver in self._receivers:
            receiver.close()  # drops an order that had to wait for room: tunnels that wait before it stay there

    def _leave_listeners(self) -> None:
        """Close this process's copies of the listening sockets. To stop them would stop those of the predecessor."""
        self._waits, self.over = False, True
        self._listening.leave()


def _ignore(message: Message, descriptors: list[int]) -> None:
    close_all(descriptors)
