"""Reads PEM files and folders of them, with the same errors for every part of the proxy."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from sniproxy.tls.pem import BadPem, certificates
from sniproxy.util.text import bounded

SUFFIXES = (".pem", ".crt", ".cer", ".key")
"""Files with these suffixes are read from a folder."""


def read(path: str | Path, what: str = "") -> list[tuple[str, bytes]]:
    """The content of a file, or of a folder's certificate and key files, each with its place for messages.

    @param what: see L{place_of}.
    @raise BadPem: a file is missing or unreadable.
    """
    if not os.path.isdir(path):
        return [(place_of(what, path), read_file(path, what))]
    try:
        files = [os.path.join(path, name) for name in sorted(os.listdir(path)) if name.endswith(SUFFIXES)]
    except OSError as error:
        raise _unreadable(path, what, error) from error
    return [(place_of(what, file), read_file(file, what)) for file in files if os.path.isfile(file)]


def read_file(path: str | Path, what: str = "") -> bytes:
    """The content of one file. @raise BadPem: it is missing or unreadable."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise _unreadable(path, what, error) from error


def trusted(path: str | Path, what: str = "") -> list[x509.Certificate]:
    """The certificates to trust: of authorities, roots or not, or of the peers themselves.

    Private keys and text between the certificates are ignored.

    @param path: a PEM file, or a folder of them.
    @param what: see L{place_of}.
    @raise BadPem: a file is unreadable, there is no certificate, or all have expired.
    """
    found = [each for place, text in read(path, what) for each in certificates(place, text)]
    if not found:
        kind = "*.pem, *.crt or *.cer file with a certificate" if os.path.isdir(path) else "PEM certificate"
        raise BadPem(f"{place_of(what, path)}: no {kind} found; name the authority's certificate, as in ca.pem")
    last = max(each.not_valid_after_utc for each in found)
    if last < datetime.now(UTC):
        subject = "the certificate" if len(found) == 1 else "all certificates"
        cure = "name the authority's current certificate"
        raise BadPem(f"{place_of(what, path)}: {subject} expired on {last:%Y-%m-%d %H:%M} UTC; {cure}")
    return found


def place_of(what: str, path: str | Path) -> str:
    """How a message names a file. @param what: the option that names the path. Empty: only the path is shown."""
    name = bounded(str(path))
    return f"{what} {name!r}" if what else name


def _unreadable(path: str | Path, what: str, error: OSError) -> BadPem:
    why = error.strerror or "no file"
    return BadPem(f"{place_of(what, path)}: cannot read: {why}; name a readable PEM file")
