"""Records connections of a running proxy, through its admin endpoint."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from contextlib import closing
from typing import Any, TextIO

import attrs

from sniproxy.cli.adminclient import AdminError
from sniproxy.cli.admincommands import read_token
from sniproxy.cli.adminstream import AdminStream
from sniproxy.cli.conversation.output import ConversationFile, Output
from sniproxy.cli.exitstatus import INTERRUPTED
from sniproxy.cli.failure import CommandFailed
from sniproxy.conversation.recorder import Recording
from sniproxy.conversation.textform import end_line
from sniproxy.util.text import bounded, counted

STOPPED = "the recording was stopped"


@attrs.define(eq=False)
class _Connection:
    """A connection of the proxy, as its lines show it."""

    file: ConversationFile
    frames: int = 0
    topics: list[str] = attrs.field(factory=list)
    how: str = ""
    peers: str = ""
    time: float = 0.0

    def take(self, line: dict[str, Any]) -> None:
        """Write a line. @raise CommandFailed: it cannot be written."""
        if "conversation" in line:
            self.peers = bounded(f"{line['client']} -> {line['broker']}")
        elif "end" in line:
            self.how = str(line["end"])
        else:
            self.frames += 1
            self.time = float(line["time"])
        self.file.write(json.dumps(line))

    def end(self, how: str, topics: list[str]) -> None:
        """Close the file. @param how: unless its last line says so already."""
        if not self.how:
            self.how = how
            self.file.write(end_line(self.time, how))
        self.topics = [bounded(str(topic)) for topic in topics]
        self.file.end(self, self.peers)


class Messages:
    """Writes the messages of a recording to files.

    @ivar ended: connections that have ended. @ivar skipped: those that the proxy does not record.
    """

    def __init__(self, output: Output, report: Callable[[str], None]) -> None:
        self._output = output
        self._report = report
        self._open: dict[int, _Connection] = {}
        self.ended = 0
        self.skipped = 0

    def take(self, message: dict[str, Any]) -> None:
        """Take a message. @raise AdminError: it is none. @raise CommandFailed: a file cannot be written."""
        try:
            if "recording" in message:
                names = ", ".join(bounded(str(name)) for name in message["recording"])
                self._report(f"recording new connections of {names}; Ctrl-C ends it")
            elif "skipped" in message:
                self.skipped = int(message["skipped"])
            elif "line" in message:
                number = message["connection"]
                if number not in self._open:
                    self._open[number] = _Connection(self._output.writer())
                self._open[number].take(message["line"])
            else:
                self._open.pop(message["connection"]).end(str(message["ended"]), list(message["topics"]))
                self.ended += 1
        except (KeyError, TypeError, ValueError) as error:
            raise AdminError(f"unexpected answer, perhaps from another release: {error!r}") from error

    def stop(self) -> None:
        """Close the files of the connections that are open."""
        while self._open:
            self._open.popitem()[1].end(STOPPED, [])


def record_running(options: argparse.Namespace, recording: Recording, error: TextIO) -> int:
    """Record until Ctrl-C, the end of the proxy, or the bounds in the options. @return: the exit status.

    @raise AdminError: the proxy does not record. @raise CommandFailed: nothing was recorded, or not written.
    """

    def report(line: str) -> None:
        print(line, file=error, flush=True)

    query = [("max_frames", str(recording.max_frames)), ("max_bytes", str(recording.max_bytes))]
    query += [("keep", each.value) for each in recording.keep]
    query += [("listener", name) for name in options.listener]
    query += [("topic", pattern) for pattern in recording.topics]
    output = Output(options.output, frozenset(options.connection), report)
    messages = Messages(output, report)
    status = 0
    with closing(AdminStream(options.admin, "record", query, read_token(options.token_file))) as stream:
        try:
            for message in stream.messages(options.seconds):
                messages.take(message)
                if options.connections is not None and messages.ended >= options.connections:
                    break
        except KeyboardInterrupt:
            status = INTERRUPTED
        finally:
            messages.stop()
    if messages.skipped:
        report(f"{counted(messages.skipped, 'connection')} not recorded: too many at once, or not read fast enough")
    if not output.written:
        raise CommandFailed("nothing was recorded: no new client sent Pulsar frames, or none was wanted")
    return status
