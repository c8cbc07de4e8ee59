"""Numbers of seconds on the command line. Pure."""

from __future__ import annotations

import argparse
from collections.abc import Callable


def seconds_type(what: str, minimum: float, maximum: float) -> Callable[[str], float]:
    """A C{type} for options with a number of seconds, which may have a fraction.

    @param what: what an error calls it, such as C{timeout}. @param minimum, maximum: bounds, in seconds.
    @return: raises L{argparse.ArgumentTypeError} for anything else.
    """

    def seconds(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not minimum <= value <= maximum:
            bounds = f"from {_plain(minimum)} to {_plain(maximum)}"
            raise argparse.ArgumentTypeError(f"invalid {what} {text!r}; write a number of seconds {bounds}")
        return value

    return seconds


def _plain(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)
