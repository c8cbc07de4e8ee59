"""The listeners, the admin endpoint, the drains, the faults and the logs of a process, for an upgrade."""

from __future__ import annotations

import socket
from collections.abc import Collection

from twisted.logger import Logger

from sniproxy.admin.sources import UnknownDrainTarget
from sniproxy.interfaces import BadValue
from sniproxy.logs.twistd import reopen_file
from sniproxy.server.listeners import Listeners
from sniproxy.server.observers import Observers
from sniproxy.server.upgrade.messages import Drain, FaultState, fitting
from sniproxy.server.view import ServiceView
from sniproxy.util.text import bounded

log = Logger()


class Listening:
    """Where a process accepts connections, what drains, which faults it makes on purpose, and what it logs to."""

    def __init__(self, listeners: Listeners, observers: Observers, view: ServiceView) -> None:
        self._listeners = listeners
        self._observers = observers
        self._view = view

    def sockets(self) -> list[tuple[str, socket.socket, bool]]:
        """The listening sockets: the text of the endpoint, the socket, whether it is the admin endpoint's."""
        found = [(text, sock, False) for text, sock in self._listeners.sockets]
        admin = self._observers.admin_socket
        return found if admin is None else [*found, (*admin, True)]

    def hold(self) -> None:
        """Accept nothing until L{release}. Clients wait."""
        self._listeners.hold()
        self._observers.hold()
        self._view.ready = False

    def release(self) -> None:
        """Accept connections."""
        self._listeners.release()
        self._observers.release()
        self._view.ready = True

    def hand_over(self, taken: Collection[socket.socket]) -> None:
        """Close all sockets. Drains continue with what is left. @param taken: sockets that the new process uses."""
        self._listeners.hand_over(taken)
        self._observers.hand_over(taken)

    def leave(self) -> None:
        """Close this process's descriptors of all sockets, because the predecessor continues. Drain nothing."""
        self.hold()
        self.hand_over([sock for _, sock, _ in self.sockets()])
        self._view.drains.stop()

    def close(self) -> None:
        """Accept no more connections. Clients in a backlog are accepted first. Drains continue with what is left."""
        self._listeners.stop()
        self._view.ready = False

    def drains(self) -> tuple[Drain, ...]:
        """What drains."""
        return tuple(Drain(one.name, one.rate, one.kind) for one in self._view.drains.status())

    def drain(self, drains: Collection[Drain]) -> None:
        """Drain what another process drains, also a target that no resolver has answered with yet."""
        for one in drains:
            try:
                self._view.drain(one.name, one.rate, one.kind)
            except UnknownDrainTarget as error:
                log.warn("upgrade: cannot continue the drain of {name}: {why}", name=one.name, why=error)

    def faults(self) -> tuple[FaultState, ...]:
        """The faults on purpose, with their counts. Those that are too long for the message are left out."""
        found = [
            FaultState(values, rule.matched, rule.applied, rule.added) for values, rule in self._view.faults.states()
        ]
        sent = fitting(found)
        for one in found[len(sent) :]:
            log.warn("upgrade: fault {name} is not handed over: faults are too long", name=one.values["name"])
        return sent

    def take_faults(self, faults: Collection[FaultState]) -> None:
        """Continue with the faults of another process: those that were added, and the counts of all."""
        for one in faults:
            try:
                self._view.take_fault(one.values, one.matched, one.applied, one.added)
            except BadValue as error:
                if one.added:
                    name = bounded(str(one.values.get("name")))
                    log.warn(
                        "upgrade: cannot continue the fault {name}: {key}: {why}", name=name, key=error.key, why=error
                    )

    def follow(self, drains: Collection[Drain]) -> None:
        """Drain exactly what the new process drains."""
        wanted = {(one.kind, one.name): one for one in drains}
        for one in self.drains():
            if wanted.get((one.kind, one.name)) == one:
                del wanted[one.kind, one.name]
            elif (one.kind, one.name) not in wanted:
                self._view.undrain(one.name, one.kind)
        self.drain(wanted.values())

    def reopen(self) -> None:
        """Open the log files again, but for twistd's, which twistd rotates."""
        self._observers.reopen()

    def follow_rotation(self) -> None:
        """Open all log files again, which the new process has rotated."""
        self._observers.reopen()
        reopen_file()
