"""Reads values of Envoy's configuration, which is protobuf's JSON mapping. Pure.

Keys may be written in C{snake_case} or C{lowerCamelCase}, numbers as texts, durations as C{"1.5s"}.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import attrs

from sniproxy.migrate.model import Notes
from sniproxy.migrate.yamlnodes import YamlNode

MAX_SECONDS = 10 * 365 * 24 * 3600.0
"""Longest duration: protobuf's limit is higher, and a timeout has no use for it."""

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)s")
_UPPER = re.compile(r"(?<=[a-z0-9])([A-Z])")
_VERSION = re.compile(r"v[0-9]+(?:alpha[0-9]*|beta[0-9]*)?")


def snake(node: YamlNode) -> YamlNode:
    """The same value with all keys in C{snake_case}; places keep the written keys."""
    if isinstance(node.value, dict):
        return attrs.evolve(node, value={_UPPER.sub(_lower, key): snake(one) for key, one in node.value.items()})
    if isinstance(node.value, list):
        return attrs.evolve(node, value=[snake(one) for one in node.value])
    return node


def _lower(match: re.Match[str]) -> str:
    return f"_{match[1].lower()}"


def entries(node: YamlNode | None, key: str) -> Sequence[YamlNode]:
    """The items of a repeated field; empty without it."""
    found = None if node is None else node.get(key)
    return () if found is None else found.list()


def text(node: YamlNode | None, *keys: str) -> str:
    """A text field; empty without it."""
    found = None if node is None else node.at(*keys)
    return "" if found is None else found.text()


def number(node: YamlNode | None, *keys: str) -> int | None:
    """A whole number, 0 or more. None: absent, or no such number."""
    written = text(node, *keys)
    return int(written) if written.isascii() and written.isdigit() and len(written) <= 15 else None


def seconds(node: YamlNode | None, *keys: str) -> float | None:
    """A duration in seconds. None: absent, or no duration."""
    match = _DURATION.fullmatch(text(node, *keys))
    return None if match is None else min(float(match[1]), MAX_SECONDS)


def flag(node: YamlNode | None, *keys: str) -> bool:
    """A field that is true or false; false without it."""
    return text(node, *keys) == "true"


def typed(node: YamlNode) -> tuple[str, YamlNode | None]:
    """An extension as a pair of its kind, as C{tcp_proxy}, and its configuration.

    The kind is the last part of the type's package, or of the name. A C{TypedStruct} counts as what it has inside.
    """
    config = node.get("typed_config") or node.get("config")
    kind = text(config, "@type")
    if kind.endswith("TypedStruct"):
        kind = text(config, "type_url")
        config = None if config is None else config.get("value")
    if kind.endswith(("UpstreamTlsContext", "DownstreamTlsContext")):
        return "tls", config
    package = kind.rpartition("/")[2].split(".")[:-1]
    while package and _VERSION.fullmatch(package[-1]):
        package.pop()
    return (package[-1] if package else text(node, "name").rpartition(".")[2]), config


def unused(node: YamlNode, known: frozenset[str], report: Notes, what: str) -> None:
    """Report the keys of a message that have no counterpart. @param known: keys that are read, or have no effect."""
    for key, value in node.items():
        if key not in known and value.value not in (None, [], {}):
            report.left_out(value.place, f"{key} of {what} has no counterpart")
