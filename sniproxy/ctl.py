"""The command line of ``sniproxyctl``: looks into captures of Pulsar's protocol, and topics up."""

from __future__ import annotations

import argparse
import os
import signal
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, TextIO

import attrs

from sniproxy import __version__
from sniproxy.adminclient import AdminError
from sniproxy.admincommands import running_topics
from sniproxy.capture.choice import Choice
from sniproxy.capture.files import CaptureError
from sniproxy.capture.reading import CaptureEvents
from sniproxy.ctlcommands import Streams as Streams
from sniproxy.ctlcommands import add_commands
from sniproxy.pulsar.events import Event
from sniproxy.pulsar.lines import json_line, readable_line
from sniproxy.text import amount, counted, printable
from sniproxy.topictable import write_csv, write_json, write_table

LARGE = 4 << 20
"""Bytes of a file from which on its reading is shown as a bar, where standard error is a terminal."""

_BAR = 30
_TEXT_AT = 33  # where readable_line begins with what there is to say
_CLEAR = "\r\x1b[K"


class Failed(Exception):
    """The program cannot go on; the message says why."""


def parser() -> argparse.ArgumentParser:
    """Commands, names and options."""
    top = argparse.ArgumentParser(
        prog="sniproxyctl",
        description="Looks into captures of Apache Pulsar's protocol, and looks topics up.",
        allow_abbrev=False,
    )
    top.add_argument("--version", action="version", version=f"sniproxyctl {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True)

    capture = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    capture.add_argument("file", metavar="FILE", help="a capture, pcap or pcapng; '-': standard input")
    capture.add_argument(
        "--port",
        type=_ports,
        action="extend",
        default=[],
        metavar="N[,N...]",
        help="the plaintext ports of brokers; without it, connections are known by their first bytes. Repeats",
    )

    inspect = commands.add_parser(
        "inspect",
        parents=[capture],
        allow_abbrev=False,
        help="what Pulsar's clients and brokers say in a capture",
        description="Shows what Pulsar's clients and brokers say in a capture, one line an event. Live: "
        "tcpdump -i any -U -w - tcp port 6650 | sniproxyctl inspect -",
    )
    inspect.add_argument(
        "--follow",
        action="append",
        default=[],
        metavar="PATTERN",
        help="only topics that match, as in a shell: 'persistent://a/b/*', 'orders*'. Repeats",
    )
    inspect.add_argument(
        "--commands",
        type=_names,
        action="extend",
        default=[],
        metavar="NAME[,NAME...]",
        help="only these commands, such as LOOKUP,PRODUCER; some, as SEND, are shown only when named. Repeats",
    )
    inspect.add_argument("--json", action="store_true", help="one JSON object a line")
    inspect.add_argument("--reveal", action="store_true", help="show principals as well; never credentials")
    inspect.set_defaults(run=_inspect)

    ledger = commands.add_parser(
        "topics",
        parents=[capture],
        allow_abbrev=False,
        help="which broker owns which topic, by the lookups in a capture or of a running proxy",
        description="Shows which broker owns which topic, by all that a capture's brokers said, or, with the URL of a "
        "running proxy's admin endpoint (http://127.0.0.1:9090) in place of FILE, those that it inspects.",
    )
    form = ledger.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="a JSON array")
    form.add_argument("--csv", action="store_true", help="CSV with a header")
    ledger.add_argument("others", metavar="URL", nargs="*", help="the admin endpoints of other instances, added to it")
    ledger.add_argument("--fold", action="store_true", help="one line for all partitions of a topic")
    ledger.set_defaults(run=_topics)

    add_commands(commands)
    return top


def main(arguments: Sequence[str] | None = None, streams: Streams | None = None) -> int:
    """Run a command; return the exit status: 0, 1 with an error told in one line, 130 after Ctrl-C; of a lookup that
    fails, that of `sniproxy.talk.failures.Kind`.

    Wrong usage raises `SystemExit` with 2.
    """
    streams = streams or Streams(sys.stdin.buffer, sys.stdout, sys.stderr)
    top = parser()
    options = top.parse_args(arguments)
    run: Callable[[argparse.Namespace, Streams], int] = options.run
    try:
        status = run(options, streams)
        streams.out.flush()
        return status
    except Failed as error:
        streams.out.flush()
        print(f"sniproxyctl: {error}", file=streams.error)
        return 1
    except BrokenPipeError:
        # Who read our output has seen enough; the interpreter is not to complain about what it could not write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), streams.out.fileno())
        return 128 + signal.SIGPIPE


def _ports(text: str) -> list[int]:
    try:
        ports = [int(port) for port in text.split(",")]
    except ValueError:
        ports = [0]
    if not all(0 < port < 65_536 for port in ports):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of ports, from 1 to 65535")
    return ports


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _inspect(options: argparse.Namespace, streams: Streams) -> int:
    try:
        choice = Choice(options.follow, options.commands)
    except ValueError as error:
        parser().error(str(error))
    with _opened(options.file, streams) as file:
        capture = CaptureEvents(file, options.port, reveal=options.reveal, commands=choice.asked_for)
        page = _Page(streams.out, as_json=options.json, at_once=not _regular_size(file))
        shown = 0

        def show(event: Event) -> None:
            nonlocal shown
            if choice.wants(event):
                shown += 1
                page.show(event)

        return _read(capture, file, options.file, streams, show, lambda: f"{counted(shown, 'event')} shown; ")


