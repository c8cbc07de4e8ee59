"""How many bytes wait in this process's memory until they can go on: hellos, and what a slow reader leaves. Pure.

What the kernel holds for a connection, in sockets and pipes, is not counted.
"""

from __future__ import annotations


class Share:
    """What one of those counts that hold bytes."""

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0

    def holds(self, count: int) -> None:
        """It holds so many bytes now."""
        TOTAL.bytes += count - self.bytes
        self.bytes = count


TOTAL = Share()
"""All shares of the process together: memory is the process's, like descriptors."""
