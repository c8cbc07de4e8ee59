"""Numbers in HAProxy: ranges in conditions, times, ports. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OPERATORS = ("eq", "ge", "gt", "le", "lt")
_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,9})?")
_TIME = re.compile(r"(\d{1,12})(us|ms|s|m|h|d)?")
_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def matches_number(patterns: Sequence[str], text: str) -> bool | None:
    """Whether a number matches one of the patterns: C{5}, C{1:5}, C{gt 5}. None: a pattern is not understood."""
    value, operator = _value(text), "eq"
    for pattern in patterns:
        if pattern in _OPERATORS:
            operator = pattern
            continue
        low, colon, high = pattern.partition(":")
        first = _value(low) if low or not colon else (float("-inf"),)
        last = _value(high) if high else ((float("inf"),) if colon else first)
        if first is None or last is None or value is None:
            return None
        if _fits(operator, value, first, last):
            return True
    return False


def _value(text: str) -> tuple[float, ...] | None:
    """A number, or a version as 3.10: a tuple, so that 3.10 is above 3.9."""
    return tuple(float(part) for part in text.split(".")) if _NUMBER.fullmatch(text) else None


def _fits(operator: str, value: tuple[float, ...], first: tuple[float, ...], last: tuple[float, ...]) -> bool:
    if operator == "gt":
        return value > last
    if operator == "ge":
        return value >= first
    if operator == "lt":
        return value < first
    return value <= last if operator == "le" else first <= value <= last


def seconds(text: str, unit: str = "ms") -> float | None:
    """A time in seconds. None: it is no time. @param unit: of a number without one."""
    found = _TIME.fullmatch(text)
    return None if found is None else int(found[1]) * _UNITS_S[found[2] or unit]
