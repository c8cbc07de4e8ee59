"""The results of reloads. Pure."""

from __future__ import annotations

import msgspec


class Reloads(msgspec.Struct, frozen=True):
    """The results of configuration reloads since the start.

    @ivar succeeded: the number of successful reloads. @ivar failed: the number of failed reloads, which change nothing.
    @ivar error: the error of the last reload; None if it succeeded or if there was none.
    @ivar time: the time of that error, in seconds since 1970; None as C{error}.
    """

    succeeded: int = 0
    failed: int = 0
    error: str | None = None
    time: float | None = None

    def with_success(self) -> Reloads:
        """Count a successful reload."""
        return Reloads(self.succeeded + 1, self.failed)

    def with_failure(self, why: str, now: float) -> Reloads:
        """Count a failed reload."""
        return Reloads(self.succeeded, self.failed + 1, why, now)
