"""Registers the commands of running proxies and of configurations; imports their code when they run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, BinaryIO, TextIO

import attrs

from sniproxy.cli.adminclient import DEFAULT_URL
from sniproxy.cli.admincommands import add_drain, add_status, run_drain, run_status
from sniproxy.cli.conversation.options import add_record, add_replay
from sniproxy.cli.example import add_example, run_example
from sniproxy.cli.explain.options import add_explain
from sniproxy.cli.failure import CommandFailed
from sniproxy.cli.faultoptions import add_fault_command
from sniproxy.cli.lookupoptions import add_lookup
from sniproxy.cli.migrationoptions import add_export, add_import
from sniproxy.cli.reloadoptions import add_reload
from sniproxy.cli.run import add_run, run_proxy
from sniproxy.cli.top.command import add_top, run_top
from sniproxy.cli.upgradeoptions import add_upgrade
from sniproxy.cli.watch import run_watch
from sniproxy.cli.who.command import add_who, run_who


@attrs.frozen
class Streams:
    """The standard streams of a command."""

    input: BinaryIO
    out: TextIO
    error: TextIO


Command = Callable[[argparse.Namespace, Streams], int]
"""Runs a command. @return: the exit status."""


def add_commands(commands: Any) -> None:
    """Add the commands to a parser. Sets C{run}, which takes the options and L{Streams} and returns the exit status."""
    add_lookup(commands).set_defaults(run=_lookup)
    add_explain(commands).set_defaults(run=_explain)
    add_status(commands).set_defaults(run=_reporting(_status), also=[])
    add_top(commands).set_defaults(run=_reporting(lambda options, streams: run_top(options, streams.out)))
    add_drain(commands).set_defaults(run=_reporting(lambda options, streams: run_drain(options, streams.out)))
    add_fault_command(commands).set_defaults(run=_reporting(_fault))
    add_who(commands).set_defaults(
        run=_reporting(lambda options, streams: run_who(options, streams.out, streams.error))
    )
    add_record(commands).set_defaults(run=_reporting(_record))
    add_replay(commands).set_defaults(run=_reporting(_replay))
    add_run(commands).set_defaults(run=lambda options, _: run_proxy(options))
    add_reload(commands).set_defaults(run=_reporting(_reload))
    add_upgrade(commands).set_defaults(run=_reporting(_upgrade))
    add_example(commands).set_defaults(run=_reporting(lambda options, streams: run_example(options, streams.out)))
    add_import(commands).set_defaults(run=_reporting(_import))
    add_export(commands).set_defaults(run=_reporting(_export))


def _reporting(command: Command) -> Command:
    """Wrap a command: prints the reason of a L{CommandFailed} and returns its status."""

    def run(options: argparse.Namespace, streams: Streams) -> int:
        try:
            return command(options, streams)
        except CommandFailed as error:
            print(error.report, file=streams.error)
            return error.status

    return run


def _status(options: argparse.Namespace, streams: Streams) -> int:
    options.urls = [*options.urls, *options.also] or [DEFAULT_URL]
    if options.watch is None:
        return run_status(options, streams.out)
    return run_watch(options, streams.out, streams.error)


def _reload(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.cli import reload

    return reload.run_reload(options, streams.out)


def _fault(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.cli import fault

    return fault.run_fault(options, streams.out)


def _upgrade(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.cli import upgrade

    return upgrade.run_upgrade(options, streams.out)


def _lookup(options: argparse.Namespace, streams: Streams) -> int:
    # Imported here, because captures need neither Twisted nor TLS.
    from sniproxy.cli import lookup

    return lookup.run(options, options.usage, streams.out, streams.error)


def _explain(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.cli.explain import command

    return command.run(options, options.usage, streams.out)


def _import(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.cli import migration

    return migration.run_import(options, streams.input, streams.out, streams.error)


def _export(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.cli import migration

    return migration.run_export(options, streams.input, streams.out, streams.error)


def _record(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.cli.conversation import record

    return record.run_record(options, streams.input, streams.out, streams.error)


def _replay(options: argparse.Namespace, streams: Streams) -> int:
    from sniproxy.cli.conversation import replay

    return replay.run_replay(options, streams.out, streams.error)
