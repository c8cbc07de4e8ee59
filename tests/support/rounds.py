"""A clock with reactor iterations."""

from __future__ import annotations

from twisted.internet.task import Clock


class Rounds(Clock):
    """A clock that works like a reactor: calls scheduled by a call run in the next iteration."""

    def round(self) -> None:
        """Run the calls that are due now."""
        calls, self.calls = self.calls, []
        for call in calls:
            call.called = True
            call.func(*call.args, **call.kw)
