"""The secret of requests that change something, in a file."""

from __future__ import annotations

import os
import stat

MAX_BYTES = 4096

MIN_CHARS = 16


class BadTokenFile(ValueError):
    """The file has no usable token; the message says why, with the cure, and nothing of what is in it."""


def read_token(path: str) -> bytes:
    """Read a token file: one line of printable ASCII; white space around it is left out.

    @raise BadToken: it cannot be read, other users may read it, or it holds no token.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(MAX_BYTES + 1).strip()
    except OSError as error:
        raise BadTokenFile(f"it cannot be read: {error.strerror}") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise BadTokenFile("other users can read or write it; chmod 600 it (Kubernetes: defaultMode: 0440)")
    if len(token) < MIN_CHARS:
        raise BadTokenFile(f"its token is shorter than {MIN_CHARS} characters; make one with openssl rand -hex 32")
    if len(token) > MAX_BYTES or not all(0x21 <= byte <= 0x7E for byte in token):
        raise BadTokenFile("it is not one line of printable ASCII without spaces; make one with openssl rand -hex 32")
    return token
