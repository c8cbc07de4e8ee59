"""The contract of the relay (L{sniproxy.relay.relay}) as a small model: two half-connections, and what ends them.

Each tunnel of a world is checked against it. A half-connection carries bytes from a source to a destination. It is
open, then ended (the source's FIN has reached the destination behind all bytes). The tunnel is open until its record;
from then on the proxy may end either side. Pure.
"""

from __future__ import annotations

from sniproxy.events import Result

IN_ORDER = frozenset({Result.IDLE_TIMEOUT, Result.DRAINED, Result.SHUTDOWN, Result.LIMIT, Result.INTERNAL_ERROR})
"""Results with which the proxy ends both sides in order, before the peers have ended."""

_SHOWN = 16


class BrokenContract(Exception):
    """The relay did what its contract excludes."""


class Half:
    """One half-connection. @ivar sent: all bytes of the source. @ivar arrived: how many have reached the destination.

    @ivar source_ended: the source has sent its FIN. @ivar source_broke: why the source's connection was lost, or empty.
    @ivar ended: the destination has received the FIN.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = bytearray()
        self.arrived = 0
        self.source_ended = False
        self.source_broke = ""
        self.ended = False

    def deliver(self, data: bytes) -> None:
        """Bytes reach the destination. @raise BrokenContract: they are not the next ones, or come behind the FIN."""
        if self.ended:
            raise BrokenContract(f"{self.name}: {len(data)} bytes behind the end")
        wanted = bytes(self.sent[self.arrived : self.arrived + len(data)])
        if wanted != data:
            raise BrokenContract(
                f"{self.name}: after {self.arrived} bytes came {data[:_SHOWN].hex()}... ({len(data)} bytes), "
                f"sent were {wanted[:_SHOWN].hex()}... ({len(self.sent)} bytes)"
            )
        self.arrived += len(data)

    @property
    def whole(self) -> bool:
        """Whether all bytes of a source that has ended have arrived."""
        return self.source_ended and self.arrived == len(self.sent)


class TunnelModel:
    """One tunnel. @ivar up: from the client to the target. @ivar down: from the target to the client.

    @ivar result: of the record. None: the tunnel is open.
    """

    def __init__(self, name: str) -> None:
        self.up = Half(f"{name}, client to target")
        self.down = Half(f"{name}, target to client")
        self.result: Result | None = None
        self.broken_call = False
        self.destination_broke = False

    def deliver_end(self, half: Half) -> None:
        """The FIN of a half-connection reaches its destination."""
        half.ended = True
        if not half.whole and self.result not in IN_ORDER:
            self._fail(half, f"the end came after {half.arrived} of {len(half.sent)} bytes, and {self._source(half)}")

    def deliver_reset(self, half: Half) -> None:
        """The destination of a half-connection receives a reset."""
        if self.result is None:
            self._fail(half, "a reset came while the tunnel was open")
        if self.result is Result.OK and not self.destination_broke:
            self._fail(half, "a reset came although both sides had ended")

    def finish(self, result: Result, bytes_up: int, bytes_down: int) -> None:
        """The record of the tunnel."""
        if self.result is not None:
            raise BrokenContract(f"{self.up.name}: a second record: {result} after {self.result}")
        self.result = result
        for half, count in ((self.up, bytes_up), (self.down, bytes_down)):
            if not half.arrived <= count <= len(half.sent):
                self._fail(
                    half, f"the record has {count} bytes, {half.arrived} have arrived, {len(half.sent)} were sent"
                )
            if result is Result.OK and not (half.source_ended and count == len(half.sent)):
                self._fail(half, f"ok with {count} of {len(half.sent)} bytes, and {self._source(half)}")
        if result is Result.RESET and not (self.up.source_broke or self.down.source_broke or self.broken_call):
            self._fail(self.up, "the record says reset, but no peer has reset or vanished, and no call has failed")

    @staticmethod
    def _source(half: Half) -> str:
        if half.source_broke:
            return f"the source {half.source_broke}"
        return "the source had ended" if half.source_ended else "the source had not ended"

    @staticmethod
    def _fail(half: Half, why: str) -> None:
        raise BrokenContract(f"{half.name}: {why}")
