"""A resolver's table against what its maker says of it: kinds, defaults, and what is unknown or missing."""

from __future__ import annotations

import difflib
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from sniproxy.interfaces import NEEDED, BadOption, Kind, Option


def checked(options: Mapping[str, Any], described: Sequence[Option], folder: str) -> dict[str, Any]:
    """The table as the resolver gets it: every described option is there.

    @param folder: where paths start from; empty: the working folder of now.
    @raise BadOption: a key is unknown or missing, or a value is of another kind.
    """
    known = {option.name: option for option in described}
    for key in options:
        if key not in known:
            close = difflib.get_close_matches(key, known, 1)
            cure = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known) or 'none'}"
            raise BadOption(key, options[key], f"there is no such option; {cure}")
    found = {}
    for name, option in known.items():
        if name in options:
            found[name] = _value(option, options[name], folder)
        elif option.default is NEEDED:
            raise BadOption(name, None, f"it is needed, a {option.kind}: {option.help}")
        else:
            found[name] = option.default
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
