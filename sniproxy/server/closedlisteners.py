"""Closes listeners while no target of their C{closed_when_down} route is up."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sniproxy.admin.sources import CLOSED
from sniproxy.config.closing import closing_targets
from sniproxy.config.model import Configuration
from sniproxy.interfaces import Target
from sniproxy.routing.upstreams import UpstreamTable
from sniproxy.server.listeners import Entrance, Listeners


class ClosedListeners:
    """Opens and closes listeners as the health of targets changes."""

    def __init__(self, listeners: Listeners, upstreams: UpstreamTable, seconds: Callable[[], float]) -> None:
        self._listeners = listeners
        self._upstreams = upstreams
        self._seconds = seconds
        self._targets: dict[str, Sequence[Target]] = {}

    def change(self, configuration: Configuration) -> None:
        """Follow another configuration."""
        self._targets = {
            one.name: closing_targets(configuration, one)
            for one in configuration.listeners
            if one.closed_when_down is not None
        }
        self.follow()

    def follow(self) -> None:
        """Close listeners whose targets are all down, and open them again."""
        if self._targets or self._listeners.closed:
            self._listeners.follow(self._why_closed)

    def _why_closed(self, entrance: Entrance) -> str | None:
        targets, now = self._targets.get(entrance.name, ()), self._seconds()
        if not targets or any(self._upstreams.state(target, now) == "up" for target in targets):
            return None
        return CLOSED
