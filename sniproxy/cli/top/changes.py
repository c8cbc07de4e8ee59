"""What the key of C{top} that drains a broker means, until the user has confirmed it. Pure."""

from __future__ import annotations

import attrs

from sniproxy.cli.forms import count
from sniproxy.cli.top.table import Row

RATE_PER_S = 10.0
"""Tunnels that a drain closes per second, in all instances together: as C{sniproxyctl drain} does by default."""


@attrs.frozen
class Change:
    """A change to confirm. @ivar target: C{host:port}. @ivar undo: whether a drain is cancelled."""

    target: str
    undo: bool
    tunnels: float | None = None

    @property
    def question(self) -> str:
        """What the user is asked."""
        if self.undo:
            return f"allow new connections to {self.target} again? y: yes, any other key: no"
        tunnels = "its tunnels" if self.tunnels is None else f"{count(self.tunnels)} tunnels"
        tunnels = "1 tunnel" if self.tunnels == 1 else tunnels
        return f"drain {self.target} and close {tunnels}, {RATE_PER_S:g}/s? y: yes, any other key: no"


def change_of(row: Row) -> Change:
    """The change that the key means for a broker: to drain it, or to cancel its drain."""
    values = row.values
    return Change(values["target"], "draining" in values["state"], values["connections"])
