"""Reads numbers with units, and words for true and false, to suggest TOML values. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

_QUANTITY = re.compile(r"\s*([+-]?\d[\d_]*(?:\.\d+)?)\s*(/?\s*[A-Za-z]*)\s*")
_SECONDS: Mapping[str, float] = {
    "ms": 0.001, "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1, "m": 60, "min": 60, "mins": 60, "minute": 60,
    "minutes": 60, "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600, "d": 86400, "day": 86400, "days": 86400,
    "w": 604800,
}  # fmt: skip
_BYTES: Mapping[str, float] = {
    "b": 1, "bytes": 1, "k": 1 << 10, "kb": 1000, "kib": 1 << 10, "m": 1 << 20, "mb": 10**6, "mib": 1 << 20,
    "g": 1 << 30, "gb": 10**9, "gib": 1 << 30, "t": 1 << 40, "tb": 10**12, "tib": 1 << 40,
}  # fmt: skip
_THOUSANDS: Mapping[str, float] = {"k": 1000, "m": 10**6}

BYTE_KEYS = ("max_buffered",)
SECOND_KEYS = (
    "hello",
    "connect",
    "idle",
    "half_closed",
    "drain",
    "upgrade_drain",
    "interval",
    "eject",
    "deadline",
    "stale",
)
TRUE = ("true", "yes", "on", "enabled", "enable")
FALSE = ("false", "no", "off", "disabled", "disable")


def unit_of(key: str) -> str:
    """The unit of a key: ``seconds``, ``bytes``, or empty."""
    return "bytes" if key in BYTE_KEYS else "seconds" if key in SECOND_KEYS else ""


def number(text: str, key: str) -> str | None:
    """Convert a number with a unit to the key's unit, ``5m`` to ``300``. None: the text is no number."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        return None
    amount = float(match[1].replace("_", ""))
    unit = match[2].replace(" ", "").lower()
    units: Mapping[str, float] = {"bytes": _BYTES, "seconds": _SECONDS}.get(unit_of(key), _THOUSANDS)
    if unit in ("", "/s", "/sec", "/second"):
        factor: float = 1
    elif unit in units:
        factor = units[unit]
    else:
        return None
    return f"{round(amount * factor, 6):.6f}".rstrip("0").rstrip(".")


def flag(text: str) -> str | None:
    """Convert ``yes`` to ``true``, ``off`` to ``false``. None: the text is neither."""
    word = text.strip().lower()
    return "true" if word in TRUE else "false" if word in FALSE else None
