"""The command ``sniproxyctl explain``: parses the arguments, runs the explainer and prints the reports."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import attrs

from sniproxy.cli.explain.explainer import Explainer, ExplainOptions
from sniproxy.cli.explain.options import NameArgument, parse_client, parse_name, parse_port, parse_tlvs
from sniproxy.cli.explain.report import Report, document, lines, summary
from sniproxy.cli.reactor import run_in_reactor
from sniproxy.config.file import read_text
from sniproxy.config.model import Bridge, Configuration, Listener
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError, shown
from sniproxy.server.build import build
from sniproxy.util.names import BadName, server_name
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import counted


def run(options: argparse.Namespace, usage: Callable[[str], Any], out: TextIO) -> int:
    """Run the command in the global reactor.

    @param usage: called with the error in the arguments or the configuration; raises. @return: the exit status.
    """
    try:
        return run_in_reactor(lambda reactor: explain(options, reactor, out))
    except (ConfigError, BadName) as error:
        usage(str(error))
        raise


async def explain(options: argparse.Namespace, reactor: IReactor, out: TextIO) -> int:
    """Explain the names or routes, and print the reports. @return: the exit status.

    @raise ConfigError: the configuration is invalid, or the options do not fit it. @raise BadName: NAME is invalid.
    """
    if (options.name is None) != options.all:
        raise ConfigError("give NAME or --all")
    argument = parse_name(options.name) if options.name else NameArgument(())
    names: list[str | None] = [server_name(host) for host in argument.hosts]
    client = None if options.client is None else parse_client(options.client)
    also, tlvs = [server_name(also) for also in options.also], parse_tlvs(options.proxy_tlv)
    proxy_port = None if options.proxy_port is None else parse_port(options.proxy_port)
    explain_options = ExplainOptions(options.connect, also, client, tlvs, proxy_port)
    configuration = parse(read_text(options.config), options.config)
    listeners, bridges = _chosen(configuration, options.listener, options.all)
    built = build(configuration, reactor)
    explainer = Explainer(built, reactor)
    reports: list[Report] = []
    built.resolvers.activate(read_only=True)
    try:
        for listener in listeners:
            if options.all:
                reports += await explainer.explain_all(listener, explain_options)
            else:
                reports += [await explainer.explain(name, listener, explain_options) for name in names or [None]]
    finally:
        await built.resolvers.stop()
    await explainer.wait_closed()
    if argument.plain is not None:
        notes = list(_plain(argument.plain, configuration))
        reports = [attrs.evolve(report, notes=(*report.notes, *notes)) for report in reports]
    reports += map(_bridge, bridges)
    bad = [report for report in reports if report.problems or report.routed is False]
    if options.json:
        print(json.dumps([document(report) for report in reports], indent=2), file=out)
    elif options.all:
        for report in reports:
            print("\n".join(summary(report)), file=out)
        for watch in dict.fromkeys(watch for report in reports for watch in report.watches):
            print(f"state       {watch}", file=out)
        unchecked = sum(report.routed is None for report in reports)
        and_more = f", {unchecked} not checked" if unchecked else ""
        routes = len(reports) - len(bridges)
        parts = [counted(number, what) for number, what in ((routes, "route"), (len(bridges), "bridge")) if number]
        print(f"{', '.join(parts or ['0 routes'])}, {len(bad)} with problems{and_more}", file=out)
    else:
        print("\n\n".join("\n".join(lines(report)) for report in reports), file=out)
    if options.all:
        return int(bool(bad))
    good = {report.name for report in reports if report not in bad}
    return int(not good.issuperset(report.name for report in reports))


def _chosen(configuration: Configuration, wanted: str | None, bridges: bool) -> tuple[list[Listener], list[Bridge]]:
    """The listeners and bridges to report.

    @param wanted: the name of one; None for all. @param bridges: whether to report bridges.
    @raise ConfigError: no listener has this name, or it is a bridge and C{bridges} is false.
    """
    listeners = [one for one in configuration.listeners if wanted in (None, one.name)]
    found_bridges = [one for one in configuration.bridges if wanted in (None, one.name)]
    if not listeners and not found_bridges:
        known = ", ".join(one.name for one in configuration.entrances)
        raise ConfigError(f"--listener {shown(wanted)}: unknown listener; known: {known}")
    if not listeners and not bridges:
        ways = "; ".join(f"{bridge.name} -> {bridge.destination}" for bridge in found_bridges)
        raise ConfigError(f"a bridge has one destination and does not route by server name: {ways}; {_TRY_BRIDGE}")
    return listeners, found_bridges if bridges else []


_TRY_BRIDGE = "test it with sniproxyctl lookup"


def _plain(scheme: str, configuration: Configuration) -> Iterator[str]:
    """Notes on the clients of a URL without TLS."""
    takes = [f"plaintext listener {one.name}" for one in configuration.listeners if one.plaintext is not None]
    if scheme == "pulsar":
        takes += [f"bridge {one.name}" for one in configuration.bridges]
    note = f"{scheme}:// clients do not use TLS and send no server name, so a TLS listener refuses them"
    if takes:
        yield f"{note}; use {' or '.join(takes)}, which has one destination for all clients"
    else:
        yield f"{note}; use a TLS URL such as pulsar+ssl://, or add a plaintext listener or a [[bridge]]"
    if scheme == "pulsar":
        yield "Java clients of Pulsar 5 that came by TLS dial it by TLS, if it is a controller of scalable topics"


def _bridge(bridge: Bridge) -> Report:
    return Report(None, bridge.name, "bridge", "all clients", unchecked=f"{bridge.destination}; {_TRY_BRIDGE}")
