"""Reads targets from JSON answers, in sniproxy's own format or in another one that the options describe. Pure."""

from __future__ import annotations

import json
import math
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

import attrs

from sniproxy.interfaces import Target
from sniproxy.routing.targets import DEFAULT_PORT, BadTarget, parse_target
from sniproxy.util.names import BadName, server_name
from sniproxy.util.text import bounded

MAX_TARGETS = 1000
"""Targets of one answer."""

KeyPath = tuple[str, ...]
"""Keys of nested objects. Lists on the way are flattened."""

Condition = tuple[KeyPath, str]
"""A path, and the text that one of its values must equal. Values other than texts are compared as JSON."""

MAX_TTL_S = 86400.0
"""Upper bound, in seconds, of an answer's ttl."""


class BadAnswer(Exception):
    """An answer cannot be used. The message says why; it is bounded and printable."""


@attrs.frozen
class FoundTargets:
    """The contents of an answer.

    @ivar targets: empty: the name is refused. @ivar ttl: seconds. None: the answer has none.
    @ivar reason: the answer's reason for a refusal. Empty: it has none.
    """

    targets: tuple[Target, ...] = ()
    ttl: float | None = None
    reason: str = ""


@attrs.frozen
class TargetPaths:
    """Where targets are in JSON of another format.

    @ivar items: the path of the items, one for each target. Empty: the answer itself, or each item of its list.
    @ivar hosts: paths of the host in an item; the first path with a value counts.
    @ivar port: the path of the port, or the port. None: the host's text has it, or it is 6651.
    @ivar weight: the path of the weight. None: the weight is 1. @ivar in_base64: whether the host is in base64.
    """

    hosts: tuple[KeyPath, ...]
    items: KeyPath = ()
    port: KeyPath | int | None = None
    weight: KeyPath | None = None
    in_base64: bool = False


def parse_path(text: str) -> KeyPath:
    """Parse keys with dots between them. @raise ValueError: a key is empty."""
    path = tuple(text.split("."))
    if "" in path:
        raise ValueError("write keys with dots between them, as in Service.Address")
    return path


