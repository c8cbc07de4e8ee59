"""The files of recorded connections."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol, TextIO

from sniproxy.cli.failure import CommandFailed
from sniproxy.util.text import bounded, counted, printable


class Recorded(Protocol):
    """A recorded connection: the number of its frames, its first topics, and how it ended."""

    @property
    def frames(self) -> int: ...
    @property
    def topics(self) -> Sequence[str]: ...
    @property
    def how(self) -> str: ...


MAX_OPEN_FILES = 200
"""Connections that are recorded at the same time."""

MAX_FILES = 10_000
MAX_SHOWN_TOPICS = 2


class Output:
    """Where conversations are written: a file for each connection, made at its first frame and closed at its end.

    @param name: of the first file. @param wanted: the numbers of the wanted connections with Pulsar; empty: all.
    @param report: called with a line for each connection that has ended.
    @ivar written: conversations that were written. @ivar found: connections with a frame.
    """

    def __init__(self, name: str, wanted: frozenset[int], report: Callable[[str], None]) -> None:
        self._name = name
        self._wanted = wanted
        self._report = report
        self._open: dict[int, TextIO] = {}
        self.written = 0
        self.found = 0

    def writer(self) -> ConversationFile:
        """Where the lines of one connection go."""
        return ConversationFile(self)

    def begin(self) -> tuple[int, str] | None:
        """Begin the next connection that has a frame. @return: its number and file; None: it is not wanted."""
        self.found += 1
        number = self.found
        if self._wanted and number not in self._wanted:
            return None
        if len(self._open) >= MAX_OPEN_FILES or self.written >= MAX_FILES:
            self._report(f"connection {number}: not recorded, there are too many")
            return None
        self.written += 1
        name = self._name if self.written == 1 else numbered(self._name, self.written)
        try:
            # What a recording keeps may be secret: only its owner may read it.
            descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            self._open[number] = open(descriptor, "w", encoding="ascii")  # noqa: SIM115  # closed by end
        except OSError as error:
            raise _failed(name, error) from None
        return number, name

    def write(self, number: int, name: str, line: str) -> None:
        """Write a line. @raise CommandFailed: the file cannot be written."""
        try:
            print(line, file=self._open[number], flush=True)
        except OSError as error:
            raise _failed(name, error) from None

    def end(self, number: int, name: str, recorder: Recorded, peers: str) -> None:
        """Close the file of a connection, and report it."""
        with suppress(OSError):
            self._open.pop(number).close()
        self._report(f"{printable(name)}: {summary(recorder, peers)}")


class ConversationFile:
    """Takes the lines of one connection."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self._begun = False
        self._ended = False
        self._place: tuple[int, str] | None = None

    def write(self, line: str) -> None:
        """Take a line. @raise CommandFailed: it cannot be written."""
        if not self._begun:
            self._begun = True
            self._place = self._output.begin()
        if self._place is not None:
            self._output.write(*self._place, line)

    def end(self, recorder: Recorded, peers: str) -> None:
        """The connection has ended. @param peers: the addresses of both ends."""
        if self._place is not None and not self._ended:
            self._ended = True
            self._output.end(*self._place, recorder, peers)


def summary(recorder: Recorded, peers: str) -> str:
    """One line about a recorded connection."""
    more = ", ..." if len(recorder.topics) > MAX_SHOWN_TOPICS else ""
    topics = f", {', '.join(recorder.topics[:MAX_SHOWN_TOPICS])}{more}" if recorder.topics else ""
    return f"{counted(recorder.frames, 'frame')}, {peers}{topics}; ended: {bounded(recorder.how)}"


def numbered(name: str, number: int) -> str:
    """The name of a further file: ``talk-2.jsonl``."""
    path = Path(name)
    return str(path.with_name(f"{path.stem}-{number}{path.suffix}"))


def _failed(name: str, error: OSError) -> CommandFailed:
    return CommandFailed(f"cannot write {printable(name)}: {error.strerror or error}; give another file with --output")
