"""A relay's direction by copying, with somebody who looks at the bytes as they pass.

Bytes are sent first and shown then: whoever looks delays nothing, changes nothing and, when it fails, ends nothing.
"""

from __future__ import annotations

from typing import Protocol

from sniproxy.net.copying import CopyDirection
from sniproxy.net.direction import Direction, Way
from sniproxy.net.relay import Side


class Tap(Protocol):
    """Looks at one tunnel. What it raises is its own affair: it is not shown more."""

    def client(self, data: bytes) -> None:
        """Bytes from the client."""

    def target(self, data: bytes) -> None:
        """Bytes from the target."""


class TappedDirection(CopyDirection):
    """recv, send, and show."""

    __slots__ = ("_show", "_unseen")

    def __init__(self, source: Side, target: Side, head: bytes, tap: Tap) -> None:
        super().__init__(source, target, head)
        self._show = tap.client if source.name == "client" else tap.target
        self._unseen = head

    def fill(self) -> int:
        count = CopyDirection.fill(self)
        self._head = self._unseen = bytes(self._head)
        return count

    def flush(self) -> int:
        try:
            return CopyDirection.flush(self)
        finally:
            if self._unseen:
                data, self._unseen = self._unseen, b""
                self._show(data)


def tapped(tap: Tap) -> Way:
    """A way of moving bytes for one tunnel."""

    def way(source: Side, target: Side, head: bytes) -> Direction:
        return TappedDirection(source, target, head, tap)

    return way
