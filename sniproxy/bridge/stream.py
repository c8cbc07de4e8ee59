"""Walk a broker's frames, and take out those few that are rewritten; everything else passes as it comes. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection

from sniproxy.pulsar.commands import CommandError, number_name, opening, type_of
from sniproxy.pulsar.frames import MAX_FRAME_BYTES, FrameError

MAX_COMMAND_BYTES = 1 << 20
"""Bytes of a frame that is taken out. Commands that are rewritten are small; a larger one is refused."""

_HEAD = struct.Struct(">II")
_SIZES = 8
_TYPE = 0x08  # protobuf's tag of BaseCommand.type, which every broker writes first

Taken = Callable[[int, bytes], bytes]
"""What passes in place of a whole frame of this type; empty: nothing, for now or for ever."""


class BrokerStream:
    """One direction of one connection.

    @param types: of commands that are taken out. Only simple frames are: none of these has a payload.
    @param taken: see L{Taken}.
    @ivar limit: the largest frame in bytes, its first four included. It may be set at any time.
    """

    def __init__(self, types: Collection[int], taken: Taken, limit: int = MAX_FRAME_BYTES) -> None:
        self.limit = limit
        self._types = frozenset(types)
        self._taken = taken
        self._held = bytearray()
        self._wanted = 0  # bytes that must be held before anything can be said
        self._skip = 0
        self._waiting: list[bytes] = []

    @property
    def rest(self) -> bytes:
        """The beginning of a frame that did not come whole."""
        return bytes(self._held)

    @property
    def held(self) -> int:
        """Bytes of that."""
        return len(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes; returns those that pass on now.

        @raise FrameError: they are no Pulsar frames. What came before is lost: the connection is to be ended.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._wanted:
                return b""
            data, self._held = bytes(self._held), bytearray()
        passed: list[bytes] = []
        at = begin = 0
        while True:
            step = min(self._skip, len(data) - at)
            at += step
            self._skip -= step
            if self._skip:
                break
            if self._waiting:
                passed += [data[begin:at], *self._waiting]
                self._waiting, begin = [], at
            at = self._pass_over(data, at)
            if at >= len(data):
                self._skip, at = at - len(data), len(data)
                break
            kind, size = self._head(data, at)
            if kind is None:
                self._hold(data, at, size)
                break
            if kind not in self._types:
                self._skip = size
            elif at + size > len(data):
                self._hold(data, at, size)
                break
            else:
                passed += [data[begin:at], self._taken(kind, data[at : at + size])]
                at = begin = at + size
                continue
        if not passed and begin == 0 and at == len(data):
            return data
        passed.append(data[begin:at])
        return b"".join(passed)

    def put(self, frame: bytes) -> bytes:
        """Put a frame of our own into the stream: where the next frame begins.

        @return: it, when that is now; empty: it comes with the bytes of a later L{feed}.
        """
        if not self._skip:
            return frame
        self._waiting.append(frame)
        return b""

    def _pass_over(self, data: bytes, at: int) -> int:
        """The offset behind all frames from this one on that pass for sure: a read may have a thousand small ones."""
        most, last, types, unpack = self.limit - 4, len(data) - _SIZES - 2, self._types, _HEAD.unpack_from
        while at <= last:
            size, command = unpack(data, at)
            kind = data[at + 9]
            if size > most or command > size - 4 or kind in types:
                break
            known = opening(kind, command)
            if known is None or not data.startswith(known, at + _SIZES):
                break
            at += size + 4
        return at

    def _hold(self, data: bytes, at: int, size: int) -> None:
        self._held = bytearray(data[at:])
        self._wanted = size

    def _head(self, data: bytes, at: int) -> tuple[int | None, int]:
        """The type and the size of the frame at this offset; or None, and how many bytes are needed to tell.

        @raise FrameError: it is no frame, or its type is not the one that its first bytes say to every reader.
        """
        have = len(data) - at
        if have < _SIZES:
            return None, _SIZES
        size, command = _HEAD.unpack_from(data, at)
        if size + 4 > self.limit:
            raise FrameError(f"a frame of {size + 4} bytes, over the limit of {self.limit}")
        if command + 4 > size:
            raise FrameError(f"a command of {command} bytes in a frame of {size + 4}")
        if command < 2:
            raise FrameError("a command without a type")
        if have < _SIZES + 2:
            return None, _SIZES + 2
        start = at + _SIZES
        kind = data[start + 1] if data[start] == _TYPE else 0
        known = opening(kind, command)
        if known is None or not known.startswith(data[start : start + len(known)]):
            if command > MAX_COMMAND_BYTES:
                raise FrameError(f"a command of {command} bytes that does not begin with its type and one field")
            if have < _SIZES + command:
                return None, _SIZES + command
            _check_type(kind, data[start : start + command])
        elif have < _SIZES + len(known):
            return None, _SIZES + len(known)
        if kind in self._types:
            if size + 4 > MAX_COMMAND_BYTES:
                raise FrameError(f"a command of {size + 4} bytes, where at most {MAX_COMMAND_BYTES} are taken")
            if command + 4 != size:
                raise FrameError(f"{size - 4 - command} bytes behind a {number_name(kind)}, which has no payload")
        return kind, size + 4


def _check_type(quick: int, command: bytes) -> None:
    """@raise FrameError: protobuf reads another type than the first bytes say, or none."""
    try:
        kind = type_of(command)
    except CommandError as error:
        raise FrameError(str(error)) from error
    if kind != quick:
        raise FrameError(f"a {number_name(kind)} that does not begin with its type")
