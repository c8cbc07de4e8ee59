"""Perl-compatible expressions that are searched in a name, as patterns that match the whole name. Pure.

nginx and dlundquist/sniproxy search an expression anywhere in the name as the client sent it. Ours match the whole
name, in lower case, by Python's C{re}.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence

import attrs

from sniproxy.util.names import BadName, ip_literal, server_name

_CLASSES = {
    "alnum": "a-zA-Z0-9", "alpha": "a-zA-Z", "blank": r" \t", "digit": "0-9", "lower": "a-z", "punct": "!-/:-@\\[-`{-~",
    "space": r"\s", "upper": "A-Z", "word": r"\w", "xdigit": "0-9a-fA-F",
}  # fmt: skip
_SAME_ESCAPES = "dDwWsSbBAtnrfa"
_QUANTIFIER = re.compile(r"\{\d+(?:,\d*)?\}")
_GROUP = re.compile(r"\(\?(?:P?<([A-Za-z_]\w*)>|'([A-Za-z_]\w*)')")
_PLAIN_GROUP = re.compile(r"\(\?(?::|=|!|<=|<!|>|-?i:)")
_HEX = re.compile(r"\\x(?:([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,2})\})")
_FLAGS = re.compile(r"\(\?([ims]+)\)")
_LITERAL = re.compile(r"(?:[A-Za-z0-9_-]|\\[.-])+")
_BELOW = re.compile(r"\.[*+]\\\.((?:[A-Za-z0-9_-]|\\[.-])+)")
_ANY_RUN = re.compile(r"\.[*+]|\((?:\?:)?\.[*+]\)")
_BEGINS = (["^"], [r"\A"])
_ENDS = (["$"], [r"\Z"])
_REPEATS = (["*"], ["+"], ["?"])
_OPTIONS = (["*"], ["?"])


class BadExpression(ValueError):
    """An expression has no equal here. The message says why."""


@attrs.frozen
class Searched:
    """The pattern of an expression.

    @ivar pattern: a name, C{*.} and a name, or C{~} and an expression that matches the whole name. Empty: the
        expression matches only names with upper case, which ours never have.
    @ivar groups: the number of its groups. @ivar names: the numbers of the named ones.
    @ivar expression: matches the whole of any text in which the original is found; empty if the pattern is.
    """

    pattern: str
    groups: int = 0
    names: Mapping[str, int] = attrs.field(factory=dict)
    expression: str = ""


def searched(text: str, *, ignore_case: bool = False, captures: bool = True) -> Searched:
    """The pattern of the names in which an expression is found.

    @param captures: whether what its groups match is needed. Without them it becomes simpler.
    @raise BadExpression: it is invalid, or has something that Python's C{re} lacks.
    """
    flags = _FLAGS.match(text)
    if flags is not None:
        text, ignore_case = text[flags.end() :], ignore_case or "i" in flags[1]
    scanner = _Scanner(text, captures)
    tokens = list(scanner.tokens())
    if scanner.depth:
        raise BadExpression("a parenthesis is not closed")
    _compiled("".join(tokens))
    expression = _anchored(tokens, scanner.groups)
    if not scanner.groups:
        simple = _simple(expression, ignore_case)
        if simple is not None:
            return Searched(simple, expression=expression)
    if scanner.upper and not ignore_case:
        expression = f"(?-i:{expression})"
    return Searched(f"~{expression}", _compiled(expression).groups, scanner.names, expression)


def _compiled(text: str) -> re.Pattern[str]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return re.compile(text, re.ASCII | re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        raise BadExpression(f"invalid expression: {error}") from error


def top_level(text: str) -> list[str]:
    """The parts of an expression outside of its groups, in Python's syntax. @raise BadExpression: as L{searched}."""
    return list(_Scanner(text, captures=True).tokens())


