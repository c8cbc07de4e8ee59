"""Whom a TLS client trusts: the certificates of a PEM file or folder, with the same checks for every client."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509

from sniproxy.tls.pem import BadPem, certificates
from sniproxy.tls.reloaded import read
from sniproxy.util.files import CannotRead
from sniproxy.util.text import bounded


def trusted(path: str | Path, what: str = "") -> list[x509.Certificate]:
    """The certificates that end a chain: those of authorities, roots or not, or of peers themselves.

    Private keys and text between the certificates are passed over.

    @param path: a PEM file, or a folder of them.
    @param what: what a message calls the path. Empty: the message begins with the path.
    @raise BadPem: a file cannot be read, there is no certificate, or all have expired.
    """
    try:
        texts = read(str(path))
    except CannotRead as error:
        why = getattr(error.__cause__, "strerror", None) or "no file"
        raise BadPem(f"{shown(what, path)}: cannot read: {why}; name a readable PEM file") from error
    found = [each for file, text in texts for each in certificates(shown(what, file), text)]
    if not found:
        kind = "*.pem, *.crt or *.cer file with a certificate" if os.path.isdir(path) else "PEM certificate"
        raise BadPem(f"{shown(what, path)}: no {kind} found; name the authority's certificate, as in ca.pem")
    last = max(each.not_valid_after_utc for each in found)
    if last < datetime.now(UTC):
        subject = "the certificate" if len(found) == 1 else "all certificates"
        cure = "name the authority's current certificate"
        raise BadPem(f"{shown(what, path)}: {subject} expired on {last:%Y-%m-%d %H:%M} UTC; {cure}")
    return found


def shown(what: str, path: str | Path) -> str:
    """How a message names a file."""
    name = bounded(str(path))
    return f"{what} {name!r}" if what else name
