"""A maker of the first version of the plugin interface."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sniproxy.interfaces import (
    Request,
    Resolution,
    Target,
)


class House:
    """A resolver such as a third party's."""

    def __init__(self, options: Mapping[str, Any], reactor: Any) -> None:
        self.options, self.reactor = options, reactor

    def resolve(self, request: Request) -> Resolution:
        return Resolution([Target("house.test", 1)])


class OldMaker:
    """A plugin that knows nothing of descriptions."""

    name, help = "old", "from before"

    def make(self, options: Mapping[str, Any], reactor: Any) -> House:
        return House(options, reactor)
