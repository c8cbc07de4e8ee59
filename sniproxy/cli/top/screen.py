"""The terminal of C{top}: draws lines, reads keys, and leaves the terminal as it was. All of curses is here."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from sniproxy.cli.top.layout import Line

KEY_WAIT_MS = 100
"""Milliseconds to wait for a key, before new values are looked for."""

ESCAPE_DELAY_MS = 25
"""Milliseconds after Escape in which a sequence of a function key is expected."""

_SIGNALS = (signal.SIGTERM, signal.SIGHUP)


class Terminated(Exception):
    """A signal ends the program. @ivar number: of the signal."""

    def __init__(self, number: int) -> None:
        Exception.__init__(self, signal.Signals(number).name)
        self.number = number


class NoScreen(Exception):
    """The terminal cannot be used; the message has the reason."""


class Screen:
    """A terminal in the mode of curses.

    @param curses: the module. @param window: of the whole screen. @param environment: its C{NO_COLOR} turns colours
        off; failures are then bold.
    """

    def __init__(self, curses: Any, window: Any, environment: Mapping[str, str]) -> None:
        self._curses = curses
        self._window = window
        self._attributes = self._styles(bool(environment.get("NO_COLOR")))
        window.keypad(True)
        window.timeout(KEY_WAIT_MS)
        try:
            curses.curs_set(0)
        except curses.error:
            pass  # some terminals cannot hide the cursor

    @property
    def size(self) -> tuple[int, int]:
        """Columns and lines."""
        lines, columns = self._window.getmaxyx()
        return columns, lines

    def draw(self, lines: Sequence[Line]) -> None:
        """Show these lines and nothing else. Only what has changed is sent to the terminal."""
        self._window.erase()
        _, height = self.size
        for number, spans in enumerate(lines[:height]):
            column = 0
            for span in spans:
                attributes = 0
                for style in span.style.split():
                    attributes |= self._attributes[style]
                try:
                    self._window.addstr(number, column, span.text, attributes)
                except self._curses.error:
                    pass  # curses writes the last cell of the screen, and then cannot move beyond it
                column += len(span.text)
        self._window.refresh()

    def key(self) -> str | None:
        """The next key: a character, or a name as C{KEY_UP}. @return: None: none came within L{KEY_WAIT_MS}."""
        try:
            found = self._window.get_wch()
        except self._curses.error:
            return None
        return found if isinstance(found, str) else self._curses.keyname(found).decode("ascii", "replace")

    def redraw(self) -> None:
        """Send the whole screen to the terminal, after another program has written to it."""
        self._window.redrawwin()

    def _styles(self, plain: bool) -> dict[str, int]:
        curses = self._curses
        styles = {
            "title": curses.A_BOLD | curses.A_UNDERLINE,
            "dim": curses.A_DIM,
            "selected": curses.A_REVERSE,
            "bad": curses.A_BOLD,
            "warn": curses.A_BOLD,
        }
        if not plain and curses.has_colors():
            curses.start_color()
            curses.use_default_colors()
            for number, (style, colour) in enumerate((("bad", curses.COLOR_RED), ("warn", curses.COLOR_YELLOW)), 1):
                curses.init_pair(number, colour, -1)
                styles[style] = curses.color_pair(number) | curses.A_BOLD
        return styles


@contextmanager
def open_screen(environment: Mapping[str, str] = os.environ, curses: Any = None) -> Iterator[Screen]:
    """Switch the terminal to the mode of curses, and back at the end, whatever ends the block.

    Within the block, TERM and HUP raise L{Terminated}.

    @param curses: another module than curses, for tests. @raise NoScreen: the terminal cannot be used.
    """
    curses = curses or _load()
    try:
        # initscr ends the process if the terminal is unknown; this raises instead.
        curses.setupterm()
    except curses.error as error:
        raise NoScreen(f"unknown terminal {environment.get('TERM', '')!r}: {error}; set TERM") from error
    before = {number: signal.signal(number, _terminate) for number in _SIGNALS}
    try:
        curses.set_escdelay(ESCAPE_DELAY_MS)
        window = curses.initscr()
        try:
            curses.noecho()
            curses.cbreak()
            yield Screen(curses, window, environment)
        finally:
            window.keypad(False)
            curses.nocbreak()
            curses.echo()
            curses.endwin()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _load() -> Any:
    try:
        import curses
    except ImportError as error:
        raise NoScreen("this Python has no module curses") from error
    return curses


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated(number)
