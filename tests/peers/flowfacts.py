"""What clients did in runs with a fault, as words: facts of several runs become the text of one cell. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

AT_ONCE_S = 0.1
"""Fewer seconds are "at once"."""


@frozen(init=False)
class Fact:
    """A fact of one run: a text with the places `{0}`, `{1}`, and the numbers of each place.

    A place has a format: `{0:after}` and `{0:s}` for seconds, `{0:times}`, `{0:messages}`, or `{0}` for a number.
    """

    text: str
    numbers: tuple[tuple[float, ...], ...]

    def __init__(self, text: str, *numbers: tuple[float, ...]) -> None:
        self.__attrs_init__(text, numbers)


class Span:
    """The least and the greatest of some numbers, as a format writes them."""

    def __init__(self, numbers: Sequence[float]) -> None:
        self._least, self._greatest = min(numbers), max(numbers)

    def __format__(self, form: str) -> str:
        match form:
            case "after":
                return "at once" if self._greatest < AT_ONCE_S else f"after {self._range(self._digits)} s"
            case "s":
                return f"{self._range(self._digits)} s"
            case "times":
                return "once" if self._greatest == 1 else f"{self._range(0)} times"
            case "messages":
                return f"{self._range(0)} message{'' if self._greatest == 1 else 's'}"
            case "":
                return self._range(0)
        raise ValueError(f"no format {form}")

    @property
    def _digits(self) -> int:
        return 2 if self._greatest < 1 else 1

    def _range(self, digits: int) -> str:
        least, greatest = f"{self._least:.{digits}f}", f"{self._greatest:.{digits}f}"
        return least if least == greatest else f"{least} to {greatest}"


def describe(runs: Sequence[Sequence[Fact]]) -> str:
    """The text of a cell: each fact with the numbers of all runs, and in how many runs it was, if not in all."""
    numbers: dict[str, list[list[float]]] = {}
    counts: dict[str, int] = {}
    for facts in runs:
        for fact in facts:
            places = numbers.setdefault(fact.text, [[] for _ in fact.numbers])
            for place, found in zip(places, fact.numbers, strict=True):
                place += found
        for text in {fact.text for fact in facts}:
            counts[text] = counts.get(text, 0) + 1
    parts = []
    for text, places in numbers.items():
        words = text.format(*map(Span, places))
        parts.append(words if counts[text] == len(runs) else f"{words} ({counts[text]} of {len(runs)} runs)")
    return "; ".join(parts)
