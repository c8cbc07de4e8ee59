"""Routes' expressions, timed with names that are made to keep them busy. Pure: the caller brings the clock.

L{sniproxy.routing.backtracking} bounds what one match can take, so that a trial always ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, permutations

from sniproxy.routing.patterns import expression, is_expression
from sniproxy.util.names import MAX_NAME_CHARS

MAX_MATCH_S = 0.01
"""Seconds of CPU time for one match. What the bound lets pass takes less than a tenth of it."""

MAX_TRIALS_S = 0.1
"""Seconds of CPU time for all expressions of a configuration; those behind have the bound alone."""

_REPEATS = 3
_MAX_CHARS = 5
_MAX_PAIRS = 8


def slow_expressions(
    patterns: Iterable[tuple[str, str]], seconds: Callable[[], float]
) -> Iterator[tuple[str, str, str]]:
    """Match each expression with names that are made for it.

    @param patterns: a key and a pattern each; those that are no expressions are left out.
    @param seconds: the CPU time of this thread, so that a busy machine makes no expression slow.
    @return: the key, the pattern and the reason of each expression that takes too long.
    """
    end: float | None = None
    for key, pattern in patterns:
        if not is_expression(pattern):
            continue
        now = seconds()
        end = now + MAX_TRIALS_S if end is None else end
        if now > end:
            return
        if any(_time(expression(pattern), name, seconds) > MAX_MATCH_S for name in hard_names(pattern)):
            yield (
                key,
                pattern,
                "a crafted name takes more than 10 ms to match; use fewer repeats and choices",
            )


def hard_names(pattern: str) -> Iterator[str]:
    """Names of full length that keep a backtracking expression busy: its own characters, over and over."""
    text = pattern[1:].lower()
    start = re.match(r"(?:[a-z0-9_-]|\\[.-])*", text)
    prefix = "" if start is None else start[0].replace("\\", "")[:MAX_NAME_CHARS]
    chars = "".join(islice(dict.fromkeys("a0" + re.sub(r"\\[a-z]|[^a-z0-9_.-]", "", text)), _MAX_CHARS)) + "-."
    for part in (*chars, *map("".join, islice(permutations(chars, 2), _MAX_PAIRS))):
        yield (prefix + part * MAX_NAME_CHARS)[:MAX_NAME_CHARS]
        yield (part * MAX_NAME_CHARS)[: MAX_NAME_CHARS - 1] + "_"


def _time(compiled: re.Pattern[str], name: str, seconds: Callable[[], float]) -> float:
    """The shortest of several, for an interrupt may come between."""
    least = float("inf")
    for _ in range(_REPEATS):
        start = seconds()
        compiled.fullmatch(name)
        least = min(least, seconds() - start)
        if least <= MAX_MATCH_S:
            break
    return least
