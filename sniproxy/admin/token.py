"""Reads the token that requests over TCP need to change state."""

from __future__ import annotations

import os
import stat

MAX_BYTES = 4096

MIN_CHARS = 16


class BadTokenFile(ValueError):
    """The file has no valid token; the message has the reason and the cure, but nothing of the content."""


def read_token(path: str) -> bytes:
    """Read a token file: one line of printable ASCII. Leading and trailing white space is ignored.

    @raise BadTokenFile: the file cannot be read, other users can access it, or it has no valid token.
    """
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            token = file.read(MAX_BYTES + 1).strip()
    except OSError as error:
        raise BadTokenFile(f"cannot read the file: {error.strerror}") from error
    if mode & (stat.S_IROTH | stat.S_IWOTH):
        raise BadTokenFile("other users can read or write the file; run chmod 600 (Kubernetes: defaultMode: 0440)")
    if len(token) < MIN_CHARS:
        raise BadTokenFile(f"the token is shorter than {MIN_CHARS} characters; create one with openssl rand -hex 32")
    if len(token) > MAX_BYTES or not all(0x21 <= byte <= 0x7E for byte in token):
        raise BadTokenFile(
            "the token must be one line of printable ASCII without spaces; create one with openssl rand -hex 32"
        )
    return token
