"""The command ``sniproxyctl record``."""

from __future__ import annotations

import argparse
from contextlib import suppress
from functools import partial
from typing import BinaryIO, TextIO

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IDelayedCall

from sniproxy.cli.conversation.captured import CapturedConversations
from sniproxy.cli.conversation.live import Relay
from sniproxy.cli.conversation.options import DEFAULT_LISTEN
from sniproxy.cli.conversation.output import Output, Recorded, summary
from sniproxy.cli.conversation.running import record_running
from sniproxy.cli.exitstatus import INCOMPLETE, INTERRUPTED
from sniproxy.cli.failure import CommandFailed
from sniproxy.cli.reactor import run_in_reactor
from sniproxy.conversation.recorder import Recording
from sniproxy.conversation.schema import Secrecy
from sniproxy.inspector.capture.files import CaptureError
from sniproxy.pulsar.serviceurl import BadServiceURL, host_and_port
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded, printable

MAX_LISTED = 50
"""Connections that are listed if there are several and none was chosen."""


def run_record(options: argparse.Namespace, source: BinaryIO, out: TextIO, error: TextIO) -> int:
    """Run the command. @param source: standard input. @return: the exit status.

    @raise CommandFailed: nothing was recorded, or a file cannot be read or written.
    """
    capture = options.file is not None
    if capture + (options.target is not None) + (options.admin is not None) != 1:
        options.usage("give a capture file, or --admin URL or --target HOST:PORT to record live")
    if options.target is None and (options.listen or options.keep_urls):
        options.usage("--listen and --keep-urls need --target")
    if options.admin is None and (options.listener or options.token_file):
        options.usage("--listener and --token-file need --admin")
    if capture and options.connections:
        options.usage("--connections needs --admin or --target")
    if not capture and options.port:
        options.usage("--port is for a capture file")
    if not capture and options.output == "-":
        options.usage("a live recording needs a file for the first connection: --output FILE")
    recording = recording_of(options)
    if capture:
        return _record_capture(options, recording, source, out, error)
    if options.admin is not None:
        return record_running(options, recording, error)
    try:
        host, port = host_and_port(options.target, "--target")
    except BadServiceURL as problem:
        options.usage(str(problem))
    return run_in_reactor(partial(record_live, options, (host, port or 6650), recording, error))


def recording_of(options: argparse.Namespace) -> Recording:
    """What is recorded."""
    kept = {
        Secrecy.CONTENT: options.payloads,
        Secrecy.PRIVATE: options.properties,
        Secrecy.CREDENTIAL: options.credentials,
    }
    return Recording(
        keep=frozenset(each for each, keep in kept.items() if keep),
        topics=options.topic,
        max_frames=options.max_frames,
        max_bytes=options.max_bytes,
        max_s=float("inf") if options.seconds is None else options.seconds,
    )


class _Single:
    """Holds the lines of one conversation for standard output, and lists the others."""

    def __init__(self, wanted: frozenset[int]) -> None:
        self._wanted = wanted
        self.found = 0
        self.chosen = 0
        self.lines: list[str] = []
        self.listed: list[str] = []

    def writer(self) -> _SingleWriter:
        return _SingleWriter(self)

    def choose(self) -> tuple[int, bool]:
        """The number of the next connection, and whether its lines are held."""
        self.found += 1
        wanted = not self._wanted or self.found in self._wanted
        self.chosen += wanted
        return self.found, wanted and self.chosen == 1


class _SingleWriter:
    def __init__(self, single: _Single) -> None:
        self._single = single
        self._number = 0
        self._held = False

    def write(self, line: str) -> None:
        if not self._number:
            self._number, self._held = self._single.choose()
        if self._held:
            self._single.lines.append(line)

    def end(self, recorder: Recorded, peers: str) -> None:
        if self._number and len(self._single.listed) < MAX_LISTED:
            self._single.listed.append(f"{self._number}: {summary(recorder, peers)}")


def _record_capture(
    options: argparse.Namespace, recording: Recording, source: BinaryIO, out: TextIO, error: TextIO
) -> int:
    def report(line: str) -> None:
        print(line, file=error)

    wanted = frozenset(options.connection)
    single = _Single(wanted) if options.output == "-" else None
    output = Output(options.output, wanted, report)
    capture = CapturedConversations(recording, options.port, output.writer if single is None else single.writer)
    shown = "standard input" if options.file == "-" else printable(options.file)
    try:
        if options.file == "-":
            if source.isatty():
                raise CommandFailed("standard input is a terminal; pipe a capture into it, as `tcpdump -w -` writes it")
            capture.read(source)
        else:
            with open(options.file, "rb") as file:
                capture.read(file)
    except KeyboardInterrupt:
        return INTERRUPTED
    except CaptureError as problem:
        raise CommandFailed(f"{shown}: {problem}") from None
    except (OSError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "not a path"
        raise CommandFailed(f"{shown}: {why}; give a readable pcap or pcapng file, or '-'") from None
    written = output.written
    if single is not None:
        written = single.chosen
        if single.chosen > 1:
            listed = "\n".join(single.listed)
            raise CommandFailed(
                f"{single.chosen} connections; choose one with --connection N, or give --output FILE:\n{listed}"
            )
        for line in single.lines:
            print(line, file=out)
    report(capture.summary())
    if not written:
        found = single.found if single is not None else output.found
        raise CommandFailed(
            f"nothing to record among {found} connections with Pulsar; check --connection and --topic"
            if found
            else "no plaintext Pulsar connection from its beginning; capture the plaintext port before clients connect"
        )
    return INCOMPLETE if capture.incomplete else 0


async def record_live(
    options: argparse.Namespace, target: tuple[str, int], recording: Recording, error: TextIO, reactor: IReactor
) -> int:
    """Relay and record until Ctrl-C, or until the bounds in the options. @return: the exit status.

    @raise CommandFailed: the endpoint cannot listen, a file cannot be written, or nothing was recorded.
    """

    def report(line: str) -> None:
        print(line, file=error, flush=True)

    output = Output(options.output, frozenset(options.connection), report)
    relay = Relay(reactor, output, recording, report, options.keep_urls, options.connections)
    text = options.listen or DEFAULT_LISTEN
    try:
        port = await serverFromString(reactor, text).listen(relay.factory(target))
    except Exception as problem:
        raise CommandFailed(f"cannot listen on {bounded(text)}: {bounded(str(problem))}") from None
    call: IDelayedCall | None = None
    address = port.getHost()
    if isinstance(address, IPv4Address | IPv6Address):
        relay.listen_for(target, address.port)
        report(f"recording {host_port(*target)} at pulsar://{host_port(address.host, address.port)}; Ctrl-C ends it")
    try:
        if options.seconds is not None:
            call = reactor.callLater(options.seconds, relay.finish, None)
        with suppress(CancelledError):
            await relay.done
    finally:
        if call is not None and call.active():
            call.cancel()
        port.stopListening()
        relay.stop()
    if not output.written:
        raise CommandFailed("nothing was recorded: no client sent Pulsar frames, or none was wanted")
    return 0