def with_group(expression: str, number: int, text: str) -> str | None:
    """An expression of L{searched} in which a group has one text only. None: the group repeats, or is not there."""
    at, groups, opened = 0, 0, []
    while at < len(expression):
        char = expression[at]
        if char == "\\":
            at += 1
        elif char == "[":
            at = _class_end(expression, at)
        elif char == "(":
            captures = expression[at + 1 : at + 2] != "?"
            groups += captures
            opened.append((at, groups if captures else 0))
        elif char == ")":
            begin, found = opened.pop()
            if found == number:
                outside = all(not one for _, one in opened)
                repeats = expression[at + 1 : at + 2] in ("*", "+", "?", "{")
                inner = re.compile(expression[begin + 1 : at], re.ASCII | re.IGNORECASE)
                if repeats or not outside or inner.fullmatch(text) is None:
                    return None
                return f"{expression[:begin]}({re.escape(text)}){expression[at + 1 :]}"
        at += 1
    return None


def _class_end(expression: str, at: int) -> int:
    """The position of the bracket that closes a class of a translated expression, where others are escaped."""
    at += 1
    while expression[at] != "]":
        at += 2 if expression[at] == "\\" else 1
    return at


def _simple(expression: str, ignore_case: bool) -> str | None:
    """An expression that is a name or a wildcard; None: it is neither."""
    below = _BELOW.fullmatch(expression)
    literal = below[1] if below is not None else expression
    if below is None and not _LITERAL.fullmatch(expression):
        return None
    name = literal.replace("\\", "")
    if name.endswith("."):
        return None
    if name != name.lower() and not ignore_case:
        return ""
    try:
        normal = server_name(name)
    except BadName:
        return None
    if below is None:
        return normal
    return None if ip_literal(normal) is not None else f"*.{normal}"


class _Scanner:
    """Splits an expression. @ivar upper: it has letters in upper case. @ivar depth: of open groups, at the end."""

    def __init__(self, text: str, captures: bool) -> None:
        self._text = text
        self._captures = captures
        self.names: dict[str, int] = {}
        self.groups = 0
        self.upper = False
        self.depth = 0

    def tokens(self) -> Iterator[str]:
        """The parts, in Python's syntax. Only C{|} outside of groups is a part C{|}."""
        at, text = 0, self._text
        whole = ""
        while at < len(text):
            token, at = self._next(at)
            whole += token
            if not self.depth:
                yield whole
                whole = ""
        if whole:
            yield whole

    def _next(self, at: int) -> tuple[str, int]:
        char = self._text[at]
        if char == "\\":
            return self._escape(at, in_class=False)
        if char == "[":
            return self._class(at)
        if char == "(":
            return self._open(at)
        if char == ")":
            if not self.depth:
                raise BadExpression("a parenthesis is closed that is not open")
            self.depth -= 1
        if char == "{":
            found = _QUANTIFIER.match(self._text, at)
            return (found[0], found.end()) if found is not None else (r"\{", at + 1)
        self._see(char)
        return char, at + 1

    def _see(self, char: str) -> None:
        self.upper = self.upper or (char.isupper() and char.isascii())

    def _escape(self, at: int, in_class: bool) -> tuple[str, int]:
        char = self._text[at + 1 : at + 2]
        if not char:
            raise BadExpression("it ends with a backslash")
        code = _HEX.match(self._text, at)
        if code is not None:
            self._see(chr(int(code[1] or code[2], 16)))
            return rf"\x{(code[1] or code[2]).rjust(2, '0')}", code.end()
        if char == "Q" and not in_class:
            end = self._text.find("\\E", at)
            literal = self._text[at + 2 : end if end >= 0 else None]
            for one in literal:
                self._see(one)
            return re.escape(literal), len(self._text) if end < 0 else end + 2
        if char == "h":
            return (r" \t" if in_class else r"[ \t]"), at + 2
        if char in "zZ" and not in_class:
            return r"\Z", at + 2
        if char in _SAME_ESCAPES or not (char.isascii() and char.isalnum()):
            return f"\\{char}", at + 2
        raise BadExpression(f"\\{char} has no equal here")

    def _class(self, at: int) -> tuple[str, int]:
        text, made = self._text, "["
        at += 1
        if text[at : at + 1] == "^":
            made, at = "[^", at + 1
        first = True
        while True:
            char = text[at : at + 1]
            if not char:
                raise BadExpression("a character class is not closed")
            if char == "]" and not first:
                return f"{made}]", at + 1
            first = False
            if char == "\\":
                token, at = self._escape(at, in_class=True)
                made += token
            elif text.startswith("[:", at) and ":]" in text[at + 2 :]:
                name = text[at + 2 : text.index(":]", at + 2)]
                if name not in _CLASSES:
                    raise BadExpression(f"[:{name[:20]}:] has no equal here")
                self.upper = self.upper or name == "upper"
                made, at = made + _CLASSES[name], at + len(name) + 4
            else:
                self._see(char)
                made += f"\\{char}" if char in "[]&|~" else char
                at += 1

    def _open(self, at: int) -> tuple[str, int]:
        text = self._text
        if text.startswith("(?#", at):
            end = text.find(")", at)
            if end < 0:
                raise BadExpression("a comment is not closed")
            return "", end + 1
        self.depth += 1
        named = _GROUP.match(text, at)
        if not self._captures and (named is not None or not text.startswith(("(?", "(*"), at)):
            return "(?:", at + 1 if named is None else named.end()
        if named is not None:
            self.groups += 1
            self.names[named[1] or named[2]] = self.groups
            return "(", named.end()
        plain = _PLAIN_GROUP.match(text, at)
        if plain is not None:
            return plain[0], plain.end()
        if text.startswith(("(?", "(*"), at):
            raise BadExpression(f"{text[at : at + 4]} has no equal here")
        self.groups += 1
        return "(", at + 1


