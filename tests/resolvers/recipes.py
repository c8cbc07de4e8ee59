"""The recipes of docs/reference/resolver-http.md, for the tests that use them."""

from __future__ import annotations

import re
from pathlib import Path

import sniproxy

MANUAL = Path(sniproxy.__file__).parent.parent / "docs" / "reference" / "resolver-http.md"


def blocks() -> list[str]:
    """All configurations in the manual."""
    return re.findall(r"^```toml\n(.*?)^```", MANUAL.read_text(), re.MULTILINE | re.DOTALL)


def recipe(name: str) -> str:
    """The lines of one C{[resolver.NAME]} table, without its header."""
    (found,) = re.findall(rf"^\[resolver\.{name}\]\n(.*?)(?=^\[|\Z)", "".join(blocks()), re.MULTILINE | re.DOTALL)
    text: str = found
    return text
