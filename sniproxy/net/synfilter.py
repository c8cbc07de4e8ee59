"""Makes a listening socket ignore new clients, so that it can be closed once its accept queue is empty."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27  # asm-generic/socket.h

_FLAGS, _SYN, _SYN_ACK = 13, 0x02, 0x12  # RFC 9293, section 3.1

_PROGRAM = (
    (0x30, 0, 0, _FLAGS),  # ldb [13]: the packet begins with the TCP header
    (0x54, 0, 0, _SYN_ACK),  # and
    (0x15, 0, 1, _SYN),  # jeq SYN
    (0x06, 0, 0, 0),  # ret: drop
    (0x06, 0, 0, 0xFFFFFFFF),  # ret: keep the whole packet
)
"""Classic BPF (linux/filter.h), which needs no privilege."""

_INSTRUCTIONS = b"".join(struct.pack("HBBI", *instruction) for instruction in _PROGRAM)


def ignore_new(sock: socket.socket) -> None:
    """Drop the SYN of new clients, and let handshakes in progress complete.

    A client repeats its SYN after 1 s (RFC 6298, section 2). By then this socket may be closed: another process on the
    port (C{SO_REUSEPORT}) then accepts the client, or the kernel refuses it. A C{unix} socket refuses new clients at
    once. Does nothing on systems other than Linux and on kernels without socket filters.
    """
    try:
        if sock.family == socket.AF_UNIX:
            sock.shutdown(socket.SHUT_RD)
        elif sys.platform == "linux":
            code = ctypes.create_string_buffer(_INSTRUCTIONS, len(_INSTRUCTIONS))
            program = struct.pack("HP", len(_PROGRAM), ctypes.addressof(code))
            sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:
        pass


def welcome_new(sock: socket.socket) -> None:
    """Undo L{ignore_new} for TCP, also on an accepted connection that inherited the filter."""
    try:
        if sys.platform == "linux" and sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.ENOPROTOOPT):  # no filter
            raise
