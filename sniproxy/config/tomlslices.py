"""Parses TOML text in slices, so that a large file does not keep other threads waiting. Pure.

The parser is native code, which keeps the interpreter's lock until it returns: 0.3 s for 100,000 routes.
"""

from __future__ import annotations

import re
from typing import Any

import tomli

ROUTES = 500
"""C{[[route]]} tables in a slice: about a millisecond."""

_ROUTE = re.compile(r"^\[\[route\]\][ \t]*(?:#[^\n]*)?\r?$", re.MULTILINE)


def loads(text: str) -> dict[str, Any]:
    """The value of a TOML document. @raise ValueError: it is not valid TOML."""
    found = _in_slices(text)
    return tomli.loads(text) if found is None else found


def _in_slices(text: str) -> dict[str, Any] | None:
    """The same, or None if the text is short, or may not be the sum of its slices.

    Without multi-line strings, a line C{[[route]]} is the head of a table or an error. So a slice has whole tables, and
    the first one has a route. Only C{route} may occur in several slices: other tables could depend on those before.
    """
    if '"""' in text or "'''" in text:
        return None
    cuts = [found.start() for found in _ROUTE.finditer(text)][::ROUTES]
    if len(cuts) < 2:
        return None
    whole: dict[str, Any] = {}
    for start, end in zip([0, *cuts[1:]], [*cuts[1:], len(text)], strict=True):
        try:
            part = tomli.loads(text[start:end])
        except ValueError:  # the whole text gives the right line
            return None
        if start:
            whole["route"].extend(part.pop("route"))
            if not whole.keys().isdisjoint(part):
                return None
        whole.update(part)
    return whole
