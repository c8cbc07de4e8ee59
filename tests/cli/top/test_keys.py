"""Tests for sniproxy.cli.top.keys."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.top.changes import Change
from sniproxy.cli.top.keys import HELP, MAX_FILTER_CHARS, Sort, UiState, press, scrolled
from sniproxy.cli.top.views import VIEWS

TOTAL, HEIGHT = 100, 10


def pressed(*keys: str, total: int = TOTAL, height: int = HEIGHT) -> UiState:
    """The state after these keys."""
    ui = UiState()
    for key in keys:
        ui = press(ui, key, total, height)
    return ui


class KeyTests(SynchronousTestCase):
    """What each key does."""

    def test_quit(self) -> None:
        """q quits, from the help, too."""
        self.assertTrue(pressed("q").quit)
        self.assertTrue(pressed("?", "q").quit)
        self.assertFalse(pressed("?", "x").quit)

    def test_help(self) -> None:
        """? and h show the help, any key returns."""
        self.assertTrue(pressed("?").help)
        self.assertTrue(pressed("h").help)
        self.assertEqual(UiState(), pressed("?", "2"))

    def test_help_is_whole(self) -> None:
        """The help names every key that is an ASCII sign."""
        named = " ".join(keys for keys, _ in HELP)
        for key in "?/prqshgGkj<>d":
            self.assertIn(key, named)

    def test_views(self) -> None:
        """Numbers, Tab and arrows choose a view, and select its first row."""
        self.assertEqual([0, 2, 4], [pressed(key).view for key in "135"])
        self.assertEqual(0, pressed("9").view)
        self.assertEqual((1, 0), (pressed("\t").view, pressed(*["\t"] * len(VIEWS)).view))
        self.assertEqual((len(VIEWS) - 1, 1), (pressed("KEY_BTAB").view, pressed("KEY_RIGHT").view))
        self.assertEqual((0, 0), (pressed("j", "3").cursor, pressed("KEY_NPAGE", "3").top))

    def test_move(self) -> None:
        """The selected row moves within the table, and the screen with it."""
        for keys, cursor, top in (
            (["j", "KEY_DOWN"], 2, 0),
            (["k"], 0, 0),
            (["KEY_NPAGE"], 9, 0),
            (["KEY_NPAGE", "j"], 10, 1),
            (["KEY_NPAGE", "KEY_NPAGE", "KEY_PPAGE"], 9, 9),
            (["KEY_END"], 99, 90),
            (["G", "j"], 99, 90),
            (["G", "g"], 0, 0),
            (["G", "KEY_UP"], 98, 90),
        ):
            ui = pressed(*keys)
            self.assertEqual((cursor, top), (ui.cursor, ui.top), keys)
        self.assertEqual((0, 0), (pressed("G", total=0).cursor, pressed("G", total=0).top))

    def test_scrolled(self) -> None:
        """If the table has become shorter, or the screen lower, the selected row is still on it."""
        ui = UiState(cursor=50, top=45)
        self.assertEqual((19, 10), (scrolled(ui, 20, 10).cursor, scrolled(ui, 20, 10).top))
        self.assertEqual((50, 49), (scrolled(ui, 100, 2).cursor, scrolled(ui, 100, 2).top))

    def test_sort(self) -> None:
        """The next and the previous column, and the other direction; each view has its own order."""
        self.assertEqual(Sort("connections", True), UiState().sort)
        self.assertEqual(Sort("new", True), pressed("s").sort)
        self.assertEqual(Sort("since", True), pressed("<").sort)
        self.assertEqual(Sort("state", False), pressed("<", "<").sort)
        self.assertEqual(Sort("connections", False), pressed("r").sort)
        self.assertEqual(Sort("connections", True), pressed(">", "<").sort)
        self.assertEqual(Sort("age", False), pressed("s", "3").sort)
        self.assertEqual(Sort("new", True), pressed("s", "3", "1").sort)
        self.assertEqual(Sort("age", True), pressed("3", "r").sort)
        self.assertEqual(Sort("bytes", True), pressed("3", "<").sort)
        self.assertEqual(Sort("client", False), pressed("3", "s", "r").sort)
        everywhere = pressed(*["s"] * len(VIEWS[0].columns))
        self.assertEqual(UiState().sort, everywhere.sort)

    def test_filter(self) -> None:
        """A filter applies while it is typed; Enter keeps it, Escape restores the one before, and then removes it."""
        ui = pressed("/", "a", "q", "é")
        self.assertEqual(("aqé", False), (ui.filter, ui.quit))
        self.assertIsNotNone(ui.typing)
        self.assertEqual(("a", None), (pressed("/", "a", "\n").filter, pressed("/", "a", "\n").typing))
        self.assertEqual("a", pressed("/", "a", "\n", "/", "b", "\x1b").filter)
        self.assertEqual("", pressed("/", "a", "\n", "\x1b").filter)
        self.assertEqual("a", pressed("/", "a", "b", "KEY_BACKSPACE").filter)
        self.assertEqual("", pressed("/", "a", "b", "\x15").filter)
        self.assertEqual("", pressed("/", "KEY_F(1)", "\x01").filter)
        self.assertEqual(MAX_FILTER_CHARS, len(pressed("/", *"x" * 200).filter))

    def test_filter_of_view(self) -> None:
        """Each view has its own filter."""
        ui = pressed("/", "a", "\n", "2")
        self.assertEqual("", ui.filter)
        self.assertEqual("a", press(ui, "1", TOTAL, HEIGHT).filter)

    def test_pause_and_refresh(self) -> None:
        """p pauses and continues; Space counts the requests for new values."""
        self.assertTrue(pressed("p").paused)
        self.assertFalse(pressed("p", "p").paused)
        self.assertEqual(2, pressed(" ", " ").refresh)

    def test_confirm(self) -> None:
        """y confirms a change; any other key, also one that does something else, cancels it."""
        asking = UiState(asking=Change("a:1", False))
        self.assertEqual(UiState(confirmed=asking.asking), press(asking, "y", TOTAL, HEIGHT))
        for key in ("n", "q", "j", "\x1b", "d", "/"):
            self.assertEqual(UiState(), press(asking, key, TOTAL, HEIGHT), key)

    def test_notice(self) -> None:
        """The next key removes a notice."""
        self.assertEqual(UiState(cursor=1), press(UiState(notice="no"), "j", TOTAL, HEIGHT))

    def test_unknown(self) -> None:
        """Other keys change nothing."""
        self.assertEqual(UiState(), pressed("x", "KEY_F(5)", "KEY_RESIZE", "é", "0"))

    @given(
        st.lists(st.sampled_from([*"qh?/ps<>r gGjk123456789xé", "\t", "\n", "\x1b", "KEY_END", "KEY_NPAGE", "KEY_UP"]))
    )
    def test_any(self, keys: list[str]) -> None:
        """After any keys the selected row is on the screen."""
        ui = pressed(*keys)
        self.assertTrue(0 <= ui.top <= ui.cursor < ui.top + HEIGHT)
        self.assertIn(ui.sort.key, VIEWS[ui.view].sortable())
        self.assertEqual(attrs.evolve(ui), ui)
