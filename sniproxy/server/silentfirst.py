"""Orders tunnels so that those without traffic end first: their clients have nothing under way that would be cut.

A stop and the drain of a target or a route end tunnels in this order.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sniproxy.connection.lifecycle import Lifecycle


class SilentFirst:
    """Compares the bytes of tunnels between two rounds.

    @param tunnels: the tunnels at the beginning; the first round shows what they have moved since then.
    """

    def __init__(self, tunnels: Iterable[Lifecycle] = ()) -> None:
        self._before = _bytes_of(tunnels)

    def order(self, tunnels: Iterable[Lifecycle]) -> list[Lifecycle]:
        """Order tunnels by the bytes that they have moved since the last round, the fewest first, and begin a round.

        Of a tunnel that was not in the last round, all bytes count. Equal ones keep their order.
        """
        before, self._before = self._before, _bytes_of(tunnels)
        moved = {tunnel: count - before.get(tunnel, 0) for tunnel, count in self._before.items()}
        return sorted(moved, key=moved.__getitem__)


def _bytes_of(tunnels: Iterable[Lifecycle]) -> Mapping[Lifecycle, int]:
    return {tunnel: tunnel.bytes_up + tunnel.bytes_down for tunnel in tunnels}
