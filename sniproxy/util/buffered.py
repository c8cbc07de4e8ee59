"""Counts the bytes that a service buffers for its connections: hellos, and data for slow readers. Pure.

Bytes that the kernel holds in sockets and pipes are not counted.
"""

from __future__ import annotations


class BufferAccount:
    """The buffered bytes of one service, for C{max_buffered}. Two services in a process have two accounts.

    @ivar bytes: the sum over all its shares.
    """

    __slots__ = ("bytes",)

    def __init__(self) -> None:
        self.bytes = 0


class Share:
    """The bytes of one holder, for example a direction of a tunnel. @param account: of the service."""

    __slots__ = ("_account", "bytes")

    def __init__(self, account: BufferAccount) -> None:
        self._account = account
        self.bytes = 0

    def holds(self, count: int) -> None:
        """Set the holder's current number of bytes."""
        self._account.bytes += count - self.bytes
        self.bytes = count
