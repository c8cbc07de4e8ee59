"""Options and loop of ``sniproxyctl top``."""

from __future__ import annotations

import argparse
import sys
from typing import Any, Protocol, TextIO

import attrs

from sniproxy.cli.adminclient import DEFAULT_URL, AdminError, as_url
from sniproxy.cli.admincommands import read_token
from sniproxy.cli.exitstatus import INTERRUPTED
from sniproxy.cli.subcommand import add_command
from sniproxy.cli.top.changes import Change, change_of
from sniproxy.cli.top.drains import refusal
from sniproxy.cli.top.keys import UiState, press, scrolled
from sniproxy.cli.top.layout import MAX_MERGED, Line, Listing, layout, listing, rows_shown
from sniproxy.cli.top.reading import Query, Reading
from sniproxy.cli.top.screen import NoScreen, Terminated, open_screen
from sniproxy.cli.top.sources import Sources
from sniproxy.cli.top.views import BROKERS, TUNNELS, VIEWS
from sniproxy.cli.watchoptions import DEFAULT_INTERVAL_S, interval_type
from sniproxy.util.text import printable

DRAIN = "d"
"""The key that drains a broker."""

REDRAW = "\x0c"
"""The key Ctrl-L."""

INSTEAD = "use `sniproxyctl status --watch`, or `sniproxyctl status --json` for programs"
"""What to do where there is no terminal."""


def add_top(commands: Any) -> argparse.ArgumentParser:
    """Add the command to a parser. @return: the parser of the command."""
    parser = add_command(
        commands,
        "top",
        "watch running proxies in the terminal",
        "Shows the brokers, routes, tunnels, refusals and warnings of running proxies, live: sorted, filtered, and red "
        "where something fails. The key ? lists the keys, q quits.",
        epilog="Exit status: 0: quit; 1: there is no terminal; 2: wrong usage; 130: Ctrl-C.",
    )
    parser.add_argument(
        "urls",
        nargs="*",
        type=as_url,
        default=[],
        metavar="URL",
        help="the admin endpoint, such as http://127.0.0.1:9090 or unix:/run/sniproxy/admin.sock; with several, of "
        f"workers or machines, they are added up; default: {DEFAULT_URL}",
    )
    parser.add_argument(
        "--interval",
        type=interval_type,
        default=DEFAULT_INTERVAL_S,
        metavar="SECONDS",
        help=f"seconds between two queries; default: {DEFAULT_INTERVAL_S:g}",
    )
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="a file with the token of [admin] token_file, so that the key d can drain; unix: needs none",
    )
    return parser


def run_top(options: argparse.Namespace, out: TextIO) -> int:
    """Show running proxies until the user quits. @return: the exit status.

    @raise AdminError: there is no terminal, or it cannot be used.
    """
    if not (sys.stdin.isatty() and out.isatty()):
        raise AdminError(f"top needs a terminal, and standard input or output is none; {INSTEAD}")
    urls = options.urls or [DEFAULT_URL]
    token = read_token(options.token_file)
    sources = Sources(urls, options.interval, token=token)
    try:
        with open_screen() as screen:
            sources.start()
            where = f"{' '.join(map(printable, dict.fromkeys(urls)))} every {options.interval:g} s"
            show(screen, sources, where, len(set(urls)), refusal(urls, token))
    except NoScreen as error:
        raise AdminError(f"{error}; {INSTEAD}") from error
    except KeyboardInterrupt:
        return INTERRUPTED
    except Terminated as end:
        return 128 + end.number
    finally:
        sources.stop()
    return 0


class SourcesLike(Protocol):
    """What L{show} needs of L{Sources}."""

    @property
    def version(self) -> int: ...
    def ask(self, query: Query, again: bool = False) -> None: ...
    def reading(self) -> Reading: ...
    def change(self, change: Change) -> None: ...


class ScreenLike(Protocol):
    """What L{show} needs of L{Screen}."""

    @property
    def size(self) -> tuple[int, int]: ...
    def draw(self, lines: list[Line]) -> None: ...
    def key(self) -> str | None: ...
    def redraw(self) -> None: ...


def show(screen: ScreenLike, sources: SourcesLike, where: str, instances: int = 1, unchangeable: str = "") -> None:
    """Draw what is known, and obey keys, until one of them quits.

    @param where: for the first line. @param instances: the number of endpoints. @param unchangeable: why nothing can
        be changed; empty: it can.
    """
    ui, reading, listed = UiState(), Reading(), Listing()
    version: int | None = None
    changed = True
    while not ui.quit:
        newest = sources.version
        # While no endpoint answers, the first line counts the seconds.
        if (newest != version or reading.stale_s) and not (ui.paused and reading.status is not None):
            reading, version, changed = sources.reading(), newest, True
        if changed:
            width, height = screen.size
            listed = listing(reading, ui)
            ui = scrolled(ui, listed.total, rows_shown(height))
            screen.draw(layout(reading, ui, listed, width, height, where))
            changed = False
        key = screen.key()
        if key == REDRAW:
            screen.redraw()
        if key is not None:
            _, height = screen.size
            asked = ui.refresh
            ui = drained(ui, key, listed, unchangeable) or press(ui, key, listed.total, rows_shown(height))
            if ui.confirmed is not None:
                sources.change(ui.confirmed)
                ui = attrs.evolve(ui, confirmed=None)
            sources.ask(wanted(ui, height, instances), ui.refresh != asked)
            changed = True


def drained(ui: UiState, key: str, listed: Listing, unchangeable: str) -> UiState | None:
    """The state after the key L{DRAIN}: it asks, or says why nothing can be changed. None: it is another key here."""
    if key != DRAIN or ui.view != BROKERS or ui.typing is not None or ui.help or ui.asking is not None:
        return None
    at = ui.cursor - listed.offset
    if unchangeable or not 0 <= at < len(listed.rows):
        return attrs.evolve(ui, notice=unchangeable)
    return attrs.evolve(ui, asking=change_of(listed.rows[at]), notice="")


def wanted(ui: UiState, height: int, instances: int = 1) -> Query:
    """The tunnels to ask for: those around the screen; of several instances, all from the first on."""
    if ui.view != TUNNELS:
        return Query()
    shown = rows_shown(height)
    offset = max(0, ui.top - shown) if instances == 1 else 0
    limit = min(MAX_MERGED, ui.top + 2 * shown - offset)
    order = VIEWS[TUNNELS].orders[ui.sort.key, ui.sort.descending]
    return Query(limit, ui.filter, order, offset)
