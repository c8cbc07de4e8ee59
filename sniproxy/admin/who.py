"""The JSON of C{/who}: the connections behind addresses that a broker shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sniproxy.admin.documents import tunnel
from sniproxy.admin.sources import LiveConnection
from sniproxy.events import Connection

STEP = 2000
"""Connections examined in one step."""


def who_steps(
    live: Sequence[LiveConnection], addresses: Collection[str], now: float
) -> Iterator[Sequence[dict[str, Any]]]:
    """Find the connections whose C{upstream_local} is one of the addresses, and those whose C{client} is one, if the
    target got a PROXY protocol header with it. Yields a part of them in each step.

    @param addresses: C{host:port}, in the shortest form.
    """
    wanted = frozenset(addresses)
    ports = frozenset(int(port) for one in wanted if (port := one.rpartition(":")[2]).isdecimal())
    for begin in range(0, len(live), STEP):
        yield [tunnel(one, now) for one in live[begin : begin + STEP] if _is_shown(one.record, wanted, ports)]


def _is_shown(record: Connection, wanted: Collection[str], ports: Collection[int]) -> bool:
    # Comparing numbers first is much faster than making the texts.
    if record.upstream_port in ports and record.upstream_local in wanted:
        return True
    return record.header_sent and record.client in wanted
