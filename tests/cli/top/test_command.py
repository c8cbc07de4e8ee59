"""Tests for sniproxy.cli.top.command."""

from __future__ import annotations

import argparse
import io
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl
from sniproxy.cli.adminclient import DEFAULT_URL, AdminError
from sniproxy.cli.exitstatus import INTERRUPTED
from sniproxy.cli.top import command
from sniproxy.cli.top.changes import Change
from sniproxy.cli.top.command import add_top, run_top, show, wanted
from sniproxy.cli.top.keys import Sort, UiState
from sniproxy.cli.top.layout import Line
from sniproxy.cli.top.reading import Query, Reading, TunnelPage
from sniproxy.cli.top.screen import NoScreen, Terminated
from sniproxy.cli.top.views import TUNNELS
from tests.support.statusfixture import status, tunnel


class Keys:
    """A screen and its keys. @ivar screens: what was drawn. @param keys: None: no key for a moment."""

    def __init__(self, *keys: str | None, size: tuple[int, int] = (80, 24)) -> None:
        self.size = size
        self.screens: list[list[str]] = []
        self._keys = [*keys]

    def draw(self, lines: list[Line]) -> None:
        self.screens.append(["".join(span.text for span in line).rstrip() for line in lines])

    def key(self) -> str | None:
        return self._keys.pop(0)

    def redraw(self) -> None:
        self.screens.append(["redrawn"])


class Answers:
    """Sources with one reading after the other. @ivar asked: what was asked for."""

    def __init__(self, *readings: Reading) -> None:
        self._readings = [*readings]
        self.asked: list[tuple[Query, bool]] = []
        self.changes: list[Change] = []

    @property
    def version(self) -> int:
        return -len(self._readings)

    def reading(self) -> Reading:
        return self._readings.pop(0) if len(self._readings) > 1 else self._readings[0]

    def ask(self, query: Query, again: bool = False) -> None:
        self.asked.append((query, again))

    def change(self, change: Change) -> None:
        self.changes.append(change)


def seen(count: int) -> Reading:
    return Reading(status(live=count), instances=1)


class ShowTests(SynchronousTestCase):
    """The loop."""

    def test_draws_changes(self) -> None:
        """New values are drawn once; without change nothing is drawn."""
        screen = Keys(None, None, None, None, None, "q")
        show(screen, Answers(Reading(), seen(1), seen(2)), "here")
        self.assertEqual(
            ["connecting to here", "1 tunnels", "2 tunnels"],
            [screen.screens[0][0], *(drawn[1].partition("  ")[0] for drawn in screen.screens[1:])],
        )

    def test_keys(self) -> None:
        """Each key is drawn at once."""
        screen = Keys("?", "x", "2", "q")
        show(screen, Answers(seen(1)), "here")
        self.assertIn("q, Ctrl-C", "".join(screen.screens[1]))
        self.assertTrue(screen.screens[3][3].startswith("SERVER NAME"))

    def test_redraw(self) -> None:
        """Ctrl-L draws the screen again, after another program has written to it."""
        screen = Keys("\x0c", "q")
        show(screen, Answers(seen(1)), "here")
        self.assertEqual(["redrawn"], screen.screens[1])
        self.assertEqual(screen.screens[0], screen.screens[2])

    def test_pause(self) -> None:
        """While paused, new values are not shown; but the first are."""
        screen = Keys("p", None, None, "p", None, "q")
        show(screen, Answers(seen(1), seen(2), seen(3)), "here")
        live = [drawn[1].partition(" ")[0] for drawn in screen.screens]
        self.assertEqual(["1", "1", "2", "3"], live)
        screen = Keys("p", None, None, "q")
        show(screen, Answers(Reading(), seen(2)), "here")
        self.assertTrue(screen.screens[-1][1].startswith("2 tunnels"))

    def test_asks(self) -> None:
        """Tunnels are asked for while they are shown; Space asks again."""
        sources = Answers(seen(1))
        show(Keys("3", "/", "a", "\n", "s", " ", "1", "q"), sources, "here")
        self.assertEqual(
            [
                (Query(34), False),
                (Query(34), False),
                (Query(34, "a"), False),
                (Query(34, "a"), False),
                (Query(34, "a", "client"), False),
                (Query(34, "a", "client"), True),
                (Query(), False),
                (Query(), False),
            ],
            sources.asked,
        )

    def test_drain(self) -> None:
        """d asks about the selected broker, and y drains it, once; another key does not."""
        screen, sources = Keys("j", "d", "y", None, "d", "n", "q"), Answers(seen(1))
        show(screen, sources, "here")
        asked = [drawn[-1] for drawn in screen.screens if "y: yes" in drawn[-1]]
        self.assertEqual(2, len(asked))
        (change,) = sources.changes
        self.assertEqual(screen.screens[0][5].split()[0], change.target)
        self.assertIn(f"drain {change.target} ", asked[0])

    def test_drain_elsewhere(self) -> None:
        """d is a letter of a filter, and nothing in other views, in the help, and without brokers."""
        for keys in (["2", "d"], ["?", "d", "x"], ["/", "d"]):
            sources = Answers(seen(1))
            show(Keys(*keys, "y", "\n", "q"), sources, "here")
            self.assertEqual([], sources.changes, keys)
        sources = Answers(Reading())
        show(Keys("d", "y", "q"), sources, "here")
        self.assertEqual([], sources.changes)

    def test_unchangeable(self) -> None:
        """Where nothing can be changed, d says what is needed, and does not ask."""
        screen, sources = Keys("d", "y", "q"), Answers(seen(1))
        show(screen, sources, "here", unchangeable="changes need --token-file")
        self.assertEqual("changes need --token-file", screen.screens[1][-1])
        self.assertEqual([], sources.changes)

    def test_stale(self) -> None:
        """While no endpoint answers the seconds are counted."""
        screen = Keys(None, None, "q")
        lost = [Reading(status(), errors={"a": "no"}, stale_s=seconds) for seconds in (1.0, 2.0, 3.0)]
        show(screen, Answers(*lost), "here")
        self.assertEqual(["1s", "2s", "3s"], [drawn[0].split()[3].rstrip(",") for drawn in screen.screens])

    def test_scrolls(self) -> None:
        """The part of the tunnels around the screen is asked for; of several instances all before it, too."""
        page = TunnelPage(Query(34), 5000, [tunnel(number) for number in range(34)])
        sources = Answers(Reading(status(), page=page, instances=1))
        show(Keys("3", *["KEY_NPAGE"] * 4, "q"), sources, "here")
        self.assertEqual(Query(51, offset=31), sources.asked[-1][0])
        ui = UiState(view=TUNNELS, top=48, sorts={TUNNELS: Sort("bytes", True)})
        self.assertEqual(Query(82, "", "bytes", 0), wanted(ui, 24, instances=2))
        self.assertEqual(1000, wanted(UiState(view=TUNNELS, top=4000, sorts=ui.sorts), 24, instances=2).limit)
        oldest = UiState(view=TUNNELS, sorts={TUNNELS: Sort("age", True)})
        self.assertEqual("age", wanted(oldest, 24).sort)


