"""Times the routes' expressions with names crafted to make them slow. Pure: the caller passes the clock.

L{sniproxy.routing.backtracking} bounds one match, so a trial ends.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, permutations

from sniproxy.routing.patterns import expression, is_expression
from sniproxy.util.names import MAX_NAME_CHARS

MAX_MATCH_S = 0.01
"""Seconds of CPU time for one match. Expressions within the bound take less than a tenth of it."""

MAX_TRIALS_S = 0.1
"""Seconds of CPU time for all expressions of a configuration; the rest are not timed."""

_REPEATS = 3
_MAX_CHARS = 5
_MAX_PAIRS = 8


def slow_expressions(
    patterns: Iterable[tuple[str, str]], seconds: Callable[[], float]
) -> Iterator[tuple[str, str, str]]:
    """Time each expression with names crafted for it.

    @param patterns: pairs of a key and a pattern; patterns that are not expressions are skipped.
    @param seconds: the CPU time of this thread, so that other load does not count.
    @return: the key, the pattern and the reason of each slow expression.
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
    """Names of maximal length that make an expression backtrack: its own characters, repeated."""
    text = pattern[1:].lower()
    start = re.match(r"(?:[a-z0-9_-]|\\[.-])*", text)
    prefix = "" if start is None else start[0].replace("\\", "")[:MAX_NAME_CHARS]
    chars = "".join(islice(dict.fromkeys("a0" + re.sub(r"\\[a-z]|[^a-z0-9_.-]", "", text)), _MAX_CHARS)) + "-."
    for part in (*chars, *map("".join, islice(permutations(chars, 2), _MAX_PAIRS))):
        yield (prefix + part * MAX_NAME_CHARS)[:MAX_NAME_CHARS]
        yield (part * MAX_NAME_CHARS)[: MAX_NAME_CHARS - 1] + "_"


def _time(compiled: re.Pattern[str], name: str, seconds: Callable[[], float]) -> float:
    """The shortest of several times: an interrupt may lengthen one."""
    least = float("inf")
    for _ in range(_REPEATS):
        start = seconds()
        compiled.fullmatch(name)
        least = min(least, seconds() - start)
        if least <= MAX_MATCH_S:
            break
    return least
