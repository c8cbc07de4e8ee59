"""Collects all errors of a configuration file, with their lines, in the file's order. Pure."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from typing import Any

from sniproxy.config.diagnostics.lines import LineIndex, Path, path_of
from sniproxy.config.diagnostics.repair import REPAIRED, repair
from sniproxy.config.diagnostics.syntax import read
from sniproxy.config.schema import ConfigError, ConfigErrors, each_error
from sniproxy.config.tables import MAX_ERRORS, SINGLE_TABLES

_UNKNOWN = re.compile(r": unknown key; (?:did you mean (\w+)\?$)?")

Checked = Callable[[dict[str, Any]], object]
"""Checks TOML's tables, and returns a configuration for L{Use}. It raises C{ConfigError}."""


Use = Callable[[Any], object]
"""Builds the proxy from a checked configuration. It raises C{ConfigError}."""


def all_errors(text: str, filename: str, check: Checked, use: Use | None = None) -> ConfigError:
    """The errors of a file: at most 20, and a line that says if there are more.

    Each error found is replaced by a harmless value and the file is checked again, until no error is left. So an error
    that only follows from another one is not reported.

    @param use: finds errors of files and resolvers. None: these are not checked.
    """
    syntax = read(text, SINGLE_TABLES)
    found = {f"{filename}:{line}: {message}": line for line, message in syntax.faults}
    if syntax.data is not None:
        original = copy.deepcopy(syntax.data)
        lines = LineIndex(syntax.text)
        data = syntax.data
        fixed: set[Path] = set()
        for number in range(MAX_ERRORS + 1):
            errors = _faults(check, data)
            if not errors or len(found) > MAX_ERRORS:
                break
            repaired = [_take(one, data, original, lines, syntax.changed, filename, found, number) for one in errors]
            fixed.update(repaired)
            if not any(repaired):
                break
        if not errors and use is not None:
            for one in _faults_in_use(use, check(data)):
                path = path_of(data, key_of(one, filename))
                line = lines.find(_item(data, path, one.value))
                if line not in syntax.changed and not _is_fixed(path, fixed) and REPAIRED not in str(one):
                    found.setdefault(_with_line(str(one), filename, line), line or 0)
    ordered = sorted(found, key=lambda message: found[message])
    if len(ordered) > MAX_ERRORS:
        ordered = [*ordered[:MAX_ERRORS], f"{filename}: there are more errors; fix these first"]
    return ConfigErrors(ordered) if len(ordered) > 1 else ConfigError(ordered[0])


def located(error: ConfigError, text: str, filename: str) -> ConfigError:
    """Add lines to errors that were found when the proxy was built from a checked configuration."""
    # The text has been parsed before, so its syntax is valid.
    data = read(text, SINGLE_TABLES).data or {}
    lines = LineIndex(text)
    found: dict[str, int] = {}
    for one in each_error(error):
        path = path_of(data, key_of(one, filename))
        line = lines.find(_item(data, path, one.value))
        found.setdefault(_with_line(str(one), filename, line), line or 0)
    ordered = sorted(found, key=lambda message: found[message])
    return ConfigErrors(ordered) if len(ordered) > 1 else ConfigError(ordered[0])


def key_of(error: ConfigError, filename: str) -> str:
    """The key of an error; if the error has none, the key in its message."""
    if error.key:
        return error.key
    match = re.match(r"(\S+?)(?: = |: )", str(error).removeprefix(f"{filename}: "))
    return match[1] if match else ""


def _faults(check: Callable[[Any], object], data: object) -> list[ConfigError]:
    try:
        check(data)
    except ConfigError as error:
        return list(each_error(error))
    return []


def _faults_in_use(use: Use, checked: object) -> list[ConfigError]:
    try:
        return _faults(use, checked)
    except Exception:  # a bug in a resolver plugin must not hide known errors
        return []


def _is_fixed(path: Path, fixed: set[Path]) -> bool:
    """Whether a path was repaired. If a resolver's type was, all its options count as repaired."""
    return any(
        path[: len(one)] == one or (one[:1] == ("resolver",) and one[2:] == ("type",) and path[:2] == one[:2])
        for one in fixed
        if one
    )


def _take(
    error: ConfigError,
    data: dict[str, Any],
    original: dict[str, Any],
    lines: LineIndex,
    changed: set[int],
    filename: str,
    found: dict[str, int],
    number: int,
) -> Path:
    """Record an error, and repair its value. @return: the repaired path; empty: none."""
    path = path_of(data, key_of(error, filename))
    line = lines.find(_item(original, path, error.value))
    if line not in changed:
        found.setdefault(_with_line(str(error), filename, line), line or 0)
    if not path:
        return ()
    unknown = _UNKNOWN.search(str(error))
    meant = None if unknown is None else unknown[1] or ""
    if meant:
        repair(original, path, error.value, meant, number)
        lines.rename(path, (*path[:-1], meant))
    changed_here = repair(data, path, error.value, meant, len(found) + MAX_ERRORS * number)
    return path if changed_here else ()


def _item(data: Any, path: Path, value: object) -> Path:
    """The path of a list's item, if the error is about an item."""
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return path
    return (*path, data.index(value)) if isinstance(data, list) and value in data else path


def _with_line(message: str, filename: str, line: int | None) -> str:
    start = f"{filename}: "
    if line is None or not message.startswith(start):
        return message
    return f"{filename}:{line}: {message.removeprefix(start)}"
