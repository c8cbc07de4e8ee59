"""A small reactor for the self-test, which runs before the program's reactor starts."""

from __future__ import annotations

import select
import time
from typing import Any

from twisted.internet.error import ConnectionLost
from twisted.internet.interfaces import IReadDescriptor, IWriteDescriptor
from twisted.internet.task import Clock
from twisted.python.failure import Failure


class Loop(Clock):
    """The methods of a reactor that a relay needs. The caller runs it step by step."""

    def __init__(self) -> None:
        super().__init__()
        self._readers: dict[int, IReadDescriptor] = {}
        self._writers: dict[int, IWriteDescriptor] = {}

    def addReader(self, reader: Any) -> None:
        self._readers[reader.fileno()] = reader

    def addWriter(self, writer: Any) -> None:
        self._writers[writer.fileno()] = writer

    def removeReader(self, reader: Any) -> None:
        self._readers.pop(reader.fileno(), None)

    def removeWriter(self, writer: Any) -> None:
        self._writers.pop(writer.fileno(), None)

    def run_once(self) -> None:
        """Wait up to a millisecond for events, call their readers and writers, then call what is due."""
        poll = select.poll()
        for descriptor in {*self._readers, *self._writers}:
            events = select.POLLIN if descriptor in self._readers else 0
            poll.register(descriptor, events | (select.POLLOUT if descriptor in self._writers else 0))
        before = time.monotonic()
        for descriptor, event in poll.poll(1):
            reader, writer = self._readers.get(descriptor), self._writers.get(descriptor)
            if event & select.POLLIN and reader is not None:
                reader.doRead()
            elif event & (select.POLLERR | select.POLLHUP):
                for one in (reader, writer):
                    if one is not None:
                        one.connectionLost(Failure(ConnectionLost()))
            if event & select.POLLOUT and self._writers.get(descriptor) is not None:
                self._writers[descriptor].doWrite()
        self.advance(time.monotonic() - before)
