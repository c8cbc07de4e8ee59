"""Entry point of ``sniproxyctl``; the commands ``inspect`` and ``topics``."""

from __future__ import annotations

import argparse
import os
import stat
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO, TextIO

import attrs

from sniproxy import __version__
from sniproxy.cli.adminclient import AdminError, as_url
from sniproxy.cli.admincommands import fetch_ledgers
from sniproxy.cli.captureoptions import add_inspect, add_topics
from sniproxy.cli.commands import Streams as Streams
from sniproxy.cli.commands import add_commands
from sniproxy.cli.completion import add_completion
from sniproxy.cli.exitstatus import INCOMPLETE, INTERRUPTED
from sniproxy.cli.failure import CommandFailed
from sniproxy.cli.ledgertables import FAILURES, NAMESPACES, TOPICS, write_csv, write_json, write_table
from sniproxy.cli.progress import ProgressBar
from sniproxy.inspector.capture.files import CaptureError
from sniproxy.inspector.capture.reading import CaptureEvents
from sniproxy.inspector.entries import LedgerSnapshot, fold
from sniproxy.inspector.format import json_line, readable_line
from sniproxy.pulsar.events import Event
from sniproxy.pulsar.filter import EventFilter
from sniproxy.util.closedpipe import exit_on_broken_pipe
from sniproxy.util.text import counted, printable

_TEXT_COLUMN = 33  # where readable_line begins the text of the event


