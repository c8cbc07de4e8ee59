"""Finds connections among all open ones, for C{/tunnels}, in steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import merge
from itertools import islice
from typing import Any

from sniproxy.admin.documents import tunnel
from sniproxy.admin.slices import Steps
from sniproxy.admin.sources import LiveConnection

BATCH = 40
"""Connections read in one step."""

_Key = tuple[Any, ...]

SORTS: dict[str, Callable[[LiveConnection, int], _Key]] = {
    "newest": lambda live, number: (-number,),
    "age": lambda live, number: (number,),
    "bytes": lambda live, number: (-live.bytes_up - live.bytes_down, number),
    "name": lambda live, number: (*_text_key(live.record.server_name), number),
    "client": lambda live, number: (live.record.client, number),
    "target": lambda live, number: (*_text_key(live.record.target), number),
}
"""The orders, each as a sort key of a connection and its number by age.

C{age} has the oldest first, C{bytes} those with the most bytes; texts are in order, and missing ones come last.
"""


def tunnel_list_steps(
    live: Sequence[LiveConnection],
    now: float,
    wanted: str = "",
    sort: str = "newest",
    limit: int = 100,
    offset: int = 0,
) -> Steps[tuple[int, list[dict[str, Any]]]]:
    """Find connections in steps.

    @param live: all connections, the oldest first. @param wanted: a text that one of a connection's fields has, in any
        case. Empty: all connections are found.
    @param sort: one of L{SORTS}. @param limit: connections to return. @param offset: connections to leave out before.
    @return: how many were found, and those that were asked for, as C{/status} has them.
    """
    wanted, key_of = wanted.lower(), SORTS[sort]
    found: list[list[tuple[_Key, LiveConnection]]] = []
    matched = 0
    for start in range(0, len(live), BATCH):
        part = [
            (key_of(one, number), one)
            for number, one in enumerate(live[start : start + BATCH], start)
            if not wanted or wanted in _texts(one)
        ]
        part.sort(key=_key)
        found.append(part)
        matched += len(part)
        yield
    merged = islice(merge(*found, key=_key), offset + limit)
    listed = []
    for number, (_, one) in enumerate(merged):
        if number >= offset:
            listed.append(tunnel(one, now))
        if not (number + 1) % BATCH:
            yield
    return matched, listed


def _key(entry: tuple[_Key, LiveConnection]) -> _Key:
    return entry[0]


def _text_key(text: str | None) -> _Key:
    return (text is None, text or "")


def _texts(live: LiveConnection) -> str:
    """The fields of a connection in which a text is looked for, one a line."""
    record = live.record
    proxied = None if record.proxied is None else record.proxied.peer
    fields = (
        record.id, record.listener, record.server_name, record.route, record.target, record.client, proxied,
        record.other_authority, record.upstream_local, live.state,
    )  # fmt: skip
    return "\n".join(field for field in fields if field is not None).lower()
