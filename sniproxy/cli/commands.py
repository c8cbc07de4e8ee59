"""The commands of ``sniproxyctl`` that need more than captures do, and whose code is imported only when they run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, BinaryIO, TextIO

import attrs

from sniproxy.cli.adminclient import AdminError
from sniproxy.cli.admincommands import add_drain, add_status, run_drain, run_status
from sniproxy.cli.explain.options import add_explain
from sniproxy.cli.lookupoptions import add_lookup


@attrs.frozen
class Streams:
    """Standard input, output and error."""

    input: BinaryIO
    out: TextIO
    error: TextIO


def add_commands(commands: Any) -> None:
    """Add them to a parser's commands; C{run} of what is parsed takes it and L{Streams}, and gives the exit status."""
    lookup = add_lookup(commands)
    lookup.set_defaults(run=_lookup, usage=lookup.error)
    explain = add_explain(commands)
    explain.set_defaults(run=_explain, usage=explain.error)
    add_status(commands).set_defaults(run=_asked(run_status))
    add_drain(commands).set_defaults(run=_asked(run_drain))


def _asked(command: Callable[[argparse.Namespace, TextIO], int]) -> Callable[[argparse.Namespace, Streams], int]:
    """A command that asks a running proxy, and tells in one line when that cannot be done."""

    def run(options: argparse.Namespace, streams: Streams) -> int:
        try:
            return command(options, streams.out)
        except AdminError as error:
            print(f"sniproxyctl: {error}", file=streams.error)
            return 1

    return run


def _lookup(options: argparse.Namespace, streams: Streams) -> int:
    # Only here: captures need no Twisted and no TLS.
    from sniproxy.cli import lookup

    return lookup.run(options, options.usage, streams.out, streams.error)


def _explain(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.cli.explain import command

    return command.run(options, options.usage, streams.out)
