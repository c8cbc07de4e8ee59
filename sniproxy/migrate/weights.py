"""Weights of targets that several groups share. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from math import gcd, lcm

from sniproxy.routing.targets import MAX_WEIGHT

MAX_DENOMINATOR = 1_000_000
"""Limit of the exactness of a target's share, so that numbers stay small."""


def share(groups: Iterable[tuple[int, Sequence[tuple[str, int]]]]) -> list[tuple[str, int]]:
    """Flatten weighted groups of weighted targets into one list with the same shares of the connections.

    @param groups: the weight of each group, and its targets with their weights in the group. Weights of 0 and less get
        no connections. @return: each target once, in order, with the smallest whole weights from 1 to 65535.
    """
    shares: dict[str, Fraction] = {}
    for weight, targets in groups:
        counted = [(target, own) for target, own in targets if own > 0]
        total = sum(own for _, own in counted)
        for target, own in counted if weight > 0 else ():
            shares[target] = shares.get(target, Fraction(0)) + Fraction(weight * own, total)
    if not shares:
        return []
    whole = sum(shares.values())
    shares = {target: (one / whole).limit_denominator(MAX_DENOMINATOR) for target, one in shares.items()}
    scale = lcm(*(one.denominator for one in shares.values()))
    weights = {target: int(one * scale) for target, one in shares.items()}
    divisor = gcd(*weights.values())
    if min(weights.values()) > 0 and max(weights.values()) // divisor <= MAX_WEIGHT:
        return [(target, weight // divisor) for target, weight in weights.items()]
    # Too large, or a share rounds to nothing: the smallest shares become larger than they were.
    largest = max(shares.values())
    return [(target, max(1, round(one / largest * MAX_WEIGHT))) for target, one in shares.items()]


def weighted(target: str, weight: int) -> str:
    """A target's text with its weight."""
    return target if weight == 1 else f"{target} weight={weight}"


def host_port(host: str, port: int) -> str:
    """The text of a target. An IPv6 address gets its brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
