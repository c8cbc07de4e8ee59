"""Drops CAP_BPF and CAP_NET_ADMIN with capset(2) once the program is loaded.

Adding sockets to the maps needs the maps' descriptors and no capability.
"""

from __future__ import annotations

import ctypes
import os
import struct

from twisted.logger import Logger

log = Logger()

CAP_NET_ADMIN, CAP_BPF = 12, 39
"""Bit numbers in linux/capability.h."""

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3


def effective() -> int:
    """The effective capabilities of this thread, as a bit mask. @raise OSError: the system has no capabilities."""
    return _get()[0]


def drop(*capabilities: int) -> bool:
    """Drop capabilities for good, in this thread and in the threads and processes that it starts from now on.

    @return: whether the thread had one of them.
    @raise OSError: the kernel's error.
    """
    bits = 0
    for each in capabilities:
        bits |= 1 << each
    sets = _get()
    if not any(each & bits for each in sets):
        return False
    _set([each & ~bits for each in sets])
    return True


def drop_loading_capabilities() -> None:
    """Drop the capabilities that loading the program needed. An error is logged, and the proxy continues with them."""
    try:
        if drop(CAP_NET_ADMIN, CAP_BPF):
            log.info("dropped CAP_NET_ADMIN and CAP_BPF")
    except OSError as error:
        log.warn("cannot drop CAP_NET_ADMIN and CAP_BPF: {why}", why=str(error))


def _get() -> list[int]:
    """The effective, permitted and inheritable sets, as bit masks."""
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
