"""Remembers the layouts of well-formed hellos, so that the next hello of the same layout takes less work. Pure.

A layout is what the structure of a ClientHello message consists of: its length, the lengths of its four vectors, and
the kind and length of each extension (RFC 8446, section 4.1.2). Two messages that agree in these are both well-formed,
up to the bodies of their extensions, or both malformed for the same reason. Clients of one kind that ask for names of
one length send the same layout; what differs between two connections is in the bodies.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

SERVER_NAME, ALPN, SUPPORTED_VERSIONS = 0, 16, 43
"""The extensions whose bodies the proxy parses."""

MAX_LAYOUTS = 64
"""Layouts that are remembered. If there are more, the one that was learned first is forgotten."""

MAX_OF_ONE_LENGTH = 6
"""Layouts of one length, at most: each is compared. Clients pad hellos (RFC 7685), so names of several lengths are in
hellos of one length."""

MAX_EXTENSIONS = 40
"""A hello with more extensions is not remembered. Clients send up to 20."""

LEARN_EVERY = 8
"""Hellos of unknown layouts for each one that is learned. This bounds the cost of a client that changes the layout with
each hello (RFC 8701, or an attack)."""

_two_numbers = struct.Struct(">HH").unpack_from

Bodies = tuple[slice | None, slice | None, slice | None]
"""Where the bodies of C{server_name}, C{ALPN} and C{supported_versions} are in a message. None: it has none."""

_Layout = tuple[Callable[[bytes], tuple[int, ...]], tuple[int, ...], Bodies]
"""Reads the lengths and kinds of a message; what they must be; the bodies."""


class LayoutCache:
    """The known layouts. @param most: bytes of an extension that is parsed; a hello with a longer one is not learned.

    @param learn_every: see L{LEARN_EVERY}.
    """

    def __init__(self, most: int, learn_every: int = LEARN_EVERY) -> None:
        self._most = most
        self._every = learn_every
        self._unknown = 0
        self._by_length: dict[int, list[_Layout]] = {}
        self._lengths: list[int] = []  # of each layout, in the order in which they were learned

    def __len__(self) -> int:
        return len(self._lengths)

    def find(self, message: bytes) -> Bodies | None:
        """The bodies of a message of a known layout; then nothing else in it needs a check. None: it is unknown."""
        for read, expected, bodies in self._by_length.get(len(message), ()):
            if read(message) == expected:
                return bodies
        return None

    def learn(self, message: bytes) -> None:
        """Remember the layout of one in C{learn_every} messages.

        @param message: well-formed, and L{find} does not know it.
        """
        self._unknown += 1
        if self._unknown % self._every:
            return
        layout = _layout(message, self._most)
        if layout is None:
            return
        same = self._by_length.setdefault(len(message), [])
        if len(same) == MAX_OF_ONE_LENGTH:
            del same[0]
            self._lengths.remove(len(message))
        elif len(self._lengths) == MAX_LAYOUTS:
            self._forget_oldest()
            same = self._by_length.setdefault(len(message), [])
        same.append(layout)
        self._lengths.append(len(message))

    def _forget_oldest(self) -> None:
        length = self._lengths.pop(0)
        del self._by_length[length][0]
        if not self._by_length[length]:
            del self._by_length[length]


def _layout(message: bytes, most: int) -> _Layout | None:
    """The layout of a well-formed message. None: it has no extensions, too many, or a body that is too long."""
    form, expected, at = [">38x"], [], 38  # behind the version and the random
    for code, size in (("B", 1), ("H", 2), ("B", 1)):  # session id, cipher suites, compression methods
        length = int.from_bytes(message[at : at + size], "big")
        form.append(f"{code}{length}x")
        expected.append(length)
        at += size + length
    if at == len(message):
        return None
    form.append("H")
    expected.append(message[at] << 8 | message[at + 1])
    at += 2
    bodies: dict[int, slice] = {}
    while at < len(message):
        if len(bodies) == MAX_EXTENSIONS:
            return None
        kind, length = _two_numbers(message, at)
        form.append(f"HH{length}x")
        expected += (kind, length)
        at += 4 + length
        bodies[kind] = slice(at - length, at)
        if kind in (SERVER_NAME, ALPN, SUPPORTED_VERSIONS) and length > most:
            return None
    read = struct.Struct("".join(form)).unpack
    return read, tuple(expected), (bodies.get(SERVER_NAME), bodies.get(ALPN), bodies.get(SUPPORTED_VERSIONS))
