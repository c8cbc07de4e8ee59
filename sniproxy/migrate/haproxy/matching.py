"""What a pattern of an ACL or a map matches: C{-m str|beg|end|reg|sub|dom|dir|len} as our patterns. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable

import attrs

from sniproxy.migrate.haproxy.regexes import BadExpression, whole_name_patterns
from sniproxy.migrate.model import ANY, Notes, Place
from sniproxy.routing.patterns import route_pattern
from sniproxy.util.names import BadName, server_name

EVERY_NAME = r"^(?:[a-z0-9_-]{1,63}\.)*[a-z0-9_-]{1,63}\.?$"
"""The expression of all server names that this proxy takes. Our own exports have it, to refuse other names."""

ADDRESSES = r"^(?:(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])(?:\.|$)){4}$"
"""The expression of IPv4 addresses, in our own exports. Here an address never matches an expression."""

METHODS = ("str", "beg", "end", "reg", "sub", "dom", "dir", "len")
"""The match methods on texts; C{found} needs no pattern."""

_LENGTH = re.compile(r"\d{1,3}|\d{1,3}:\d{1,3}")

_CHARACTERS = re.compile(r"[A-Za-z0-9_.-]*")
_WHOLE = ("str", "dir", "dom", "len")
"""The methods that check their texts themselves."""


@attrs.frozen
class Subject:
    """The server name as a condition sees it.

    @ivar case: C{lower} or C{upper}, by a converter. None: as the client sent it. @ivar ignores_case: C{-i}.
    @ivar first_label: only the text before the first dot.
    """

    case: str | None = None
    ignores_case: bool = False
    first_label: bool = False

    @property
    def is_sensitive(self) -> bool:
        """Whether a name in another case does not match."""
        return not self.ignores_case and self.case is None


def name_patterns(subject: Subject, method: str, text: str, place: Place, report: Notes) -> list[str]:
    """Our patterns of the names that a pattern of HAProxy's matches; empty: there are none, and the report says why."""
    if method == "reg":
        return _expressions(subject, text, place, report)
    if not subject.ignores_case and subject.case is not None and text != getattr(text, subject.case)():
        report.different(place, f"no route: {text} matches no name after the converter {subject.case}")
        return []
    if subject.is_sensitive and text != text.lower():
        report.different(place, f"{text} matches in any case here; HAProxy needs these capitals, or the flag -i")
    try:
        if method not in _WHOLE and not _CHARACTERS.fullmatch(text):
            raise BadName("a name has letters, digits, -, _ and dots; a star is one of its characters to HAProxy")
        found = _FORMS[method](text.lower())
    except BadName as error:
        report.different(place, f"no route: {text} matches no server name: {error}")
        return []
    if subject.first_label:
        found = [_of_label(pattern) for pattern in found]
    try:
        return [pattern if pattern == ANY else route_pattern(pattern) for pattern in found]
    except BadName as error:
        report.left_out(place, f"-m {method} {text}: {error}", decides=True)
        return []


def _expressions(subject: Subject, text: str, place: Place, report: Notes) -> list[str]:
    if subject.first_label:
        report.left_out(place, "an expression on a part of the name has no counterpart", decides=True)
        return []
    if text in (EVERY_NAME, ADDRESSES):
        return [ANY] if text == EVERY_NAME else []
    try:
        return [route_pattern(pattern) for pattern in whole_name_patterns(text)]
    except (BadExpression, BadName) as error:
        report.left_out(place, f"{text}: {error}", decides=True)
        return []


def _of_label(pattern: str) -> str:
    """A pattern of the first label as one of names."""
    if pattern == ANY:
        return ANY
    inner = pattern[1:] if pattern.startswith("~") else _literal(pattern)
    return f"~{inner.replace('.*', '[^.]*')}(?:\\..*)?"


def _literal(text: str) -> str:
    return re.escape(text).replace(r"\-", "-")


def _exact(text: str) -> list[str]:
    """@raise BadName: no name can match; a star is a character like others to HAProxy."""
    if text.endswith("."):
        raise BadName("a trailing dot is removed from names here")
    return [server_name(text)]


def _end(text: str) -> list[str]:
    if not text:
        return [ANY]
    if text.startswith(".") and not text.endswith(".") and "*" not in text:
        return [f"*{text}"]
    return [f"~.*{_literal(text)}"]


def _beg(text: str) -> list[str]:
    return [f"~{_literal(text)}.*"] if text else [ANY]


def _sub(text: str) -> list[str]:
    return [f"~.*{_literal(text)}.*"] if text else [ANY]


def _dom(text: str) -> list[str]:
    """Whole labels anywhere in the name. HAProxy ignores dots around the pattern."""
    text = text.strip("./?:")
    if not text:
        return []
    literal = _literal(text)
    # Two expressions: a single one with an optional beginning could backtrack too much.
    return [*_exact(text), *_end(f".{text}"), rf"~{literal}\..+", rf"~.+\.{literal}\..+"]


def _len(text: str) -> list[str]:
    """@raise BadName: the text is no length."""
    if not _LENGTH.fullmatch(text):
        raise BadName("write a length, or a range as 3:5")
    return [f"~.{{{text.replace(':', ',')}}}"]


_FORMS: dict[str, Callable[[str], list[str]]] = {
    "str": _exact,
    "dir": _exact,
    "beg": _beg,
    "end": _end,
    "sub": _sub,
    "dom": _dom,
    "len": _len,
}
