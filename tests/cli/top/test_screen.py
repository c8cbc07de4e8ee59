"""Tests for sniproxy.cli.top.screen, with a module in place of curses. C{test_screen_terminal} has a real terminal."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.top.layout import Span
from sniproxy.cli.top.screen import NoScreen, Screen, Terminated, open_screen


class CursesError(Exception):
    """C{curses.error}."""


class FakeCurses:
    """What L{Screen} uses of curses and of its window. @ivar calls: functions that were called, with their arguments.

    @ivar keys: what C{get_wch} returns, one after the other.
    """

    A_BOLD, A_UNDERLINE, A_DIM, A_REVERSE = 1, 2, 4, 8
    COLOR_RED, COLOR_YELLOW = 1, 3

    error = CursesError

    def __init__(self, colours: bool = True, keys: list[Any] | None = None) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.keys = keys or []
        self.colours = colours
        self.fail: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            if name in self.fail:
                raise self.error(name)
            return {"has_colors": self.colours, "initscr": self, "getmaxyx": (24, 80), "curs_set": 1}.get(name)

        return call

    def color_pair(self, number: int) -> int:
        return 16 * number

    def keyname(self, number: int) -> bytes:
        return {259: b"KEY_UP"}.get(number, b"KEY_F(9)")

    def get_wch(self) -> Any:
        if not self.keys:
            raise self.error("no input")
        return self.keys.pop(0)

    def drawn(self) -> list[tuple[Any, ...]]:
        return [call[1:] for call in self.calls if call[0] == "addstr"]

    def names(self) -> list[str]:
        return [call[0] for call in self.calls]


class ScreenTests(SynchronousTestCase):
    """Drawing and keys."""

    def screen(self, curses: FakeCurses, **environment: str) -> Screen:
        return Screen(curses, curses, environment)

    def test_draw(self) -> None:
        """Each piece is drawn behind the one before, in its style; nothing beyond the last line."""
        curses = FakeCurses()
        screen = self.screen(curses)
        screen.draw([[Span("ab", "bad"), Span("c")], [Span("d", "selected warn")]])
        self.assertEqual([(0, 0, "ab", 17), (0, 2, "c", 0), (1, 0, "d", 8 | 33)], curses.drawn())
        self.assertEqual((80, 24), screen.size)
        curses.calls.clear()
        screen.draw([[Span(str(number))] for number in range(30)])
        self.assertEqual(24, len(curses.drawn()))
        self.assertEqual(("erase", "refresh"), (curses.names()[0], curses.names()[-1]))

    def test_corner(self) -> None:
        """curses reports an error for the last cell of the screen although it has written it."""
        curses = FakeCurses()
        curses.fail = {"addstr", "curs_set"}
        self.screen(curses).draw([[Span("a"), Span("b")]])
        self.assertEqual(2, len(curses.drawn()))

    def test_no_colour(self) -> None:
        """With NO_COLOR, and on a terminal without colours, what fails is bold."""
        for curses, environment in ((FakeCurses(), {"NO_COLOR": "1"}), (FakeCurses(colours=False), {})):
            screen = self.screen(curses, **environment)
            self.assertNotIn("start_color", curses.names())
            screen.draw([[Span("a", "bad")]])
            self.assertEqual([(0, 0, "a", 1)], curses.drawn())

    def test_keys(self) -> None:
        """Characters are themselves, other keys have their names."""
        screen = self.screen(FakeCurses(keys=["é", 259, 273]))
        self.assertEqual(["é", "KEY_UP", "KEY_F(9)", None], [screen.key() for _ in range(4)])

    def test_redraw(self) -> None:
        """All cells are sent again, with the next lines."""
        curses = FakeCurses()
        self.screen(curses).redraw()
        self.assertEqual("redrawwin", curses.names()[-1])


class TerminalTests(SynchronousTestCase):
    """open_screen: the mode of the terminal."""

    END = ["keypad", "nocbreak", "echo", "endwin"]

    def test_restores(self) -> None:
        """At the end the terminal is as before, also after an exception; so are the signals."""
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)
        for error in (None, ZeroDivisionError, KeyboardInterrupt):
            curses = FakeCurses()
            try:
                with open_screen({}, curses):
                    self.assertNotIn("endwin", curses.names())
                    if error is not None:
                        raise error
            except (ZeroDivisionError, KeyboardInterrupt):
                pass
            self.assertEqual(self.END, curses.names()[-4:])
        self.assertEqual(before, (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGHUP)))

    def test_signals(self) -> None:
        """TERM and HUP end the block, and the terminal is restored."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            curses = FakeCurses()
            with self.assertRaises(Terminated) as caught, open_screen({}, curses):
                os.kill(os.getpid(), number)
                signal.sigtimedwait([], 5)  # a system call after which Python runs the handler
            self.assertEqual(number, caught.exception.number)
            self.assertEqual(self.END, curses.names()[-4:])

    def test_unknown_terminal(self) -> None:
        """An unknown terminal is an error with the cure."""
        curses = FakeCurses()
        curses.fail = {"setupterm"}
        said = "unknown terminal 'odd': setupterm; set TERM"
        with self.assertRaisesRegex(NoScreen, said), open_screen({"TERM": "odd"}, curses):
            self.fail("opened")

    def test_without_curses(self) -> None:
        """A Python without curses is an error."""
        absent = mock.patch.dict(sys.modules, {"curses": None})
        with absent, self.assertRaisesRegex(NoScreen, "no module curses"), open_screen({}):
            self.fail("opened")
