"""The older ``ssl_server_name.config`` with its Lua table ``server_config``, as PIP-60 shows it. Pure.

Traffic Server 7 and 8 read it; the documentation's own samples have no commas between fields, and C{#} comments, which
Lua has not. Both are accepted. Only data is read: strings, numbers, booleans and tables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from sniproxy.migrate.model import MigrateError, Place, SourceFile
from sniproxy.migrate.yamlnodes import MAX_DEPTH, YamlNode

_TOKEN = re.compile(
    r"""
    (?P<space>\s+ | --\[\[.*?(?:\]\]|\Z) | --[^\n]* | \#[^\n]*)
  | (?P<string>"(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*' | \[\[.*?\]\])
  | (?P<word>[A-Za-z_][A-Za-z0-9_.]*)
  | (?P<number>-?[0-9]+(?:\.[0-9]+)?)
  | (?P<mark>[{}=,;\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\n": "\n"}


class _Token(NamedTuple):
    kind: str
    text: str
    line: int


def read_server_config(file: SourceFile) -> YamlNode:
    """The list of ``server_config``, as if it were of C{sni.yaml}.

    @raise MigrateError: the file has no such table, or it is malformed.
    """
    tokens = list(_tokens(file))
    for at, token in enumerate(tokens):
        if token.text == "server_config" and tokens[at + 1 : at + 2] and tokens[at + 1].text == "=":
            parser = _Parser(file.name, tokens, at + 2)
            found = parser.value("server_config", 0)
            if not isinstance(found.value, list):
                # A single entry, without the list around it.
                return YamlNode([found] if found.value else [], found.place)
            return found
    raise MigrateError(f"{file.name}: no table server_config = {{ ... }}")


def _tokens(file: SourceFile) -> Iterator[_Token]:
    at, line = 0, 1
    while at < len(file.text):
        match = _TOKEN.match(file.text, at)
        if match is None:
            raise MigrateError(f"{file.name}:{line}: unexpected {file.text[at]!r}")
        if match.lastgroup != "space":
            yield _Token(match.lastgroup or "", match[0], line)
        line += match[0].count("\n")
        at = match.end()


class _Parser:
    def __init__(self, name: str, tokens: list[_Token], at: int) -> None:
        self._name, self._tokens, self._at = name, tokens, at

    def value(self, key: str, depth: int) -> YamlNode:
        token = self._next(f"a value of {key}")
        place = Place(self._name, token.line, key)
        if depth > MAX_DEPTH:
            raise MigrateError(f"{place}: nested more than {MAX_DEPTH} levels")
        if token.text == "{" and token.kind == "mark":
            return self._table(place, depth)
        if token.kind == "string":
            return YamlNode(_unquoted(token.text), place)
        if token.kind == "number":
            return YamlNode(token.text, place)
        if token.kind == "word":
            return YamlNode({"true": True, "false": False, "nil": None}.get(token.text, token.text), place)
        raise MigrateError(f"{self._name}:{token.line}: {token.text!r} is no value of {key}")

    def _table(self, place: Place, depth: int) -> YamlNode:
        """A table: a list, or a mapping. Fields without a key in a mapping are ignored, as Traffic Server does."""
        items: list[YamlNode] = []
        fields: dict[str, YamlNode] = {}
        while not self._takes("}"):
            key = self._key()
            if key is None:
                items.append(self.value(place.key, depth + 1))
            else:
                fields[key] = self.value(key, depth + 1)
            while self._takes(",") or self._takes(";"):
                pass
        return YamlNode(fields or items, place)

    def _key(self) -> str | None:
        """The key of a field, with its equals sign; None: the field has none."""
        ahead = [token.text for token in self._tokens[self._at : self._at + 4]]
        if ahead[1:2] == ["="] and self._tokens[self._at].kind == "word":
            self._at += 2
            return ahead[0]
        if ahead[:1] == ["["] and ahead[2:] == ["]", "="]:
            self._at += 4
            return _unquoted(ahead[1])
        return None

    def _takes(self, mark: str) -> bool:
        if self._at < len(self._tokens) and self._tokens[self._at][:2] == ("mark", mark):
            self._at += 1
            return True
        return False

    def _next(self, wanted: str) -> _Token:
        if self._at >= len(self._tokens):
            line = self._tokens[-1].line
            raise MigrateError(f"{self._name}:{line}: the file ends within a table; {wanted} is missing")
        self._at += 1
        return self._tokens[self._at - 1]


def _unquoted(text: str) -> str:
    if text.startswith("[["):
        return text[2:-2].removeprefix("\n")
    if text[:1] not in ("'", '"'):
        return text
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match[1], match[1]), text[1:-1], flags=re.DOTALL)
