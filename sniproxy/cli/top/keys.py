"""The state of the screen of C{top}, and what each key does to it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from sniproxy.cli.top.changes import Change
from sniproxy.cli.top.views import VIEWS

HELP: Sequence[tuple[str, str]] = (
    ("1 to 5, Tab", "brokers, routes, tunnels, refusals, warnings"),
    ("Up, Down, k, j", "select another row; the lines below the table describe it"),
    ("PgUp, PgDn", "scroll by a screen"),
    ("Home, End, g, G", "first row, last row"),
    ("s, >, <", "sort by the next or the previous column"),
    ("r", "reverse the order; of tunnels, only by age"),
    ("/", "show only rows with a text; Enter keeps it, Esc removes it"),
    ("d", "drain the selected broker, or cancel its drain; y confirms"),
    ("p", "pause, or continue"),
    ("Space", "query the proxy now"),
    ("Ctrl-L", "draw the screen again"),
    ("?, h", "this help"),
    ("q, Ctrl-C", "quit"),
)
"""The keys, and what they do."""

MAX_FILTER_CHARS = 100
"""Maximum length of a filter."""

ESCAPE = "\x1b"
_ENTER = ("\n", "\r", "KEY_ENTER")
_ERASE = ("\x7f", "\b", "KEY_BACKSPACE")
_MOVES = {"KEY_UP": -1, "k": -1, "KEY_DOWN": 1, "j": 1}


@attrs.frozen
class Sort:
    """A column by its key, and whether the highest value comes first."""

    key: str
    descending: bool


@attrs.frozen
class UiState:
    """What the user has chosen.

    @ivar view: an index of L{VIEWS}. @ivar sorts: the order of each view. @ivar filters: the text of each view.
    @ivar typing: the filter before the user began to type another; None: the user is not typing.
    @ivar cursor: the number of the selected row. @ivar top: the number of the first row on the screen.
    @ivar refresh: how many times the user has asked for new values. @ivar asking: a change that the user has not
    confirmed yet. @ivar confirmed: a change to make now. @ivar notice: why a key did nothing, until the next key.
    """

    view: int = 0
    sorts: Mapping[int, Sort] = attrs.Factory(lambda: {at: Sort(*view.sort) for at, view in enumerate(VIEWS)})
    filters: Mapping[int, str] = attrs.Factory(dict)
    typing: str | None = None
    cursor: int = 0
    top: int = 0
    help: bool = False
    paused: bool = False
    quit: bool = False
    refresh: int = 0
    asking: Change | None = None
    confirmed: Change | None = None
    notice: str = ""

    @property
    def sort(self) -> Sort:
        """The order of the current view."""
        return self.sorts[self.view]

    @property
    def filter(self) -> str:
        """The filter of the current view; empty: none."""
        return self.filters.get(self.view, "")


def press(ui: UiState, key: str, total: int, height: int) -> UiState:
    """The state after a key.

    @param key: a character, or the name that curses gives a key, as C{KEY_UP}. Unknown keys change nothing.
    @param total: the number of rows of the current view. @param height: how many of them the screen shows.
    """
    ui = attrs.evolve(ui, notice="")
    if ui.asking is not None:
        return attrs.evolve(ui, asking=None, confirmed=ui.asking if key in ("y", "Y") else None)
    if ui.typing is not None:
        return _type(ui, key)
    if ui.help:
        return attrs.evolve(ui, help=False, quit=key == "q")
    if key in ("q", "Q"):
        return attrs.evolve(ui, quit=True)
    if key in ("?", "h"):
        return attrs.evolve(ui, help=True)
    if key == "/":
        return attrs.evolve(ui, typing=ui.filter)
    if key == ESCAPE:
        return _filter(ui, "")
    if key == "p":
        return attrs.evolve(ui, paused=not ui.paused)
    if key == " ":
        return attrs.evolve(ui, refresh=ui.refresh + 1)
    if key in ("s", ">", "<", "r"):
        return _sort(ui, key)
    view = _view(ui.view, key)
    if view != ui.view:
        return attrs.evolve(ui, view=view, cursor=0, top=0)
    return scrolled(attrs.evolve(ui, cursor=_cursor(ui.cursor, key, total, height)), total, height)


def scrolled(ui: UiState, total: int, height: int) -> UiState:
    """Keep the selected row inside the table and on the screen."""
    cursor = max(0, min(ui.cursor, total - 1))
    height = max(1, height)
    top = max(0, min(ui.top, total - height))
    top = cursor if cursor < top else max(top, cursor - height + 1)
    return attrs.evolve(ui, cursor=cursor, top=top)


def _cursor(cursor: int, key: str, total: int, height: int) -> int:
    if key in ("KEY_HOME", "g"):
        return 0
    if key in ("KEY_END", "G"):
        return total - 1
    step = max(1, height - 1)
    return cursor + {**_MOVES, "KEY_PPAGE": -step, "KEY_NPAGE": step}.get(key, 0)


def _view(view: int, key: str) -> int:
    if key in ("\t", "KEY_RIGHT"):
        return (view + 1) % len(VIEWS)
    if key in ("KEY_BTAB", "KEY_LEFT"):
        return (view - 1) % len(VIEWS)
    chosen = "123456789".find(key) if len(key) == 1 else -1
    return chosen if 0 <= chosen < len(VIEWS) else view


def _sort(ui: UiState, key: str) -> UiState:
    view, sort = VIEWS[ui.view], ui.sort
    if key == "r":
        other = not sort.descending
        sort = Sort(sort.key, other) if other in view.directions(sort.key) else sort
    else:
        keys = view.sortable()
        after = keys[(keys.index(sort.key) + (-1 if key == "<" else 1)) % len(keys)]
        sort = Sort(after, view.directions(after)[0])
    return attrs.evolve(ui, sorts={**ui.sorts, ui.view: sort}, cursor=0, top=0)


def _filter(ui: UiState, text: str) -> UiState:
    return attrs.evolve(ui, filters={**ui.filters, ui.view: text}, cursor=0, top=0)


def _type(ui: UiState, key: str) -> UiState:
    """The filter applies while the user types it."""
    if key in _ENTER:
        return attrs.evolve(ui, typing=None)
    if key == ESCAPE:
        return attrs.evolve(_filter(ui, ui.typing or ""), typing=None)
    if key in _ERASE:
        return _filter(ui, ui.filter[:-1])
    if key == "\x15":  # Ctrl-U, as in a shell
        return _filter(ui, "")
    if len(key) == 1 and key.isprintable() and len(ui.filter) < MAX_FILTER_CHARS:
        return _filter(ui, ui.filter + key)
    return ui
