"""bpf(2) through ctypes: creates and fills maps, loads and attaches the program. Linux on x86-64 only."""

from __future__ import annotations

import ctypes
import os
import platform
import struct

MACHINE = "x86_64"
"""The only supported machine. The process reads memory that the kernel writes, and Python has no memory barriers. Other
machines may reorder such reads (see L{sniproxy.relay.kernel.ring})."""

_NUMBER = 321
"""System call number of bpf(2) on x86-64. libc has no function for it."""

_CREATE, _LOOKUP, _UPDATE, _DELETE, _LOAD, _ATTACH = 0, 1, 2, 3, 5, 8  # enum bpf_cmd of linux/bpf.h
HASH, ARRAY, SOCKETS, RING = 1, 2, 15, 27  # enum bpf_map_type
_SK_SKB = 14  # enum bpf_prog_type: runs for segments that arrive on the sockets of a map
_VERDICT = 38  # enum bpf_attach_type: BPF_SK_SKB_VERDICT
GROWING, MAPPED = 1 << 0, 1 << 10  # BPF_F_NO_PREALLOC, BPF_F_MMAPABLE
_ATTRIBUTE = 120
_LOG = 1 << 20  # bytes for the verifier's log; a log that does not fit makes the load fail


def _call(command: int, attribute: bytes) -> int:
    """@raise OSError: the kernel's error."""
    if platform.machine() != MACHINE or platform.system() != "Linux":
        raise OSError(f"bpf(2) is not supported on {platform.system()} {platform.machine()}")
    block = ctypes.create_string_buffer(attribute, _ATTRIBUTE)
    result: int = _libc().syscall(_NUMBER, command, block, _ATTRIBUTE)
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def create_map(kind: int, key: int, value: int, entries: int, flags: int = 0) -> int:
    """@param key: bytes. @param value: bytes. @return: the map's descriptor. @raise OSError: the kernel's error."""
    return _call(_CREATE, struct.pack("<IIIII", kind, key, value, entries, flags))


def update(descriptor: int, key: bytes, value: bytes) -> None:
    """Set an entry of a map. @raise OSError: the kernel's error."""
    place, content = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value, len(value))
    addresses = ctypes.addressof(place), ctypes.addressof(content)
    _call(_UPDATE, struct.pack("<IIQQQ", descriptor, 0, *addresses, 0))


def delete(descriptor: int, key: bytes) -> None:
    """Delete an entry of a map. @raise OSError: the kernel's error, also if there is no such entry."""
    place = ctypes.create_string_buffer(key, len(key))
    _call(_DELETE, struct.pack("<IIQ", descriptor, 0, ctypes.addressof(place)))


def load_program(code: bytes) -> int:
    """Load a program of type SK_SKB.

    @return: the program's descriptor.
    @raise OSError: the kernel's error; if the verifier rejects the program, with the last lines of its log.
    """
    program, terms, verifier_log = (
        ctypes.create_string_buffer(code, len(code)),
        ctypes.create_string_buffer(b"Apache-2.0"),  # this project's
        ctypes.create_string_buffer(_LOG),
    )
    attribute = struct.pack(
        "<IIQQIIQ",
        _SK_SKB,
        len(code) // 8,
        ctypes.addressof(program),
        ctypes.addressof(terms),
        1,
        _LOG,
        ctypes.addressof(verifier_log),
    )
    try:
        return _call(_LOAD, attribute)
    except OSError as error:
        lines = [line for line in verifier_log.value.decode("ascii", "replace").splitlines() if line.strip()]
        why = f"{error.strerror}: {lines[-2:]}" if lines else error.strerror
        raise OSError(error.errno, why) from error


def attach(sockets: int, program: int) -> None:
    """Run a program for each segment that arrives on the sockets of a map. @raise OSError: the kernel's error."""
    _call(_ATTACH, struct.pack("<IIII", sockets, program, _VERDICT, 0))
