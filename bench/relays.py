"""Which relay serves the tunnels of a running proxy, by its own account."""

from __future__ import annotations

import re

from bench.childprocess import LoadError

ENGINE, PYTHON = "engine", "python"

_START_LINE = re.compile(rf"\brelay: ({ENGINE}|{PYTHON})\b")


def serving(log: str) -> str | None:
    """The relay that a proxy's log names, `ENGINE` or `PYTHON`. None: the log names none, as in older versions."""
    found = _START_LINE.findall(log)
    return found[-1] if found else None


def refused(log: str, wanted: str) -> str | None:
    """Why a proxy must not be measured as one with the relay ``wanted``. None: its log says that this relay serves."""
    found = serving(log)
    if found == wanted:
        return None
    said = "its log names no relay" if found is None else f"the {found} relay serves"
    return f"not the {wanted} relay: {said}"


def note(seen: dict[str, str], name: str, relay: str | None) -> None:
    """Note which relay served a run of a peer. Raises `LoadError` if another one served an earlier run."""
    if relay is not None and seen.setdefault(name, relay) != relay:
        raise LoadError(f"the {seen[name]} relay served one run of {name}, the {relay} relay another")
