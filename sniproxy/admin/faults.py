"""The admin endpoint for faults on purpose: C{/faults}, C{/faults/add} and C{/faults/remove}."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sniproxy.admin.query import ErrorAnswer
from sniproxy.admin.sources import StatusSource
from sniproxy.faults.active import UnknownFault
from sniproxy.interfaces import BadValue
from sniproxy.util.text import printable, quoted

ADD, REMOVE = "/faults/add", "/faults/remove"
FAULT_ACTIONS = (ADD, REMOVE)
"""The paths that change faults."""

ONE_PROCESS = "faults are counted in one process: set workers = 1, and upgrade or restart the proxy"
"""Why a supervisor of workers has none."""


def faults_document(source: StatusSource, now: float) -> dict[str, Any]:
    """The JSON of C{/faults}."""
    return {"time": now, "faults": [*source.faults.document()], "counts": dict(source.faults.counts)}


def change_faults(source: StatusSource, path: str, values: Mapping[str, str]) -> Mapping[str, Any]:
    """Add or remove a fault. @param path: L{ADD} or L{REMOVE}. @param values: the query. @return: the answer's JSON.

    @raise ErrorAnswer: 400: a value is wrong; 404: no fault has this name.
    """
    if path == ADD:
        try:
            return source.add_fault(values)
        except BadValue as error:
            given = "missing" if error.value is None else quoted(str(error.value))
            raise ErrorAnswer(400, printable(f"{error.key} = {given}: {error}")) from error
    if "name" not in values:
        raise ErrorAnswer(400, "name is missing")
    try:
        return {"removed": source.faults.remove(values["name"]).fault.name}
    except UnknownFault as error:
        raise ErrorAnswer(404, printable(str(error))) from error
