"""The command-line options of ``sniproxyctl record`` and ``sniproxyctl replay``."""

from __future__ import annotations

import argparse
from typing import Any

from sniproxy.cli.adminclient import as_url
from sniproxy.cli.subcommand import add_command

DEFAULT_LISTEN = "tcp:0:interface=127.0.0.1"
"""A free port of this machine only."""

DEFAULT_TIMEOUT_S = 10.0
DEFAULT_WAIT_S = 300.0
MAX_SECONDS = 86_400 * 30.0


def add_record(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    record = add_command(
        commands,
        "record",
        "record conversations of Pulsar clients and brokers as text files",
        "Records what a Pulsar client and a broker send to each other, one frame a line, as JSON. The source is a "
        "capture file; with --admin, new connections of the inspected listeners and bridges of a running proxy; or, "
        "with --target, a plaintext relay that clients connect to. `sniproxyctl replay` plays the file. Payloads, "
        "credentials, principals and the values of properties are struck out unless they are asked for.",
        epilog="Exit status: 0: recorded; 1: nothing was recorded, or an error; 2: wrong usage; 3: some packets of the "
        "capture were skipped; 130: Ctrl-C, which ends a live recording: its files are complete.",
    )
    record.add_argument("file", metavar="FILE", nargs="?", help="a pcap or pcapng file; '-' for standard input")
    record.add_argument("-o", "--output", metavar="FILE", default="-",
                        help="the file of the first connection; others get NAME-2.jsonl and so on; existing files are "
                        "replaced; default: standard output, for one connection of a capture")  # fmt: skip
    running = record.add_argument_group("of a running proxy")
    running.add_argument("--admin", type=as_url, metavar="URL",
                         help="its admin endpoint, such as http://127.0.0.1:9090 or unix:/run/sniproxy/admin.sock"
                         )  # fmt: skip
    running.add_argument("--listener", action="append", default=[], metavar="NAME",
                         help="only this listener or bridge; repeatable; default: all that are inspected")  # fmt: skip
    running.add_argument("--token-file", metavar="FILE",
                         help="a file with the token of [admin] token_file; required for http://, not for unix:"
                         )  # fmt: skip
    live = record.add_argument_group("live")
    live.add_argument("--target", metavar="HOST:PORT", help="relay clients to this plaintext broker or proxy")
    live.add_argument("--listen", metavar="ENDPOINT", help=f"where clients connect; default: {DEFAULT_LISTEN}")
    live.add_argument("--keep-urls", action="store_true",
                      help="leave the URLs of brokers in answers as they are; default: clients get the relay's "
                      "address, and all their connections are recorded")  # fmt: skip
    live.add_argument("--connections", type=_count, metavar="N",
                      help="stop when N connections have ended; also with --admin")  # fmt: skip
    chosen = record.add_argument_group("what is recorded")
    chosen.add_argument("--topic", action="append", default=[], metavar="PATTERN",
                        help="only connections with a topic that matches this shell pattern; repeatable")  # fmt: skip
    chosen.add_argument("--connection", type=_count, action="append", default=[], metavar="N",
                        help="only the Nth connection with Pulsar, counted from 1; repeatable")  # fmt: skip
    chosen.add_argument("--port", type=_count, action="append", default=[], metavar="N",
                        help="of a capture: only connections with this port; repeatable")  # fmt: skip
    chosen.add_argument("--payloads", action="store_true", help="keep payloads, keys and properties of messages")
    chosen.add_argument("--properties", action="store_true",
                        help="keep principals, and properties of clients that do not look like secrets")  # fmt: skip
    chosen.add_argument("--credentials", action="store_true",
                        help="keep tokens, passwords and texts that may be one. WARNING: anyone who has the file can "
                        "log in as this client; keep it secret, and delete it soon")  # fmt: skip
    bounds = record.add_argument_group("bounds of each connection")
    bounds.add_argument("--max-frames", type=_count, default=100_000, metavar="N", help="default: 100000")
    bounds.add_argument("--max-bytes", type=_count, default=64 << 20, metavar="N", help="of the file; default: 64 MiB")
    bounds.add_argument("--seconds", type=_seconds, metavar="S",
                        help="since its first byte; a live recording ends after S seconds in all")  # fmt: skip
    return record


def add_replay(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    replay = add_command(
        commands,
        "replay",
        "play a recorded conversation to a client or a broker, and show what differs",
        "Plays one side of a conversation that `sniproxyctl record` wrote, and compares what the other side sends: "
        "commands and fields by their meaning. Ids and names that each run chooses anew are mapped; times are not "
        "compared. Payloads that were struck out are zeros of the same size, with a correct checksum.",
        epilog="Exit status: 0: equal; 1: it differs, or could not be played; 2: wrong usage, or a file that cannot be "
        "read; 130: Ctrl-C.",
    )
    replay.add_argument("files", metavar="FILE", nargs="+",
                        help="a conversation; as a broker several: the Nth connection plays the one that was "
                        "recorded as the Nth")  # fmt: skip
    replay.add_argument("--as", dest="plays", choices=["broker", "client"], required=True,
                        help="broker: wait for the client under test; client: connect to a broker")  # fmt: skip
    replay.add_argument("--times", type=_factor, metavar="FACTOR",
                        help="wait as long between frames as was recorded, times this factor; default: do not wait"
                        )  # fmt: skip
    replay.add_argument("--strict", action="store_true",
                        help="compare versions, features, texts of errors and the order of frames, too")  # fmt: skip
    replay.add_argument("--ignore", action="append", default=[], metavar="FIELD",
                        help="do not compare this field: topic, SEND.payload; repeatable")  # fmt: skip
    replay.add_argument("--timeout", type=_seconds, default=DEFAULT_TIMEOUT_S, metavar="S",
                        help="seconds to wait for each frame; default: 10")  # fmt: skip
    broker = replay.add_argument_group("as a broker")
    broker.add_argument("--listen", metavar="ENDPOINT", help=f"default: {DEFAULT_LISTEN}")
    broker.add_argument("--wait", type=_seconds, default=DEFAULT_WAIT_S, metavar="S",
                        help="seconds to wait for each connection; default: 300")  # fmt: skip
    broker.add_argument("--keep-urls", action="store_true",
                        help="send the recorded URLs of brokers; default: the address of this command")  # fmt: skip
    client = replay.add_argument_group("as a client")
    client.add_argument("--connect", metavar="HOST:PORT", help="the broker, or a proxy")
    client.add_argument("--tls", action="store_true", help="connect with TLS")
    client.add_argument("--server-name", metavar="NAME", help="the broker's name, as SNI and in its certificate; "
                        "implies --tls; default: the host of --connect")  # fmt: skip
    client.add_argument("--trust", metavar="FILE", help="PEM file or folder of trusted CA certificates; implies --tls")
    client.add_argument("--certificate", metavar="FILE", help="PEM file of the client certificate; implies --tls")
    client.add_argument("--key", metavar="FILE", help="PEM file of its key, if it is in another file")
    client.add_argument("--token", metavar="FILE",
                        help="a file with the token, or env:NAME, in place of recorded credentials")  # fmt: skip
    return replay


def _count(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < len(text) <= 12 and int(text):
        return int(text)
    raise argparse.ArgumentTypeError(f"invalid number {text[:40]!r}; write a number over 0")


def _seconds(text: str) -> float:
    return _number(text, "seconds, over 0", zero=False)


def _factor(text: str) -> float:
    return _number(text, "a factor: 1 as recorded, 0.5 twice as fast", zero=True)


def _number(text: str, cure: str, zero: bool) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= MAX_SECONDS or (not number and not zero):
        raise argparse.ArgumentTypeError(f"invalid number {text[:40]!r}; write {cure}")
    return number
