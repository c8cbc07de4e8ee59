"""The settings of health checks and ejection; L{sniproxy.server.healthchecks} runs the checks. Pure."""

from __future__ import annotations

import attrs


@attrs.frozen
class Health:
    """Health checks and ejection.

    @ivar check: ``tcp`` or ``tls``. None: no health checks.
    @ivar interval: seconds between two checks of a target, and the timeout of a check.
    @ivar rise: consecutive successful checks until a target is up.
    @ivar fall: consecutive failed checks until a target is down. The first check of a target decides alone.
    @ivar eject: seconds to eject a target after C{fall} consecutive failed connects. 0 disables ejection.
    """

    check: str | None = None
    interval: float = 5.0
    rise: int = 2
    fall: int = 3
    eject: float = 0.0
