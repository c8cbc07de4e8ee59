"""Reads fields of JSON documents whose release may be another than ours. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sniproxy.util.text import bounded


def entries(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list. Skips entries that are no objects; empty if there is no such list."""
    value = document.get(name)
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def table(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An object; empty if there is none."""
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def number(document: Mapping[str, Any], name: str) -> float | None:
    """A finite number; None if there is none."""
    value = document.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def text(document: Mapping[str, Any], name: str) -> str:
    """A text in bounded printable ASCII; empty if there is none."""
    value = document.get(name)
    return bounded(value) if isinstance(value, str) else ""


def texts(document: Mapping[str, Any], name: str) -> list[str]:
    """The texts of a list, each in bounded printable ASCII. Skips entries that are no texts."""
    value = document.get(name)
    return [bounded(one) for one in value if isinstance(one, str)] if isinstance(value, list) else []
