"""Clients that connect repeatedly and record the outcome of each connection."""

from __future__ import annotations

import socket
import threading
from collections import Counter

from twisted.trial.unittest import TestCase

from tests.support.hellos import hello
from tests.support.sockets import TIMEOUT_S


class Clients:
    """Threads, each of which connects, says a name that no route has, and reads to the end.

    @ivar ends: how many connections ended in each way: ``"closed"``, or the name of the exception.
    """

    def __init__(self, case: TestCase, port: int, threads: int = 8) -> None:
        self.ends: Counter[str] = Counter()
        self._port = port
        self._stopped = False
        self._lock = threading.Condition()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        case.addCleanup(self.stop)
        for thread in self._threads:
            thread.start()

    def wait_for_more(self, count: int) -> None:
        """Wait until this many connections more have ended."""
        with self._lock:
            goal = self.ends.total() + count
            assert self._lock.wait_for(lambda: self.ends.total() >= goal, 4 * TIMEOUT_S), self.ends

    def stop(self) -> Counter[str]:
        """Stop the threads. @return: L{ends}."""
        self._stopped = True
        for thread in self._threads:
            thread.join()
        return self.ends

    def _run(self) -> None:
        while not self._stopped:
            end = self._connect()
            with self._lock:
                self.ends[end] += 1
                self._lock.notify_all()

    def _connect(self) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT_S) as client:
                client.sendall(hello(name="nowhere.test"))
                while client.recv(4096):
                    pass
        except OSError as error:
            return type(error).__name__
        return "closed"
