"""Strikes credentials, payloads and private fields out of a tree of fields (`sniproxy.conversation.wire`). Pure.

It follows `sniproxy.inspector`: principals and properties are shown on request only, credentials on another, and a
field that this release does not know counts as a credential.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any

from sniproxy.conversation.schema import Field, Kind, Layout, Secrecy, layout_of
from sniproxy.conversation.wire import Tree, bytes_of, struck_size

_SECRET_NAME = re.compile(
    r"pass(word|wd|phrase)|\bpwd\b|secret|token|credential|auth|bearer|cookie|private|api[-_.]?key|access[-_.]?key|"
    r"jwt|\bsas\b|signature",
    re.IGNORECASE,
)
_SECRET_TEXT = re.compile(
    r"\beyJ[\w-]{8,}\.[\w-]+\.|-----BEGIN|\b(bearer|basic)\s+\S|://[^/@\s:]*:[^/@\s]+@|"
    r"(password|passwd|secret|token)\"?\s*[=:]",
    re.IGNORECASE,
)
_OF_CONTENT = frozenset({"MessageMetadata", "SingleMessageMetadata", "Schema"})


def looks_secret(text: str) -> bool:
    """Whether a text looks like a credential: a JSON Web Token, a key in PEM, a password in a URL."""
    return _SECRET_TEXT.search(text) is not None


def secrecy_of_property(owner: str, key: Any, value: Any) -> Secrecy:
    """What a property may hold. C{owner}: the name of the message that has the property."""
    if not isinstance(key, str) or not isinstance(value, str) or _SECRET_NAME.search(key) or looks_secret(value):
        return Secrecy.CREDENTIAL
    return Secrecy.CONTENT if owner in _OF_CONTENT else Secrecy.PRIVATE


def secrecy_of(field: Field | None, value: Any) -> Secrecy | None:
    """What the value of a field may hold, apart from properties. None: nothing secret. C{field}: None: unknown."""
    if field is None:
        return Secrecy.CREDENTIAL if bytes_of(value) is not None else None
    if isinstance(value, str) and field.kind is Kind.STRING and looks_secret(value):
        return Secrecy.CREDENTIAL
    return field.secrecy


def strike(layout: Layout, tree: Tree, keep: Collection[Secrecy]) -> tuple[Tree, bool]:
    """Strike out what is not kept. @return: a new tree, and whether anything was struck out."""
    return _strike(layout, tree, keep, "")


def _strike(layout: Layout, tree: Tree, keep: Collection[Secrecy], owner: str) -> tuple[Tree, bool]:
    result: Tree = {}
    struck = False
    for key, values in tree.items():
        field = layout.by_name.get(key)
        done: list[Any] = []
        for value in values if isinstance(values, list) else [values]:
            if field is not None and field.kind is Kind.MESSAGE and isinstance(value, dict):
                new, changed = _strike(layout_of(field.type_name), value, keep, layout.name)
            else:
                secrecy = secrecy_of(field, value)
                if layout.name == "KeyValue" and key == "value":
                    secrecy = secrecy_of_property(owner, tree.get("key"), value)
                changed = secrecy is not None and secrecy not in keep and _is_sized(value)
                new = {"struck": _size(value)} if changed else value
            done.append(new)
            struck |= changed
        result[key] = done if isinstance(values, list) else done[0]
    return result, struck


def _is_sized(value: Any) -> bool:
    return isinstance(value, str) or bytes_of(value) is not None


def _size(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    return len(bytes_of(value) or b"")


def is_struck(value: Any) -> bool:
    """Whether a value was struck out."""
    return struck_size(value) is not None
