"""YAML with the line of each value, by PyYAML. Pure.

Only data is read: tags that name Python objects are errors. An alias may not make a document grow without bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import yaml

from sniproxy.migrate.model import MigrateError, Place, SourceFile

MAX_NODES = 1_000_000
"""Maximum of values in a file, aliases counted each time."""

_MERGE = "tag:yaml.org,2002:merge"

MAX_DEPTH = 100
"""Maximum nesting of a document."""


@attrs.frozen
class YamlNode:
    """A value with its place.

    @ivar value: a scalar (str, int, float, bool, None), a list of L{YamlNode}, or a dictionary of these by text.
    """

    value: Any
    place: Place

    def get(self, key: str) -> YamlNode | None:
        """The value of a key; None: absent, null, or this is no mapping."""
        found = self.value.get(key) if isinstance(self.value, dict) else None
        return None if found is None or found.value is None else found

    def at(self, *keys: str) -> YamlNode | None:
        """As L{get}, through several mappings."""
        found: YamlNode | None = self
        for key in keys:
            found = None if found is None else found.get(key)
        return found

    def items(self) -> Iterator[tuple[str, YamlNode]]:
        """The keys and values of a mapping; nothing for other values."""
        if isinstance(self.value, dict):
            yield from self.value.items()

    def list(self) -> Sequence[YamlNode]:
        """The items of a list; a single value is a list of one."""
        return self.value if isinstance(self.value, list) else [self]

    def text(self) -> str:
        """A scalar as text; empty for null, a list and a mapping. Booleans are ``true`` and ``false``."""
        if isinstance(self.value, bool):
            return str(self.value).lower()
        return "" if self.value is None or isinstance(self.value, list | dict) else str(self.value)

    def plain(self) -> Any:
        """The value without places."""
        if isinstance(self.value, dict):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, list):
            return [node.plain() for node in self.value]
        return self.value


def documents(file: SourceFile) -> list[YamlNode]:
    """All documents of a file; JSON is YAML. Empty ones are left out.

    @raise MigrateError: the file is no YAML, or is too large or too deep.
    """
    builder = _Builder(file.name)
    # JSON may be indented with tabs, which YAML forbids; a JSON string contains none.
    text = file.text.replace("\t", " ") if file.text.lstrip()[:1] in ("{", "[") else file.text
    try:
        loader = yaml.SafeLoader(text)
        found = []
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                found.append(builder.build(node, loader, "", 0))
        return [one for one in found if one.value is not None]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise MigrateError(f"{file.name}{line}: not YAML: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        raise MigrateError(f"{file.name}: not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise MigrateError(f"{file.name}: nested too deeply") from error


class _Builder:
    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes = 0

    def build(self, node: yaml.Node, loader: yaml.SafeLoader, key: str, depth: int) -> YamlNode:
        place = Place(self._name, node.start_mark.line + 1, key)
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise MigrateError(f"{place}: too large, or nested more than {MAX_DEPTH} levels")
        if isinstance(node, yaml.MappingNode):
            return YamlNode(self._mapping(node, loader, key, depth), place)
        if isinstance(node, yaml.SequenceNode):
            items = [self.build(one, loader, f"{key}[{at}]", depth + 1) for at, one in enumerate(node.value)]
            return YamlNode(items, place)
        value = loader.construct_object(node)
        return YamlNode(value if isinstance(value, str | int | float | bool | None) else str(node.value), place)

    def _mapping(self, node: yaml.MappingNode, loader: yaml.SafeLoader, key: str, depth: int) -> dict[str, YamlNode]:
        """In the order of the file. A repeated key is an error, as in most readers of these files; a merge key (``<<``)
        adds the keys that are not there."""
        found: dict[str, YamlNode] = {}
        merged: list[YamlNode] = []
        for at, value in node.value:
            name = str(at.value) if isinstance(at, yaml.ScalarNode) else ""
            if at.tag == _MERGE:
                merged += self.build(value, loader, key, depth + 1).list()
                continue
            if not name or name in found:
                why = f"the key {name} is repeated" if name else "a key is no text"
                raise MigrateError(f"{self._name}:{at.start_mark.line + 1}: {why}")
            found[name] = self.build(value, loader, f"{key}.{name}" if key else name, depth + 1)
        for one in merged:
            found = {**dict(one.items()), **found}
        return found
