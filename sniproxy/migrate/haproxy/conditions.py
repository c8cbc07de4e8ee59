"""Reads ACLs and the conditions of rules: C{if}, C{unless}, C{!}, C{or}, C{\\{ ... \\}}. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from sniproxy.migrate.haproxy.acls import AclWords, Scene, literals
from sniproxy.migrate.haproxy.literals import (
    ALWAYS,
    NEVER,
    Condition,
    Literal,
    TooMany,
    Unknown,
    any_of,
    both,
    either,
    negation,
)
from sniproxy.migrate.haproxy.sections import Line, Section
from sniproxy.migrate.model import Place

_PREDEFINED: Mapping[str, Condition] = {
    "TRUE": ALWAYS,
    "FALSE": NEVER,
    "WAIT_END": ALWAYS,
    "REQ_CONTENT": ALWAYS,
    "HTTP": NEVER,
}
_LOCALHOST = ("src", "127.0.0.1/8")


@attrs.frozen
class Conditions:
    """The conditions of a section's rules. @ivar acls: the lines of each named ACL."""

    scene: Scene
    acls: Mapping[str, Sequence[Line]]

    def of(self, words: Sequence[str], place: Place) -> Condition:
        """The condition at the end of a rule: C{if ...} or C{unless ...}; without one it always holds."""
        if not words:
            return ALWAYS
        try:
            if words[0] not in ("if", "unless"):
                return _unknown(f"{words[0]} is not understood")
            found = self._either(words[1:], place)
            return found if words[0] == "if" else negation(found)
        except TooMany as error:
            return _unknown(str(error))

    def _either(self, words: Sequence[str], place: Place) -> Condition:
        alternatives: list[list[Condition]] = [[]]
        negated, at = False, 0
        while at < len(words):
            word = words[at]
            at += 1
            if word in ("or", "||"):
                alternatives.append([])
                continue
            while word.startswith("!"):
                negated, word = not negated, word[1:]
            if not word:
                continue
            if word == "{":
                end = _end(words, at)
                found = self._inline(words[at:end], place)
                at = end + 1
            else:
                found = self._named(word)
            alternatives[-1].append(negation(found) if negated else found)
            negated = False
        return either(both(terms) for terms in alternatives)

    def _inline(self, words: Sequence[str], place: Place) -> Condition:
        return any_of(literals(AclWords(tuple(words), place), self.scene))

    def _named(self, name: str) -> Condition:
        lines = self.acls.get(name)
        if lines is not None:
            found: list[Literal] = []
            for line in lines:
                found += literals(AclWords(line.words[2:], line.place), self.scene)
            return any_of(found)
        if name == "LOCALHOST":
            return self._inline(_LOCALHOST, Place(""))
        return _PREDEFINED[name] if name in _PREDEFINED else _unknown(f"there is no ACL {name}")


def _unknown(text: str) -> Condition:
    return any_of([Unknown(text)])


def _end(words: Sequence[str], at: int) -> int:
    """Where the closing brace of an inline condition is."""
    return words.index("}", at) if "}" in words[at:] else len(words)


def named_acls(section: Section) -> dict[str, list[Line]]:
    """The lines of each ACL of a section; several lines of one name are alternatives."""
    found: dict[str, list[Line]] = {}
    for line in section.find("acl"):
        if len(line.words) > 2:
            found.setdefault(line.words[1], []).append(line)
    return found


def split_condition(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """A rule without its condition, and the condition."""
    listed = list(words)
    at = next((index for index, word in enumerate(listed) if word in ("if", "unless")), len(listed))
    return listed[:at], listed[at:]
