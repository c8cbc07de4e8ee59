"""A clock that has rounds."""

from __future__ import annotations

from twisted.internet.task import Clock


class Rounds(Clock):
    """A clock as a reactor is: what a call schedules waits for the next round."""

    def round(self) -> None:
        """Run what waits now."""
        calls, self.calls = self.calls, []
        for call in calls:
            call.called = True
            call.func(*call.args, **call.kw)
