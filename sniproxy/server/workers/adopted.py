"""A worker's process that the program before this one has started: a child that nothing here has spawned."""

from __future__ import annotations

import os
from typing import Any

from twisted.internet import process
from twisted.internet.interfaces import IProcessProtocol

from sniproxy.server.workers.handover import WorkerState
from sniproxy.util.reactor import IReactor


class AdoptedProcess(process.Process):
    """Twisted's transport of a child process, without the start. Its exit status is collected as that of any other.

    @param protocol: gets the output, and the end.
    """

    def __init__(self, reactor: IReactor, state: WorkerState, protocol: IProcessProtocol) -> None:
        process._BaseProcess.__init__(self, protocol)
        self._reactor = reactor
        self.pid = state.pid
        self.status = -1
        self.pipes: dict[int, Any] = {}
        for number, descriptor in state.pipes.items():
            os.set_inheritable(descriptor, False)
            pipe: Any
            if number == state.orders:
                pipe = self.processWriterFactory(reactor, self, number, descriptor, forceReadHack=True)  # type: ignore[no-untyped-call]
            else:
                pipe = self.processReaderFactory(reactor, self, number, descriptor)  # type: ignore[no-untyped-call]
            self.pipes[number] = pipe
        if state.unsent and state.orders in self.pipes:
            self.pipes[state.orders].write(state.unsent)
        protocol.makeConnection(self)
        if state.status is None:
            process.registerReapProcessHandler(state.pid, self)
        else:  # another process may have the number by now
            self.pid, self.status, self.lostProcess = None, state.status, 1
