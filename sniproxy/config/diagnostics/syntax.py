"""Reports TOML syntax errors, and tables in the wrong brackets, with their lines and cures. Pure.

A line with a known kind of error is replaced by the probably intended text, so that the rest of the file can be read.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

import attrs
import tomli

from sniproxy.config.diagnostics.units import flag, number, unit_of
from sniproxy.config.tables import LISTED_TABLES, MAX_ERRORS
from sniproxy.util.text import bounded

_HEADER = re.compile(r"\s*(\[{1,2})\s*([^\[\]#]+?)\s*(\]{0,2})\s*(?:#.*)?")
_PAIR = re.compile(r"^\s*([A-Za-z0-9_.-]+)\s*(=|:(?=[\s\"']))\s*(.*?)\s*")
_ITEM = re.compile(r"\s*([^\s\"'=\[\]{},#]+)\s*,?\s*(?:#.*)?")
_COMMENT = re.compile(r"\s+#[^\"']*$")
_AT = re.compile(r"at line (\d+)")


@attrs.frozen
class Syntax:
    """The result of reading a text.

    @ivar faults: pairs of a line and a message. @ivar data: TOML's tables. None: the text could not be parsed.
    @ivar text: the text after corrections. @ivar changed: the lines that were corrected.
    """

    faults: list[tuple[int, str]]
    data: dict[str, object] | None
    text: str
    changed: set[int]


def read(text: str, tables: Iterable[str]) -> Syntax:
    """Parse TOML, correcting lines with known errors.

    @param tables: the names of tables in single brackets, like C{[timeouts]}.
    """
    lines = text.split("\n")
    faults = list(_brackets(lines, set(tables)))
    changed: set[int] = set()
    while True:
        try:
            return Syntax(faults, tomli.loads("\n".join(lines)), "\n".join(lines), changed)
        except (ValueError, RecursionError) as error:
            message, line = str(error), _line(error, len(lines))
        cure, repaired = _understood(lines, line - 1, message)
        written = bounded(_PAIR.sub(r"\1 \2 \3", lines[line - 1].strip(), count=1), 80)
        place = f"{written}: " if cure and written else ""
        if line not in changed:
            faults.append((line, f"{place}invalid TOML: {message}{'; ' if cure else ''}{cure}"))
        if repaired is None or line in changed or len(faults) > MAX_ERRORS:
            return Syntax(faults, None, "\n".join(lines), changed)
        changed.update(range(line, line + len(repaired)))
        lines[line - 1 : line - 1 + len(repaired)] = repaired


def _line(error: Exception, last: int) -> int:
    at = _AT.search(str(error))
    return min(int(at[1]) if at else int(getattr(error, "lineno", last)), last)


def _brackets(lines: list[str], tables: set[str]) -> Iterable[tuple[int, str]]:
    """Find table headers with the wrong number of brackets, and correct them in place."""
    for index, line in enumerate(lines):
        if "[" not in line:
            continue
        header = _HEADER.fullmatch(line)
        if header is None or header[3] != "]" * len(header[1]):
            continue
        name = header[2].strip("\"'")
        if header[1] == "[" and name in LISTED_TABLES:
            lines[index] = f"[[{name}]]"
            yield index + 1, f"[{name}]: write [[{name}]], with two brackets"
        elif header[1] == "[[" and (name in tables or name.partition(".")[0] == "resolver"):
            right = f"[{name}]" if name != "resolver" else "[resolver.NAME]"
            lines[index] = right
            yield index + 1, f"[[{name}]]: write {right}, with one bracket"


def _understood(lines: list[str], index: int, message: str) -> tuple[str, list[str] | None]:
    """A cure, or empty; and the corrected lines from this line on, or None."""
    line = lines[index]
    header = _HEADER.fullmatch(line)
    if header is not None and line.lstrip().startswith("["):
        return _header(lines, index, header)
    pair = _PAIR.fullmatch(_COMMENT.sub("", line))
    if pair is None:
        item = _ITEM.fullmatch(line)
        if item is not None and message.startswith(("Invalid value", "Unclosed array")):
            return f'write strings in quotes: "{item[1]}"', [f'"{item[1]}",']
        spaced = re.match(r"\s*([A-Za-z][A-Za-z0-9_ -]*?)\s*=", line)
        if spaced is not None and " " in spaced[1]:
            return f"a key cannot contain spaces; write {'_'.join(spaced[1].split())}", ["#"]
        if line.lstrip().startswith(("//", ";", "/*", "--")):
            return "a comment begins with #", ["#"]
        return "", None
    key, mark, value = pair.groups()
    if mark == ":":
        _, repaired = _value(key, value, message)
        return f"write {key} = {value if value[:1] in _QUOTES else _quoted(value)}", repaired
    if message.startswith("Cannot overwrite"):
        first = _first(lines, index, key)
        where = f", first on line {first}" if first else ""
        whole = value[:1] not in "[{" or value[-1:] in "]}"
        whole = whole and not value.startswith(('"""', "'''"))
        return f"{key} is set twice{where}; remove one", ["#"] if whole else None
    return _value(key, value, message)


