"""Registers the commands ``lookup``, ``explain``, ``status``, ``drain``, ``who``; imports their code when they run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, BinaryIO, TextIO

import attrs

from sniproxy.cli.adminclient import AdminError
from sniproxy.cli.admincommands import add_drain, add_status, run_drain, run_status
from sniproxy.cli.explain.options import add_explain
from sniproxy.cli.lookupoptions import add_lookup
from sniproxy.cli.who.command import add_who, run_who


@attrs.frozen
class Streams:
    """The standard streams of a command."""

    input: BinaryIO
    out: TextIO
    error: TextIO


def add_commands(commands: Any) -> None:
    """Add the commands to a parser. Sets C{run}, which takes the options and L{Streams} and returns the exit status."""
    add_lookup(commands).set_defaults(run=_lookup)
    add_explain(commands).set_defaults(run=_explain)
    add_status(commands).set_defaults(run=_admin_command(run_status))
    add_drain(commands).set_defaults(run=_admin_command(run_drain))
    add_who(commands).set_defaults(run=_who)


def _admin_command(
    command: Callable[[argparse.Namespace, TextIO], int],
) -> Callable[[argparse.Namespace, Streams], int]:
    """Wrap a command that queries a running proxy: prints an L{AdminError} in one line and returns 1."""

    def run(options: argparse.Namespace, streams: Streams) -> int:
        try:
            return command(options, streams.out)
        except AdminError as error:
            print(f"sniproxyctl: {error}", file=streams.error)
            return 1

    return run


def _who(options: argparse.Namespace, streams: Streams) -> int:
    return _admin_command(lambda chosen, out: run_who(chosen, out, streams.error))(options, streams)


def _lookup(options: argparse.Namespace, streams: Streams) -> int:
    # Imported here, because captures need neither Twisted nor TLS.
    from sniproxy.cli import lookup

    return lookup.run(options, options.usage, streams.out, streams.error)


def _explain(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.cli.explain import command

    return command.run(options, options.usage, streams.out)
