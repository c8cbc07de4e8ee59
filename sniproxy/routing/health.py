"""How targets are checked and ejected. Pure; L{sniproxy.server.healthchecks} does it."""

from __future__ import annotations

import attrs


@attrs.frozen
class Health:
    """How targets are looked after.

    @ivar check: ``tcp`` or ``tls``. None: they are not checked.
    @ivar interval: seconds between two checks of a target, and that one may take.
    @ivar rise: so many good checks in a row, and it is up. @ivar fall: so many bad ones, and it is down;
        the first check of all decides alone.
    @ivar eject: for so many seconds a target is avoided that C{fall} connections in a row could not reach. 0: never.
    """

    check: str | None = None
    interval: float = 5.0
    rise: int = 2
    fall: int = 3
    eject: float = 0.0
