"""Short forms of numbers for the columns of tables. Pure."""

from __future__ import annotations

UNKNOWN = "-"
"""The form of a number that is not known."""


def compact(value: float | None) -> str:
    """A number in at most five characters: ``0.3``, ``12``, ``4812``, ``12.3k``, ``1.2M``; for bytes, too."""
    if value is None:
        return UNKNOWN
    if abs(value) < 9.95 and value != int(value):
        return f"{value:.1f}"
    if abs(value) < 9999.5:
        return f"{value:.0f}"
    for unit in ("k", "M", "G", "T", "P"):
        value /= 1000
        if abs(value) < 99.95:
            return f"{value:.1f}{unit}"
        if abs(value) < 999.5:
            return f"{value:.0f}{unit}"
    return "huge"


def count(value: float | None) -> str:
    """A whole number, with a comma between thousands."""
    return UNKNOWN if value is None else f"{value:,.0f}"


def elapsed(seconds: float | None) -> str:
    """A time of work in at most six characters: ``0.4ms``, ``12ms``, ``1.2s``, ``30s``."""
    if seconds is None:
        return UNKNOWN
    if seconds < 0.00995:
        return f"{seconds * 1000:.1f}ms"
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    return f"{seconds:.1f}s" if seconds < 9.95 else f"{seconds:.0f}s"


def age(seconds: float | None) -> str:
    """An age in at most five characters, in the largest unit of which there are at least two: ``90s``, ``3h``."""
    if seconds is None:
        return UNKNOWN
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{max(0.0, seconds):.0f}s"
