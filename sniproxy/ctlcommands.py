"""The commands of ``sniproxyctl`` that need more than captures do, and whose code is imported only when they run."""

from __future__ import annotations

import argparse
from typing import Any, BinaryIO, TextIO

import attrs

from sniproxy.explain.options import add_explain
from sniproxy.lookupoptions import add_lookup


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


def _lookup(options: argparse.Namespace, streams: Streams) -> int:
    # Only here: captures need no Twisted and no TLS.
    from sniproxy import lookupcommand

    return lookupcommand.run(options, options.usage, streams.out, streams.error)


def _explain(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.explain import command

    return command.run(options, options.usage, streams.out)