_QUOTES = ("'", '"')


def _header(lines: list[str], index: int, header: re.Match[str]) -> tuple[str, list[str] | None]:
    name = header[2].strip()
    double = name in LISTED_TABLES
    right = f"[[{name}]]" if double else f"[{name}]"
    if header[3] != "]" * len(header[1]):
        return f"write {right}", [right]
    first = next((n for n, line in enumerate(lines[:index], 1) if line.split("#")[0].strip() == right), None)
    if first is None or double:
        return "", None
    # Blank the second table, whose keys belong in the first.
    end = next((n for n in range(index + 1, len(lines)) if lines[n].lstrip().startswith("[")), len(lines))
    cure = f"{right} appears twice, first on line {first}; merge the two"
    return cure, ["#"] * (end - index)


def _first(lines: list[str], index: int, key: str) -> int | None:
    for n in range(index - 1, -1, -1):
        if lines[n].lstrip().startswith("["):
            return None
        pair = _PAIR.fullmatch(lines[n])
        if pair is not None and pair[1] == key:
            return n + 1
    return None


def _value(key: str, value: str, message: str) -> tuple[str, list[str] | None]:
    """The cure for a value on one line, and the corrected line."""
    bare = value.strip("\"'\u201c\u201d\u2018\u2019")
    if value[:1] in ("\u201c", "\u201d", "\u2018", "\u2019"):
        return f"write straight quotes: {key} = {_quoted(bare)}", [f"{key} = {_quoted(bare)}"]
    if value.startswith('"') and "\\" in value:
        single = _quoted(value[1:].removesuffix('"'))
        cure = f"in double quotes a backslash begins an escape; use single quotes for expressions: {key} = {single}"
        return cure, [f"{key} = {single}"]
    if value[:1] in _QUOTES:
        if value[0] not in value[1:]:
            return "the closing quote is missing", [f"{key} = {_quoted(bare)}"]
        return "", None
    if value.startswith("["):
        if not value.endswith("]"):
            return "", None
        items = [item.strip().strip("\"'") for item in value[1:-1].replace('" "', '", "').split(",")]
        texts = ", ".join(_quoted(item) for item in items if item)
        right = f"{key} = [{texts}]"
        return f"write the strings of a list in quotes, separated by commas: {right}", [right]
    if value.startswith("{"):
        return "", None
    if not value:
        return "write a value after =", None
    return _bare(key, value)


def _bare(key: str, value: str) -> tuple[str, list[str]]:
    value = value.rstrip(",;")
    word = flag(value)
    if word is not None:
        return f"write {key} = {word}", [f"{key} = {word}"]
    if value.lower() in ("none", "null", "nil", "~"):
        return f"TOML has no null; remove {key}", ["#"]
    amount = number(value, key)
    if amount is not None:
        unit = unit_of(key)
        what = f"a number of {unit}, without a unit" if unit else "a number"
        return f"write {what}: {key} = {amount}", [f"{key} = {amount}"]
    return f"write strings in quotes: {key} = {_quoted(value)}", [f"{key} = {_quoted(value)}"]


def _quoted(value: str) -> str:
    return f"'{value}'" if "\\" in value or '"' in value else f'"{value}"'


def close_to(word: str, known: Iterable[str]) -> str | None:
    """The known word that is closest to a wrong one, or None."""
    found = difflib.get_close_matches(word, list(known), 1)
    return found[0] if found else None