def _anchored(tokens: Sequence[str], groups: int) -> str:
    """The expression for whole names."""
    found = _completed(tokens, groups, ".*", "")
    if "(" not in found and found.count("*") + found.count("+") < 3:
        return found
    # Imported here: most configurations have no such expression, and are read faster.
    from sniproxy.routing.backtracking import why_unbounded

    with contextlib.suppress(re.error, OverflowError, RecursionError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if why_unbounded(found):
            # What follows the match is not read again for each of its choices.
            ahead = "(?=" + _completed(tokens, groups, "", r"\Z") + ").*"
            return found if why_unbounded(ahead) else ahead
    return found


def _completed(tokens: Sequence[str], groups: int, tail: str, end: str) -> str:
    """The expression with what may come before and behind it.

    @param tail: behind what is not anchored at the end of the name. @param end: behind what is.
    """
    alternatives = _split(tokens)
    if groups and len(alternatives) > 1:
        # The leftmost match decides what the groups have, so the alternatives are not completed one by one.
        return f".*?(?:{''.join(tokens)}){tail}"
    return "|".join(_whole(one, groups, tail, end) for one in alternatives)


def _split(tokens: Sequence[str]) -> list[list[str]]:
    found: list[list[str]] = [[]]
    for token in tokens:
        if token == "|":
            found.append([])
        else:
            found[-1].append(token)
    return found


def _whole(tokens: Sequence[str], groups: int, tail: str, end: str) -> str:
    """One alternative, completed at both ends unless it is anchored there."""
    rest = list(tokens)
    begins, ends = rest[:1] in _BEGINS, rest[-1:] in _ENDS
    while rest[:1] in _BEGINS:
        rest.pop(0)
    while rest[-1:] in _ENDS:
        rest.pop()
    if not groups:
        _drop_options(rest, begins, ends)
    if not rest:
        return end if begins and ends else ".*"
    # What begins with a run of any characters is found at the start of the name, if at all.
    begins = begins or _is_run(rest[:2]) or (_is_run(rest[:1]) and rest[1:2] not in _REPEATS)
    runs = _is_run(rest[-2:]) or _is_run(rest[-1:])
    return f"{'' if begins else '.*?' if groups else '.*'}{''.join(rest)}{end if ends else '' if runs else tail}"


def _drop_options(rest: list[str], begins: bool, ends: bool) -> None:
    """Drop what may be there or not at an end that is not anchored."""
    while not begins and rest[1:2] in _OPTIONS and rest[2:3] not in _REPEATS and rest[0] != ".":
        del rest[:2]
    while not ends and rest[-1:] in _OPTIONS and rest[-2:-1] not in (*_REPEATS, ["."], []):
        del rest[-2:]


def _is_run(tokens: Sequence[str]) -> bool:
    return _ANY_RUN.fullmatch("".join(tokens)) is not None
