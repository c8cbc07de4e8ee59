"""A reactor whose rounds a test begins."""

from __future__ import annotations

from collections.abc import Callable


class Rounds:
    """A reactor of which each L{go} is one round: what is called later in it comes in the next one."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []

    def callLater(self, delay: float, call: Callable[[], object]) -> None:
        self.calls.append(call)

    def go(self) -> None:
        calls, self.calls = self.calls, []
        for call in calls:
            call()