def _topics(options: argparse.Namespace, streams: Streams) -> int:
    form = write_json if options.json else write_csv if options.csv else write_table
    if options.file.startswith(("http://", "https://")):
        try:
            running = running_topics([options.file, *options.others], options.fold)
        except AdminError as error:
            raise Failed(str(error) if options.others else f"{_shown(options.file)}: {error}") from error
        form(sorted(running, key=lambda entry: (entry.topic, entry.cluster)), streams.out)
        print(counted(len(running), "topic"), file=streams.error)
        return 0
    if options.others:
        parser().error("there is one capture; of admin endpoints (http://...) there may be several")
    with _opened(options.file, streams) as file:
        capture = CaptureEvents(file, options.port)

        def pass_over(event: Event) -> None:
            pass

        def write() -> str:
            entries = sorted(capture.ledger.topics(options.fold), key=lambda entry: (entry.topic, entry.cluster))
            form(entries, streams.out)
            return f"{counted(len(entries), 'topic')}; "

        return _read(capture, file, options.file, streams, pass_over, write)


def _read(
    capture: CaptureEvents,
    file: BinaryIO,
    name: str,
    streams: Streams,
    show: Callable[[Event], None],
    result: Callable[[], str],
) -> int:
    """Read all of a capture, and sum it up on standard error, behind what `result` says; return the exit status."""
    bar = _Bar(file, streams)
    status, error = 0, None
    try:
        for event in bar.beside(capture):
            show(event)
    except KeyboardInterrupt:
        status = 130
    except CaptureError as problem:
        error = Failed(f"{_shown(name)}: {problem}")
    except _ReadError as problem:
        error = Failed(f"{_shown(name)}: cannot be read to its end: {problem}; copy it to another disk and try again")
    bar.hide()
    if error is not None and not capture.packets:
        raise error
    for event in capture.finish():
        show(event)
    said = result()
    streams.out.flush()
    print(said + capture.summary(), file=streams.error)
    if error is not None:
        raise error
    return status


@contextmanager
def _opened(name: str, streams: Streams) -> Iterator[BinaryIO]:
    if name == "-":
        if streams.input.isatty():
            raise Failed("standard input is a terminal: pipe a capture into it, as `tcpdump -w -` writes one")
        yield streams.input
        return
    try:
        file = open(name, "rb")  # noqa: SIM115  # closed below
    except OSError as error:
        raise Failed(
            f"{_shown(name)}: cannot be opened: {error.strerror}; "
            "name a pcap or pcapng file that you may read, or '-' for standard input"
        ) from error
    with file:
        yield file


def _shown(name: str) -> str:
    return "standard input" if name == "-" else printable(name)


def _regular_size(file: BinaryIO) -> int:
    """The size of a file on a disk; 0 for a pipe, and what is none."""
    try:
        status = os.fstat(file.fileno())
    except OSError:
        return 0
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


class _ReadError(Exception):
    """The file that was opened cannot be read."""


class _Bar:
    """How far a large file is read, on standard error where that is a terminal."""

    def __init__(self, file: BinaryIO, streams: Streams) -> None:
        size = _regular_size(file)
        self._file = file
        self._size = size if size >= LARGE and streams.error.isatty() else 0
        self._error = streams.error
        self._both = streams.out.isatty()
        self._drawn = -1

    def beside(self, capture: CaptureEvents) -> Iterator[Event]:
        """The capture's events, with the bar out of their way."""
        try:
            for event in capture.watched(self._draw if self._size else None):
                if self._both:
                    self.hide()
                yield event
        except OSError as error:
            raise _ReadError(error.strerror or str(error)) from error

    def _draw(self) -> None:
        done = self._file.tell()
        percent = min(100, 100 * done // self._size)
        if percent != self._drawn:
            self._drawn = percent
            full = "#" * (_BAR * percent // 100)
            of = f"{amount(done)} of {amount(self._size)}"
            print(f"\r[{full:<{_BAR}}] {percent:3}%  {of}", end="\x1b[K", file=self._error, flush=True)

    def hide(self) -> None:
        """Take it away; it comes back as reading goes on."""
        if self._drawn >= 0:
            print(_CLEAR, end="", file=self._error, flush=True)
            self._drawn = -1


class _Page:
    """Writes events. For people, connections have short numbers, and each is introduced before its first event."""

    def __init__(self, out: TextIO, *, as_json: bool, at_once: bool) -> None:
        self._out = out
        self._json = as_json
        self._at_once = at_once
        self._colour = out.isatty() and not os.environ.get("NO_COLOR")
        self._numbers: dict[str, int] = {}
        self._count = 0

    def show(self, event: Event) -> None:
        """Write one event."""
        if self._json:
            print(json_line(event), file=self._out)
        else:
            self._show(event)
        if self._at_once:
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
        """An event that is a capture's own, with this text."""
        print(f"{readable_line(event):<{_TEXT_AT}}{text}", file=self._out)
