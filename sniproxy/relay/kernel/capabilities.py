"""Gives up what was needed to load the program: CAP_BPF and CAP_NET_ADMIN, by capset(2).

Putting sockets into the maps needs the maps' descriptors and no capability.
"""

from __future__ import annotations

import ctypes
import os
import struct

from twisted.logger import Logger

log = Logger()

CAP_NET_ADMIN, CAP_BPF = 12, 39
"""Bits of linux/capability.h."""

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3


def held() -> int:
    """The bits that this thread may use. @raise OSError: the system has no such thing."""
    return _get()[0]


def give_up(*capabilities: int) -> bool:
    """For good, in this thread and all that it starts from now on.

    @return: one of them was there.
    @raise OSError: the kernel's.
    """
    bits = 0
    for each in capabilities:
        bits |= 1 << each
    sets = _get()
    if not any(each & bits for each in sets):
        return False
    _set([each & ~bits for each in sets])
    return True


def give_up_what_loading_needs() -> None:
    """The two that the program and its maps needed. A fault is told in the log, and changes nothing."""
    try:
        if give_up(CAP_NET_ADMIN, CAP_BPF):
            log.info("dropped CAP_NET_ADMIN and CAP_BPF")
    except OSError as error:
        log.warn("cannot drop CAP_NET_ADMIN and CAP_BPF: {why}", why=str(error))


def _get() -> list[int]:
    """Effective, permitted, inheritable."""
    data = ctypes.create_string_buffer(24)
    _call("capget", data)
    low = struct.unpack("=6I", data.raw)
    return [low[n] | low[n + 3] << 32 for n in range(3)]


def _set(sets: list[int]) -> None:
    parts = [each & 0xFFFFFFFF for each in sets] + [each >> 32 for each in sets]
    _call("capset", ctypes.create_string_buffer(struct.pack("=6I", *parts), 24))


def _call(name: str, data: ctypes.Array[ctypes.c_char]) -> None:
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        raise OSError(f"this system has no {name}(2)")
    if function(ctypes.create_string_buffer(struct.pack("=Ii", _VERSION, 0), 8), data):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
