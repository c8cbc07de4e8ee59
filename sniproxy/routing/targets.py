"""Parses targets, and orders them round robin. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from sniproxy.interfaces import Target
from sniproxy.util.names import MAX_NAME_CHARS, NORMAL, BadName, server_name

DEFAULT_PORT = 6651
"""Pulsar's port for TLS (``brokerServicePortTls``)."""

MAX_PORT = 65535
MAX_WEIGHT = 65535

_SCHEME = "pulsar+ssl://"
_WEIGHT = re.compile(r"\s+weight=")
_A_LIST = 'write several targets as a list: target = ["a:6651", "b:6651"]'
_PLAIN = re.compile(rf"({NORMAL}):([1-9][0-9]{{0,4}})")
"""The usual ``host:port``, parsed fast. Other texts may also be targets."""


class BadTarget(ValueError):
    """A text is no target; the message says why and what to write."""


def parse_target(text: str) -> Target:
    """Parse ``host``, ``host:port``, ``[2001:db8::7]:port`` or ``pulsar+ssl://host:port``. The default port is 6651.

    @raise BadTarget: the text is none of these.
    """
    plain = _PLAIN.fullmatch(text)
    if plain is not None and len(plain[1]) <= MAX_NAME_CHARS and int(plain[2]) <= MAX_PORT:
        return Target(plain[1], int(plain[2]))  # fast, for many targets
    rest = text.strip()
    if "://" in rest:
        if not rest.lower().startswith(_SCHEME):
            scheme = rest.partition("://")[0]
            raise BadTarget(
                f"unsupported scheme {scheme!r}: the tunnel carries TLS; write {_SCHEME}host:port or host:port"
            )
        rest = rest[len(_SCHEME) :].removesuffix("/")
    if "," in rest:
        raise BadTarget(_A_LIST)
    host, port = _split(rest)
    try:
        host = server_name(host)
    except BadName as error:
        raise BadTarget(f"bad host: {error}") from error
    if port is None:
        return Target(host, DEFAULT_PORT)
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= MAX_PORT):
        raise BadTarget(f"bad port {port!r}: must be a number from 1 to {MAX_PORT}")
    return Target(host, int(port))


def parse_weighted(text: str) -> Target:
    """Parse a target as L{parse_target} does, with an optional weight. @raise BadTarget: the text is no target."""
    if "weight=" not in text:  # fast, for many targets
        return parse_target(text)
    place, weight = split_weight(text)
    return attrs.evolve(parse_target(place), weight=weight)


def split_weight(text: str) -> tuple[str, int]:
    """Split a text like C{host:port weight=2}. The default weight is 1; 0 means: only when all other targets fail.

    @return: the text before the weight, and the weight. @raise BadTarget: the weight is no weight.
    """
    place, *weights = _WEIGHT.split(text, maxsplit=1)
    if not weights:
        return text, 1
    weight = weights[0].strip()
    if "," in weight:
        raise BadTarget(_A_LIST)
    if not (weight.isascii() and weight.isdigit() and len(weight) <= 5 and int(weight) <= MAX_WEIGHT):
        cure = f"must be an integer from 0 to {MAX_WEIGHT}, as in 10.0.0.7:6651 weight=2"
        raise BadTarget(f"bad weight {weight!r}: {cure}")
    return place, int(weight)


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")):
            raise BadTarget("an IPv6 address with a port is written [2001:db8::7]:6651")
        return host, rest[1:] if rest else None
    if text.count(":") > 1:  # an IPv6 address without a port
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


class Turns:
    """Weighted round robin over a route's targets.

    Each call advances the turn by one. The other targets follow in their order, to be dialled when the first fails.
    Targets of weight 0 come last.
    """

    __slots__ = ("_count",)

    def __init__(self) -> None:
        self._count = 0

    def order(self, targets: Sequence[Target]) -> list[Target]:
        """All targets; the target whose turn it is comes first."""
        if len(targets) == 1:
            return list(targets)
        weighted = [target for target in targets if target.weight > 0]
        spare = [target for target in targets if target.weight <= 0]
        if not weighted:
            return spare
        turn = self._count % sum(target.weight for target in weighted)
        self._count += 1
        first = 0
        while turn >= weighted[first].weight:
            turn -= weighted[first].weight
            first += 1
        return weighted[first:] + weighted[:first] + spare
