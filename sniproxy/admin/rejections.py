"""Counts requests and connections that the admin endpoint refused, and logs them at a limited rate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from twisted.logger import Logger

from sniproxy.util.text import bounded, counted

log = Logger()

SUMMARY_INTERVAL_S = 600.0
"""Minimum of seconds between two log lines of the same cause."""

CAUSES = {
    "host": "Host is not a name of this endpoint; to allow it, add it to [admin] hosts",
    "origin": "Origin is another site",
    "change": "POST request without a valid token; see [admin] token_file",
    "slow": "request timed out",
    "crowded": "too many connections; closed an idle one or refused the new one",
}
"""All causes, with the text of the log line."""


class Rejections:
    """Counts and logs refusals. @param seconds: a monotonic clock. @ivar counts: refusals since the start, by cause."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.counts: Counter[str] = Counter()
        self._seconds = seconds
        self._logged: dict[str, tuple[float, int]] = {}

    def record(self, cause: str, about: str = "") -> None:
        """Count a refusal, and log it.

        @param cause: a key of L{CAUSES}. @param about: the client and the refused headers, for the log.
        """
        self.counts[cause] += 1
        now, count = self._seconds(), self.counts[cause]
        last, before = self._logged.get(cause, (None, 0))
        if last is not None and now - last < SUMMARY_INTERVAL_S:
            return
        self._logged[cause] = now, count
        details = f": {bounded(about)}" if about else ""
        log.warn(
            "admin: refused {times}: {what}{details}",
            what=CAUSES[cause],
            details=details,
            times=counted(count - before, "time"),
        )