class Terminal(io.StringIO):
    """An output that is a terminal."""

    def isatty(self) -> bool:
        return True


class RunTests(SynchronousTestCase):
    """The command."""

    def options(self, *arguments: str) -> argparse.Namespace:
        top = argparse.ArgumentParser()
        add_top(top.add_subparsers())
        return top.parse_args(["top", *arguments])

    def run_with(self, screen: Any, *arguments: str) -> tuple[int, mock.Mock]:
        """Run on a terminal. @param screen: an exception that opening it raises, or the screen."""

        @contextmanager
        def opened() -> Any:
            if isinstance(screen, BaseException):
                raise screen
            yield screen

        self.patch(command, "open_screen", opened)
        sources = mock.Mock(version=1)
        sources.reading.return_value = seen(1)
        made = mock.Mock(return_value=sources)
        self.patch(command, "Sources", made)
        with mock.patch("sys.stdin", Terminal()):
            try:
                return run_top(self.options(*arguments), Terminal()), made
            finally:
                self.assertTrue(sources.stop.called)

    def test_run(self) -> None:
        """The endpoints and the interval are those of the options."""
        screen = Keys("q")
        status, made = self.run_with(screen, "127.0.0.1:9", "http://127.0.0.1:9", "unix:/a", "--interval", "5")
        self.assertEqual(0, status)
        made.assert_called_once_with(["http://127.0.0.1:9", "http://127.0.0.1:9", "unix:/a"], 5.0, token=None)
        self.assertTrue(screen.screens[0][0].endswith("http://127.0.0.1:9 unix:/a every 5 s"))
        _, made = self.run_with(Keys("q"))
        made.assert_called_once_with([DEFAULT_URL], 2.0, token=None)

    def test_token(self) -> None:
        """The token is read before the screen opens; a file without one is an error."""
        file = Path(self.mktemp())
        file.write_text("secret\n")
        _, made = self.run_with(Keys("q"), "--token-file", str(file))
        made.assert_called_once_with([DEFAULT_URL], 2.0, token="secret")
        file.write_text("")
        with mock.patch("sys.stdin", Terminal()), self.assertRaisesRegex(AdminError, "one line with a token"):
            run_top(self.options("--token-file", str(file)), Terminal())

    def test_ends(self) -> None:
        """Ctrl-C and signals end it as shells report them."""
        self.assertEqual(INTERRUPTED, self.run_with(KeyboardInterrupt())[0])
        self.assertEqual(143, self.run_with(Terminated(15))[0])

    def test_no_screen(self) -> None:
        """A terminal that cannot be used is an error that names what works without."""
        with self.assertRaisesRegex(AdminError, "unknown; use `sniproxyctl status --watch`, or"):
            self.run_with(NoScreen("unknown"))

    def test_no_terminal(self) -> None:
        """Without a terminal, the error names what works without, and the status is 1."""
        out, error = io.StringIO(), io.StringIO()
        self.assertEqual(1, ctl.main(["top"], ctl.Streams(io.BytesIO(), out, error)))
        self.assertEqual("", out.getvalue())
        for said in ("top needs a terminal", "status --watch", "status --json"):
            self.assertIn(said, error.getvalue())

    def test_usage(self) -> None:
        """A wrong interval is wrong usage."""
        with mock.patch("sys.stderr", io.StringIO()) as error, self.assertRaises(SystemExit):
            self.options("--interval", "0")
        self.assertIn("from 0.1 to 3600", error.getvalue())