def parse_json(body: bytes) -> Any:
    """Parse a body. @raise BadAnswer: it is not a JSON object or list."""
    try:
        document = json.loads(body, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise BadAnswer("answer is not JSON") from error
    if not isinstance(document, dict | list):
        raise BadAnswer("answer is not a JSON object or list")
    return document


def parse_native(document: Any) -> FoundTargets:
    """Read an answer in sniproxy's own format.

    It is C{{"targets": ["host:port", {"host":, "port":, "weight":}], "ttl":, "reason":}}.

    @raise BadAnswer: it has another format.
    """
    targets = document.get("targets") if isinstance(document, dict) else None
    if not isinstance(targets, list):
        raise BadAnswer('answer has no list "targets"')
    _check_number(targets)
    return FoundTargets(_unique(_native_target(one) for one in targets), _ttl(document), _reason(document))


def parse_refusal(body: bytes) -> FoundTargets:
    """Read the reason and ttl of a 404 answer. Both are empty if it has another format."""
    try:
        document = parse_json(body)
        return FoundTargets((), _ttl(document), _reason(document)) if isinstance(document, dict) else FoundTargets()
    except BadAnswer:
        return FoundTargets()


def extract_targets(document: Any, paths: TargetPaths, wanted: Iterable[Condition]) -> FoundTargets:
    """Read targets from JSON in another format. @param wanted: conditions that an item must meet.

    @raise BadAnswer: an item has an invalid host, port or weight, or no item has a host.
    """
    wanted = list(wanted)
    try:
        items = [item for item in _at(document, paths.items) if _counts(item, wanted)]
        _check_number(items)
        found = [_picked_target(item, paths) for item in items]
    except RecursionError:
        raise BadAnswer("answer is nested too deeply") from None
    targets = _unique(target for target in found if target is not None)
    if items and not targets:
        raise BadAnswer(f"no host at {' or '.join('.'.join(path) for path in paths.hosts)}")
    return FoundTargets(targets)


def _at(value: Any, path: KeyPath) -> Iterator[Any]:
    """The values at a path, except null."""
    if isinstance(value, list):
        for one in value:
            yield from _at(one, path)
    elif not path:
        if value is not None:
            yield value
    elif isinstance(value, dict) and path[0] in value:
        yield from _at(value[path[0]], path[1:])


def _counts(item: Any, wanted: Iterable[Condition]) -> bool:
    return all(any(_written(value) == text for value in _at(item, path)) for path, text in wanted)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _picked_target(item: Any, paths: TargetPaths) -> Target | None:
    """None: the item has no host."""
    texts = (value for path in paths.hosts for value in _at(item, path) if value != "")
    host = next(texts, None)
    if host is None:
        return None
    if paths.in_base64:
        host = _decoded(host)
    port = paths.port if isinstance(paths.port, int) else _number(item, paths.port)
    if port is None and paths.port is not None:
        raise BadAnswer(f"no port for host {_shown(host)}")
    weight = _number(item, paths.weight)
    return _target(host, port, 1 if weight is None else weight)


def _number(item: Any, path: KeyPath | None) -> Any:
    """The first value at a path, or None. A text of digits counts as a number."""
    found = None if path is None else next(_at(item, path), None)
    return int(found) if isinstance(found, str) and found.isascii() and found.isdigit() and len(found) < 10 else found


def _native_target(value: Any) -> Target:
    if isinstance(value, dict):
        return _target(value.get("host"), value.get("port", DEFAULT_PORT), value.get("weight", 1))
    return _target(value, None, 1)


def _target(host: Any, port: Any, weight: Any) -> Target:
    """Make a target. @param port: None: the host's text has it, or it is 6651."""
    if not isinstance(host, str):
        raise BadAnswer(f"target host is not a text: {_shown(host)}")
    for number in (port, weight):
        if isinstance(number, bool):
            raise BadAnswer(f"target port and weight must be numbers, not {_shown(number)}")
    try:
        if port is None:
            return attrs.evolve(parse_target(host), weight=weight)
        return Target(server_name(host), port, weight)
    except (BadTarget, BadName) as error:
        raise BadAnswer(f"invalid target {_shown(host)}: {bounded(str(error), 150)}") from error
    except (ValueError, TypeError) as error:
        cure = "a port is a number from 1 to 65535, a weight is 0 or more"
        raise BadAnswer(
            f"invalid target {_shown(host)}, port {_shown(port)}, weight {_shown(weight)}: {cure}"
        ) from error


def _decoded(host: Any) -> str:
    try:
        return b64decode(host, validate=True).decode().strip()
    except (ValueError, TypeError) as error:
        raise BadAnswer(f"host is not a text in base64: {_shown(host)}") from error


def _ttl(document: Mapping[str, Any]) -> float | None:
    ttl = document.get("ttl")
    if ttl is None:
        return None
    if isinstance(ttl, bool) or not isinstance(ttl, int | float) or not 0 <= ttl < math.inf:
        raise BadAnswer(f'"ttl" is not a number of seconds: {_shown(ttl)}')
    return float(min(ttl, MAX_TTL_S))


def _reason(document: Mapping[str, Any]) -> str:
    reason = document.get("reason")
    return bounded(reason.strip(), 200) if isinstance(reason, str) else ""


def _check_number(targets: Sequence[object]) -> None:
    if len(targets) > MAX_TARGETS:
        raise BadAnswer(f"answer has {len(targets)} targets, more than {MAX_TARGETS}")


def _unique(targets: Iterator[Target]) -> tuple[Target, ...]:
    return tuple(dict.fromkeys(targets))


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "an object" if isinstance(value, dict) else "a list"
    return bounded(json.dumps(value), 60)


def _no_constant(text: str) -> NoReturn:
    raise ValueError(text)