def parser() -> tuple[argparse.ArgumentParser, Mapping[str, argparse.ArgumentParser]]:
    """The command-line parser. @return: the top parser, and the parser of each command."""
    top = argparse.ArgumentParser(
        prog="sniproxyctl",
        description="Commands of sniproxy, the SNI proxy for Apache Pulsar: run, reload and upgrade it, show the "
        "status of running proxies and drain them, explain the route of a server name, look up topics through a proxy, "
        "decode captures of the Pulsar protocol, record and replay conversations, and convert the configurations of "
        "other proxies.",
        epilog="Exit status: 0: success; 1: an error, which standard error explains in one line; 2: wrong usage; 130: "
        "Ctrl-C. Some commands have others: COMMAND --help.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"sniproxyctl {__version__}")
    add_completion(top)
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    add_inspect(commands).set_defaults(run=_inspect)
    add_topics(commands).set_defaults(run=_topics)
    add_commands(commands)
    return top, commands.choices


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the command line. Options may precede the command and be mixed with its arguments.

    @raise SystemExit: wrong usage, with status 2.
    """
    top, commands = parser()
    at = next((at for at, word in enumerate(arguments) if word in commands), None)
    if at is None or "--version" in arguments[:at] or (at and not arguments[0].startswith("-")):
        return top.parse_args(arguments)
    command, words = commands[arguments[at]], [*arguments[:at], *arguments[at + 1 :]]
    # Arguments after "--" are no options; parse_intermixed_args does not support that.
    return command.parse_args(words) if "--" in words else command.parse_intermixed_args(words)


def main(arguments: Sequence[str] | None = None, streams: Streams | None = None) -> int:
    """Run a command.

    @return: the exit status: 0 for success, 1 after an error, which is printed in one line, 130 after Ctrl-C,
        `INCOMPLETE` for a capture with packets that could not be read, and for a failed lookup a value of
        `sniproxy.client.failures.FailureKind`.
    @raise SystemExit: with 2 for wrong usage, with 141 if the reader of the output has closed the pipe.
    """
    streams = streams or Streams(sys.stdin.buffer, sys.stdout, sys.stderr)
    with exit_on_broken_pipe(streams.out, streams.error):
        options = parse(sys.argv[1:] if arguments is None else arguments)
        run: Callable[[argparse.Namespace, Streams], int] = options.run
        try:
            return run(options, streams)
        except CommandFailed as error:
            streams.out.flush()
            print(error.report, file=streams.error)
            return error.status


def _inspect(options: argparse.Namespace, streams: Streams) -> int:
    try:
        choice = EventFilter(options.follow, options.commands)
    except ValueError as error:
        options.usage(str(error))
    with _opened(options.file, streams) as file:
        capture = CaptureEvents(file, options.port, reveal=options.reveal, commands=choice.extra_commands)
        printer = _EventPrinter(streams.out, as_json=options.json, unbuffered=not _regular_size(file))
        shown = 0

        def show(event: Event) -> None:
            nonlocal shown
            if choice.wants(event):
                shown += 1
                printer.show(event)

        return _read(capture, file, options.file, streams, show, lambda: f"{counted(shown, 'event')} shown; ")


def _topics(options: argparse.Namespace, streams: Streams) -> int:
    url = options.file if os.path.exists(options.file) else as_url(options.file)
    if url.startswith(("http://", "https://", "unix:")):
        try:
            running = fetch_ledgers([url, *options.others])
        except AdminError as error:
            raise CommandFailed(str(error) if options.others else f"{_shown(url)}: {error}") from error
        print(_list(running, options, streams.out), file=streams.error)
        return 0
    if options.others:
        options.usage("give only one capture; several arguments must be admin endpoints (http://...)")
    with _opened(options.file, streams) as file:
        capture = CaptureEvents(file, options.port)

        def ignore(event: Event) -> None:
            pass

        def write() -> str:
            return f"{_list(capture.ledger.snapshot(), options, streams.out)}; "

        return _read(capture, file, options.file, streams, ignore, write)


def _list(known: LedgerSnapshot, options: argparse.Namespace, out: TextIO) -> str:
    """Print the topics, namespaces or failures. @return: a summary."""
    write = write_json if options.json else write_csv if options.csv else write_table
    topics = sorted(
        fold(known.topics) if options.fold else known.topics, key=lambda entry: (entry.topic, entry.cluster)
    )
    if options.failures:
        write(FAILURES, known.failures, out)
    elif options.namespaces:
        namespaces = sorted(known.namespaces, key=lambda entry: (entry.namespace, entry.cluster))
        write(NAMESPACES, namespaces, out)
    else:
        write(TOPICS, topics, out)
    failed = counted(len(known.failures), "failed lookup")
    hint = "" if options.failures else " (--failures)"
    return counted(len(topics), "topic") + (f", {failed}{hint}" if known.failures else "")


def _read(
    capture: CaptureEvents,
    file: BinaryIO,
    name: str,
    streams: Streams,
    show: Callable[[Event], None],
    result: Callable[[], str],
) -> int:
    """Read a whole capture. Prints the text of `result` and a summary to standard error. @return: the exit status."""
    bar = _CaptureProgress(file, streams)
    status, error = 0, None
    try:
        for event in bar.events(capture):
            show(event)
    except KeyboardInterrupt:
        status = INTERRUPTED
    except CaptureError as problem:
        error = CommandFailed(f"{_shown(name)}: {problem}")
    except _ReadError as problem:
        error = CommandFailed(f"{_shown(name)}: read error: {problem}; copy it to another disk and try again")
    bar.hide()
    if error is not None and not capture.packets:
        raise error
    for event in capture.finish():
        show(event)
    text = result()
    streams.out.flush()
    print(text + capture.summary(), file=streams.error)
    if error is not None:
        raise error
    return status or (INCOMPLETE if capture.incomplete else 0)


@contextmanager
def _opened(name: str, streams: Streams) -> Iterator[BinaryIO]:
    if name == "-":
        if streams.input.isatty():
            raise CommandFailed(
                "standard input is a terminal; pipe a capture into it, such as the output of `tcpdump -w -`"
            )
        yield streams.input
        return
    try:
        file = open(name, "rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise CommandFailed(
            f"cannot open {_shown(name)}: {error.strerror}; "
            "give a readable pcap or pcapng file, or '-' for standard input"
        ) from error
    with file:
        yield file


def _shown(name: str) -> str:
    return "standard input" if name == "-" else printable(name)


def _regular_size(file: BinaryIO) -> int:
    """The size of a regular file; 0 for a pipe and other streams."""
    try:
        status = os.fstat(file.fileno())
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


class _ReadError(Exception):
    """Reading the file failed."""


class _CaptureProgress:
    """The events of a capture, with a progress bar on standard error."""

    def __init__(self, file: BinaryIO, streams: Streams) -> None:
        self._file = file
        self._bar = ProgressBar(_regular_size(file), streams.error)
        self._both = streams.out.isatty()
        self.hide = self._bar.hide

    def events(self, capture: CaptureEvents) -> Iterator[Event]:
        """The events of the capture. Hides the bar before each event if the output is a terminal."""
        try:
            for event in capture.with_progress(self._draw if self._bar.size else None):
                if self._both:
                    self.hide()
                yield event
        except OSError as error:
            raise _ReadError(error.strerror or str(error)) from error

    def _draw(self) -> None:
        self._bar.draw(self._file.tell())


class _EventPrinter:
    """Prints events. In text, each connection has a short number, which a line before its first event introduces."""

    def __init__(self, out: TextIO, *, as_json: bool, unbuffered: bool) -> None:
        self._out = out
        self._json = as_json
        self._unbuffered = unbuffered
        self._colour = out.isatty() and not os.environ.get("NO_COLOR")
        self._numbers: dict[str, int] = {}
        self._count = 0

    def show(self, event: Event) -> None:
        """Print one event."""
        if self._json:
            print(json_line(event), file=self._out)
        else:
            self._show(event)
        if self._unbuffered:
            self._out.flush()

    def _show(self, event: Event) -> None:
        number = self._numbers.get(event.connection)
        if number is None:
            self._count += 1
            number = self._numbers[event.connection] = self._count
            self._line(Event("connection", event.time, str(number), {}), event.connection.replace("->", " -> "))
        short = attrs.evolve(event, connection=str(number))
        if event.name == "tls":
            name = event.fields["server_name"] or "no server name"
            self._line(attrs.evolve(short, fields={}), f"{name}; {event.fields['message']}")
        else:
            print(readable_line(short, self._colour), file=self._out)
        if event.name in ("ended", "tls"):
            del self._numbers[event.connection]

    def _line(self, event: Event, text: str) -> None:
        """Print an event with this text."""
        print(f"{readable_line(event):<{_TEXT_COLUMN}}{text}", file=self._out)
