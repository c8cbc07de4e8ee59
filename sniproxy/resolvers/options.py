"""Checks a resolver's table against the options that its maker describes."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from sniproxy.interfaces import NEEDED, BadOption, Kind, Option
from sniproxy.util.names import BadName, server_name

FILE_OPTIONS = ("trust", "certificate", "token_file", "digest_file")
"""Options whose files are read when a resolver is made."""


class BadOptions(BadOption):
    """Several errors of one table. As a L{BadOption} it is the first. @ivar errors: all of them."""

    def __init__(self, errors: Sequence[BadOption]) -> None:
        super().__init__(errors[0].key, errors[0].value, errors[0].cure)
        self.errors = errors


def find_errors(
    make: Callable[[Mapping[str, Any]], object], options: Mapping[str, Any], described: Sequence[Option] | None
) -> list[BadOption]:
    """All errors of a resolver's table.

    Removes an invalid option and makes the resolver again. An error that names a removed option is not reported,
    because the removal may have caused it.

    @param make: makes the resolver of a table, or raises L{BadOption}.
    @param described: the options of the resolver's type. None: it describes none.
    """
    needed = {option.name for option in described or () if option.default is NEEDED}
    found: dict[str, BadOption] = {}
    while True:
        try:
            make(options)
        except BadOption as error:
            more = error.errors if isinstance(error, BadOptions) else [error]
            new = [one for one in more if one.key not in found and not any(key in one.cure for key in found)]
            found.update((one.key, one) for one in new)
            out = {one.key for one in new} & options.keys()
            if out and not out & needed:
                options = {key: value for key, value in options.items() if key not in out}
                continue
        except Exception:  # the plugin fails without the removed options
            pass
        return list(found.values())


def check_server_url(option: str, url: str, cure: str) -> None:
    """Check a URL that has only scheme, host and port. @param cure: for the error.

    @raise BadOption: it is invalid. The message does not show a URL that may have a password.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.path in ("", "/") and url.isascii()
        server_name(parts.hostname or "")
        _ = parts.port
    except (ValueError, BadName):
        good = False
    if not good or "@" in url or "?" in url or "#" in url:
        raise BadOption(option, url if "@" not in url else "...", cure)


def bad_file(options: Mapping[str, Any], error: Exception) -> BadOption:
    """The error of a file as that of its option.

    @param error: its text starts with the name of the option.
    """
    key = next(key for key in FILE_OPTIONS if str(error).startswith(key))
    return BadOption(key, options[key], str(error))


def check_options(options: Mapping[str, Any], described: Sequence[Option], folder: str) -> dict[str, Any]:
    """The table as the resolver gets it: with every described option.

    @param folder: relative paths start here. Empty: the current working directory.
    @raise BadOption: a key is unknown or missing, or a value has the wrong kind.
    """
    known = {option.name: option for option in described}
    errors: list[BadOption] = []
    for key in options:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            cure = f"did you mean {close[0]}?" if close else f"known options: {', '.join(known) or 'none'}"
            errors.append(BadOption(key, options[key], f"unknown option; {cure}"))
    found = {}
    for name, option in known.items():
        try:
            if name in options:
                found[name] = _value(option, options[name], folder)
            elif option.default is NEEDED:
                raise BadOption(name, None, f"required, a {option.kind}: {option.help}")
            else:
                found[name] = option.default
        except BadOption as error:
            errors.append(error)
    if errors:
        raise BadOptions(errors) if len(errors) > 1 else errors[0]
    return found


def _value(option: Option, value: Any, folder: str) -> Any:
    match option.kind:
        case Kind.TEXT if isinstance(value, str):
            return value
        case Kind.TEXTS if isinstance(value, str):
            return [value]
        case Kind.TEXTS if isinstance(value, list) and all(isinstance(text, str) for text in value):
            return value
        case Kind.INTEGER if isinstance(value, int) and not isinstance(value, bool):
            return value
        case Kind.NUMBER if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
        case Kind.FLAG if isinstance(value, bool):
            return value
        case Kind.PATH if isinstance(value, str) and value and "\0" not in value:
            return os.path.abspath(os.path.join(folder, value))
    raise BadOption(option.name, value, f"write a {option.kind}: {option.help}")
