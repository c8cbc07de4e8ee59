"""Calls the system's resolver (getaddrinfo, RFC 3493 section 6.1) and classifies its failures."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections.abc import Callable
from enum import Enum

_QUICK_S = 1.0
"""Seconds. The system's resolver waits at least this long for a silent name server (resolv.conf(5))."""


class Cause(Enum):
    """Why a name has no addresses. The value is the label of the metric."""

    NO_NAME = "no_name"
    NO_ADDRESS = "no_address"
    SERVER_FAILED = "server_failed"
    NO_ANSWER = "no_answer"
    NO_FILES = "no_files"
    NO_THREAD = "no_thread"
    LIMIT = "limit"
    SYSTEM = "system"


class LookupFailed(Exception):
    """A lookup failed; the message gives the reason. @ivar cause: see L{Cause}."""

    def __init__(self, cause: Cause, text: str) -> None:
        super().__init__(text)
        self.cause = cause


def system_addresses(host: str, clock: Callable[[], float] = time.monotonic) -> list[str] | LookupFailed:
    """Resolve a name. Blocks the calling thread. @param clock: returns seconds."""
    began = clock()
    try:
        found = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        return _why(error.errno or 0, clock() - began)
    except OSError as error:
        return _system(error)
    except UnicodeError:
        return LookupFailed(Cause.NO_NAME, "no such host name: it is not valid in the DNS")
    addresses = list(dict.fromkeys(str(address[0]) for *_, address in found))
    return addresses or LookupFailed(Cause.NO_ADDRESS, "the name has no address")


def no_answer(seconds: float) -> str:
    """The message for name servers that do not answer."""
    return f"no name server answered within {seconds:.3g} s"


def _why(number: int, took: float) -> LookupFailed:
    """@param number: an EAI error. @param took: seconds that the call took."""
    # Without a free descriptor the system's resolver cannot query, and reports the name as unknown.
    try:
        socket.socket().close()
    except OSError as error:
        return _system(error)
    if number == socket.EAI_NONAME:
        return LookupFailed(Cause.NO_NAME, "no such host name")
    if number in (getattr(socket, "EAI_NODATA", None), getattr(socket, "EAI_ADDRFAMILY", None)):
        return LookupFailed(Cause.NO_ADDRESS, "the name has no address of IPv4 or IPv6")
    if number == socket.EAI_AGAIN and took >= _QUICK_S:
        return LookupFailed(Cause.NO_ANSWER, no_answer(took))
    if number == socket.EAI_AGAIN:
        return LookupFailed(Cause.SERVER_FAILED, "the name servers failed or refused the query")
    if number == socket.EAI_FAIL:
        return LookupFailed(Cause.SERVER_FAILED, "the name servers refused the query")
    if number == socket.EAI_MEMORY:
        return LookupFailed(Cause.SYSTEM, "the system's resolver is out of memory")
    return LookupFailed(Cause.SYSTEM, f"the system's resolver failed (getaddrinfo error {number})")


def _system(error: OSError) -> LookupFailed:
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return LookupFailed(Cause.NO_FILES, "too many open files: cannot look up the name")
    return LookupFailed(Cause.SYSTEM, f"cannot look up the name: {os.strerror(error.errno or errno.EIO)}")
