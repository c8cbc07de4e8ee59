"""The JSON of C{/who}: the connections behind addresses that a broker shows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sniproxy.admin.documents import tunnel
from sniproxy.admin.sources import LiveConnection

STEP = 2000
"""Connections examined in one step."""


def who_steps(
    live: Sequence[LiveConnection], addresses: Collection[str], now: float
) -> Iterator[Sequence[dict[str, Any]]]:
    """Find the connections whose C{upstream_local} is one of the addresses. Yields a part of them in each step."""
    wanted = frozenset(addresses)
    ports = frozenset(int(port) for one in wanted if (port := one.rpartition(":")[2]).isdecimal())
    for begin in range(0, len(live), STEP):
        # Comparing numbers first is much faster than making the texts.
        near = (one for one in live[begin : begin + STEP] if one.record.upstream_port in ports)
        yield [tunnel(one, now) for one in near if one.record.upstream_local in wanted]
