"""The rates of clients: token buckets. Pure."""

from __future__ import annotations

from collections import OrderedDict

MAX_RATES = 65_536
"""Clients whose rate is remembered. If there are more, the one that connected longest ago is forgotten."""


class Rates:
    """A token bucket for each client, stored as the time when it will be full again.

    This is the virtual scheduling algorithm of ITU-T I.371. A full bucket is forgotten.
    """

    def __init__(self) -> None:
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, client: str, now: float, rate: float, burst: int) -> bool:
        """Take a token. @param rate: tokens a second. @param burst: size of the bucket. @return: False: it is empty."""
        full_at = self._full_at
        full = full_at.get(client, now)
        if full - now > burst / rate:  # emptied at another rate, or the clock was set back
            full = full_at[client] = now + burst / rate
        missing = max(full - now, 0.0) * rate
        # Rounding must not cost a token.
        if missing > burst - 1 + 1e-6:
            return False
        full_at[client] = now + (missing + 1) / rate
        full_at.move_to_end(client)
        for _ in range(2):  # at most one is added and two are removed in a call, so they never pile up
            oldest = next(iter(full_at))
            if full_at[oldest] > now and len(full_at) <= MAX_RATES:
                break
            del full_at[oldest]
        return True
