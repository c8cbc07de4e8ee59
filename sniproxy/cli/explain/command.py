"""Runs ``sniproxyctl explain`` in a reactor of its own."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

import attrs
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.cli.explain.looking import Explainer, Wish
from sniproxy.cli.explain.options import Pasted, pasted
from sniproxy.cli.explain.report import Report, document, lines, summary
from sniproxy.config.model import Bridge, Configuration, Listener
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError, shown
from sniproxy.server.build import build
from sniproxy.util.names import BadName, server_name
from sniproxy.util.text import counted

INTERRUPTED = 130


def run(options: argparse.Namespace, usage: Callable[[str], Any], out: TextIO) -> int:
    """Run it to its end. @param usage: is told what is wrong, and raises. @return: the exit status."""
    # Only here: importing a module must not choose the reactor.
    from twisted.internet import reactor as global_reactor

    reactor: Any = global_reactor
    ended: list[int | Failure] = []

    def end(result: int | Failure) -> None:
        ended.append(result)
        reactor.stop()

    def begin() -> None:
        Deferred.fromCoroutine(explain(options, reactor, out)).addBoth(end)

    reactor.callWhenRunning(begin)
    reactor.run()
    if not ended:
        return INTERRUPTED
    result = ended[0]
    if isinstance(result, Failure):
        if result.check(ConfigError, BadName):
            usage(str(result.value))
        result.raiseException()
    return result


async def explain(options: argparse.Namespace, reactor: Any, out: TextIO) -> int:
    """Look, and write what was found. @return: the exit status.

    @raise ConfigError: the configuration cannot be used, or the options do not fit it. @raise BadName: NAME is none.
    """
    if (options.name is None) != options.all:
        raise ConfigError("give a NAME, or --all")
    given = pasted(options.name) if options.name else Pasted(())
    names: list[str | None] = [server_name(host) for host in given.hosts]
    wish = Wish(options.connect, [server_name(also) for also in options.also])
    configuration = parse(_text(options.config), options.config)
    listeners, bridges = _chosen(configuration, options.listener, options.all)
    built = build(configuration, reactor)
    looker = Explainer(built, reactor)
    reports: list[Report] = []
    built.resolvers.activate()
    try:
        for listener in listeners:
            if options.all:
                reports += await looker.all(listener, wish)
            else:
                reports += [await looker.explain(name, listener, wish) for name in names or [None]]
    finally:
        await built.resolvers.stop()
    await looker.settled()
    if given.plain is not None:
        note = _plain(given.plain, configuration)
        reports = [attrs.evolve(report, notes=(*report.notes, note)) for report in reports]
    reports += map(_bridge, bridges)
    bad = [report for report in reports if report.problems or report.routed is False]
    if options.json:
        print(json.dumps([document(report) for report in reports], indent=2), file=out)
    elif options.all:
        for report in reports:
            print("\n".join(summary(report)), file=out)
        for watch in dict.fromkeys(watch for report in reports for watch in report.watches):
            print(f"knows       {watch}", file=out)
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
    """The listeners of this name, or all, and the bridges. @param bridges: they are looked at, too."""
    listeners = [one for one in configuration.listeners if wanted in (None, one.name)]
    spans = [one for one in configuration.bridges if wanted in (None, one.name)]
    if not listeners and not spans:
        known = ", ".join(one.name for one in configuration.entrances)
        raise ConfigError(f"--listener {shown(wanted)}: there is no such listener; there are: {known}")
    if not listeners and not bridges:
        ways = "; ".join(f"{bridge.name} -> {bridge.destination}" for bridge in spans)
        raise ConfigError(f"a bridge looks at no server name, but leads all its clients one way: {ways}; {_TRY_BRIDGE}")
    return listeners, spans if bridges else []


_TRY_BRIDGE = "sniproxyctl lookup tries it"


def _plain(scheme: str, configuration: Configuration) -> str:
    """What a URL without TLS means for its clients."""
    takes = [f"plaintext listener {one.name}" for one in configuration.listeners if one.plaintext is not None]
    if scheme == "pulsar":
        takes += [f"bridge {one.name}" for one in configuration.bridges]
    note = f"{scheme}:// has no TLS, so its clients send no server name, and a TLS listener refuses them"
    if takes:
        return f"{note}; use {' or '.join(takes)}, which leads all its clients one way"
    return f"{note}; write a URL with TLS, such as pulsar+ssl://, or add a plaintext listener or a [[bridge]]"


def _bridge(bridge: Bridge) -> Report:
    return Report(None, bridge.name, "bridge", "all its clients", unchecked=f"{bridge.destination}; {_TRY_BRIDGE}")


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path}: cannot be read: {why}") from error
