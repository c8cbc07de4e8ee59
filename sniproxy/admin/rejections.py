"""What the admin endpoint refused: counted by cause, and logged once per cause, then as sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.logger import Logger

from sniproxy.util.text import bounded

log = Logger()

SUMMARY_INTERVAL_S = 600.0
"""Seconds between two log lines of one cause."""

CAUSES = {
    "host": "Host is not a name of the endpoint; add it to [admin] hosts",
    "origin": "Origin is another site",
    "change": "a changing request without the token; see [admin] token_file",
    "slow": "no whole request in time",
    "crowded": "too many connections; one that waited was closed, or the new one",
}
"""What is refused, by cause: there are no other causes."""


class Rejections:
    """@param seconds: a monotonic clock. @ivar counts: since the start, by cause."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self._seconds = seconds
        self._logged: dict[str, tuple[float, int]] = {}

    def refused(self, cause: str, about: str = "") -> None:
        """Count a refusal. @param cause: a key of L{CAUSES}. @param about: who, and what was sent; for the log."""
        self.counts[cause] += 1
        now, count = self._seconds(), self.counts[cause]
        last, before = self._logged.get(cause, (None, 0))
        if last is not None and now - last < SUMMARY_INTERVAL_S:
            return
        self._logged[cause] = now, count
        said = f": {bounded(about)}" if about else ""
        log.warn("admin: refused: {what}{said} ({count})", what=CAUSES[cause], said=said, count=count - before)
