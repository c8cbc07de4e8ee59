"""Compares a frame with the recorded one by its meaning, and translates a recorded frame for this run. Pure.

Ids and names that each run chooses anew are bound (`sniproxy.conversation.mapping`). Neither times nor what was struck
out are compared. An absent field equals its default.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from typing import Any

import attrs

from sniproxy.conversation.entry import number_of, payload_size, stand_in
from sniproxy.conversation.mapping import Domain, Mapping, domain_of
from sniproxy.conversation.schema import Field, Kind, Layout, command_layout, layout_of
from sniproxy.conversation.striking import is_struck, secrecy_of
from sniproxy.conversation.wire import Tree, bytes_of
from sniproxy.util.text import quoted

TIMES = frozenset(
    {
        "publish_time",
        "event_time",
        "broker_timestamp",
        "index",
        "uuid",
        "created_at_ms",
        "sealed_at_ms",
        "connectedSince",
        "address",
    }
)
"""Fields that are never compared: they are new in each run."""

STRICT = frozenset(
    {
        "client_version",
        "server_version",
        "protocol_version",
        "proxy_version",
        "feature_flags",
        "max_message_size",
        "message",
        "error_message",
        "topics_hash",
    }
)
"""Fields that are compared only on request: versions, and texts for people."""

MAX_SHOWN_CHARS = 120
_MISSING = "nothing"
_HIDDEN = "another value (not shown)"


@attrs.frozen
class FieldDifference:
    """A field that differs: its path in the frame, and both values as printable texts."""

    path: str
    expected: str
    came: str


@attrs.frozen
class Rules:
    """What is compared.

    @ivar strict: also versions, features and texts for people. @ivar ignore: names of fields, or ``COMMAND.name``,
        that are not compared.
    """

    strict: bool = False
    ignore: Collection[str] = ()

    def skips(self, command: str, name: str) -> bool:
        """Whether a field is not compared."""
        if name in TIMES or (name in STRICT and not self.strict):
            return True
        return name in self.ignore or f"{command}.{name}" in self.ignore


class Comparison:
    """Compares frames. @param mapping: learns the ids of this run from frames that are accepted."""

    def __init__(self, mapping: Mapping, rules: Rules) -> None:
        self._mapping = mapping
        self._rules = rules
        self._command = ""
        self._learn = False
        self._found: list[FieldDifference] = []

    def differences(self, recorded: Tree, came: Tree, *, learn: bool) -> list[FieldDifference]:
        """Compare two objects of frames with the same command.

        @param learn: bind the ids. False: only try, for one of several frames that may be meant.
        """
        self._command = recorded["command"]
        self._learn, self._found = learn, []
        layout = command_layout(number_of(self._command))
        self._message(layout, recorded.get("fields", {}), came.get("fields", {}), "", producer_of(recorded))
        if "section" in recorded or "section" in came:
            self._section(recorded.get("section"), came.get("section"))
        else:
            self._message(
                layout_of("MessageMetadata"),
                recorded.get("metadata", {}),
                came.get("metadata", {}),
                "metadata.",
                producer_of(recorded),
            )
            self._payload(recorded.get("payload"), came.get("payload"), recorded.get("metadata"))
        return self._found

    def _message(self, layout: Layout, recorded: Tree, came: Tree, path: str, producer: Any) -> None:
        for name in dict.fromkeys((*recorded, *came)):
            if self._rules.skips(self._command, name):
                continue
            field = layout.by_name.get(name)
            default = None if field is None else field.default
            expected, found = recorded.get(name, default), came.get(name, default)
            domain = domain_of(name, recorded, producer, self._command)
            if is_struck(expected) or is_struck(found):
                if (name in recorded) != (name in came):
                    self._differ(field, f"{path}{name}", expected, found)
            elif domain is not None and _both_plain(expected, found):
                bind = self._mapping.bind if self._learn else self._mapping.agrees
                if not bind(domain, expected, found):
                    self._differ(field, f"{path}{name}", self._mapping.value(domain, expected), found)
            else:
                self._value(field, layout, expected, found, f"{path}{name}", producer)

    def _value(self, field: Field | None, owner: Layout, expected: Any, found: Any, path: str, producer: Any) -> None:
        if isinstance(expected, list) or isinstance(found, list):
            ours, theirs = _sorted(_listed(expected)), _sorted(_listed(found))
            if len(ours) != len(theirs):
                self._found.append(FieldDifference(path, f"{len(ours)} values", f"{len(theirs)} values"))
                return
            for at, (one, other) in enumerate(zip(ours, theirs, strict=True)):
                self._value(field, owner, one, other, f"{path}[{at}]", producer)
        elif field is not None and field.kind is Kind.MESSAGE and _objects(expected, found):
            self._message(layout_of(field.type_name), expected, found, f"{path}.", producer)
        elif expected != found and not (is_struck(expected) or is_struck(found)):
            self._differ(field, path, expected, found, hidden=owner.name == "KeyValue" and path.endswith(".value"))

    def _section(self, expected: Any, found: Any) -> None:
        if expected != found and not is_struck(expected):
            self._found.append(FieldDifference("section", _size_text(expected), _size_text(found)))

    def _payload(self, expected: Any, found: Any, metadata: Any) -> None:
        if self._rules.skips(self._command, "payload") or expected == found:
            return
        size, data = payload_size(expected), bytes_of(found)
        if data is None:
            data = b"" if payload_size(found) is None else bytes(payload_size(found) or 0)
        if size is None:
            kept = bytes_of(expected)
            if kept != data:
                self._found.append(FieldDifference("payload", _size_text(expected), _size_text(found)))
        elif size != len(data):
            self._found.append(FieldDifference("payload", f"{size} bytes", f"{len(data)} bytes"))
        elif data != stand_in(size, metadata) and expected.get("sha256") not in (None, _digest(data)):
            # A broker returns what was sent to it in place of a payload that was struck out.
            self._found.append(FieldDifference("payload", f"{size} bytes as recorded", f"other {size} bytes"))

    def _differ(self, field: Field | None, path: str, expected: Any, found: Any, hidden: bool = False) -> None:
        self._found.append(
            FieldDifference(path, _shown(field, expected, hidden), _shown(field, found, hidden, came=True))
        )


def translate(recorded: Tree, mapping: Mapping, broker_url: Callable[[str], str] | None = None) -> Tree:
    """A recorded object with the ids and names of this run.

    @param broker_url: maps the URL of a broker to that of another address, to which a client comes. None: keeps all.
    """
    command = recorded["command"]
    result = dict(recorded)
    for name, layout in (("fields", command_layout(number_of(command))), ("metadata", layout_of("MessageMetadata"))):
        if name in recorded:
            translation = _Translation(mapping, producer_of(recorded), command, broker_url)
            result[name] = translation.message(layout, recorded[name])
    if result != recorded:
        result.pop("exact", None)
        if "checksum" in result:
            result["checksum"] = "correct"
    return result


def producer_of(entry: Tree) -> Any:
    """The recorded id of the producer of a command, or the name of the producer of a message."""
    number = entry.get("fields", {}).get("producer_id")
    return entry.get("metadata", {}).get("producer_name") if number is None else number


@attrs.frozen
class _Translation:
    mapping: Mapping
    producer: Any
    command: str
    broker_url: Callable[[str], str] | None

    def message(self, layout: Layout, tree: Tree) -> Tree:
        result: Tree = {}
        for name, values in tree.items():
            field = layout.by_name.get(name)
            domain = domain_of(name, tree, self.producer, self.command)
            done = [self._value(field, domain, each) for each in (values if isinstance(values, list) else [values])]
            result[name] = done if isinstance(values, list) else done[0]
        return result

    def _value(self, field: Field | None, domain: Domain | None, value: Any) -> Any:
        if domain is not None and self.broker_url is not None and domain[0] == "broker" and isinstance(value, str):
            return self.broker_url(value)
        if domain is not None and not is_struck(value):
            return self.mapping.value(domain, value)
        if field is not None and field.kind is Kind.MESSAGE and isinstance(value, dict):
            return self.message(layout_of(field.type_name), value)
        return value


def _objects(*values: Any) -> bool:
    return all(isinstance(value, dict) for value in values)


def _both_plain(*values: Any) -> bool:
    return all(not isinstance(value, list) and value is not None for value in values)


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _sorted(values: list[Any]) -> list[Any]:
    """Properties by their names: a map has no order."""
    if values and all(isinstance(each, dict) and isinstance(each.get("key"), str) for each in values):
        return sorted(values, key=lambda each: str(each["key"]))
    return values


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _size_text(value: Any) -> str:
    data, size = bytes_of(value), payload_size(value)
    if value is None:
        return _MISSING
    return f"{len(data) if data is not None else size or 0} bytes"


def _shown(field: Field | None, value: Any, hidden: bool, came: bool = False) -> str:
    """A value as a printable text; never one that may be secret."""
    if value is None:
        return _MISSING
    if hidden or secrecy_of(field, value) is not None:
        return _HIDDEN if came else "the recorded value (not shown)"
    if isinstance(value, dict):
        data = bytes_of(value)
        return "a message" if data is None else f"{len(data)} bytes"
    return quoted(value, MAX_SHOWN_CHARS) if isinstance(value, str) else str(value)
