"""Counts the bytes that this process buffers for its connections: hellos, and data for slow readers. Pure.

Bytes that the kernel holds in sockets and pipes are not counted.
"""

from __future__ import annotations


class Share:
    """The bytes of one holder, for example a direction of a tunnel."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0

    def holds(self, count: int) -> None:
        """Set the holder's current number of bytes."""
        TOTAL.bytes += count - self.bytes
        self.bytes = count


TOTAL = Share()
"""The sum over all holders of the process."""
