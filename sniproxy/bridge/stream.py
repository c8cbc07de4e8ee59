"""Finds the frames of a broker that are rewritten; all other bytes pass unchanged. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection

from sniproxy.pulsar.commands import CommandError, number_name, opening, type_of
from sniproxy.pulsar.frames import MAX_FRAME_BYTES, FrameError

MAX_COMMAND_BYTES = 1 << 20
"""Largest frame in bytes that is rewritten. These commands are small; a larger one is an error."""

_HEAD = struct.Struct(">II")
_SIZES = 8
_TYPE = 0x08  # protobuf's tag of BaseCommand.type, which every broker writes first

Rewrite = Callable[[int, bytes], bytes]
"""Receives the type and the bytes of a complete frame, and returns the bytes that replace it."""


class BrokerStream:
    """One direction of one connection.

    @param types: of commands that are rewritten. None of these has a payload.
    @param rewrite: see L{Rewrite}.
    @ivar limit: the largest frame in bytes, with its first four. It may be set at any time.
    """

    def __init__(self, types: Collection[int], rewrite: Rewrite, limit: int = MAX_FRAME_BYTES) -> None:
        self.limit = limit
        self._types = frozenset(types)
        self._rewrite = rewrite
        self._held = bytearray()
        self._wanted = 0  # bytes to hold before the next step
        self._skip = 0
        self._waiting: list[bytes] = []

    @property
    def rest(self) -> bytes:
        """The bytes that are held: the beginning of a frame."""
        return bytes(self._held)

    @property
    def held(self) -> int:
        """The number of bytes that are held."""
        return len(self._held)

    def feed(self, data: bytes) -> bytes:
        """Take the next bytes. @return: the bytes to send now.

        @raise FrameError: they are no Pulsar frames. The connection must be ended: bytes before them are lost.
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
                passed += [data[begin:at], self._rewrite(kind, data[at : at + size])]
                at = begin = at + size
                continue
        if not passed and begin == 0 and at == len(data):
            return data
        passed.append(data[begin:at])
        return b"".join(passed)

    def put(self, frame: bytes) -> bytes:
        """Insert a frame where the next frame begins.

        @return: the frame, if that is now. Empty: a later L{feed} returns it.
        """
        if not self._skip:
            return frame
        self._waiting.append(frame)
        return b""

    def _pass_over(self, data: bytes, at: int) -> int:
        """The offset after the frames, from this one on, that pass unchanged. A read may have a thousand small ones."""
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
        """The type and the size of the frame at this offset; or None, and the number of bytes needed to know them.

        @raise FrameError: it is no frame, or protobuf reads another type than its first bytes have.
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
    """@raise FrameError: protobuf reads another type than the first bytes have, or none."""
    try:
        kind = type_of(command)
    except CommandError as error:
        raise FrameError(str(error)) from error
    if kind != quick:
        raise FrameError(f"a {number_name(kind)} that does not begin with its type")
