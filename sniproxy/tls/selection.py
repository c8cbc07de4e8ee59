"""Selects the certificate for a server name. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sniproxy.tls.pem import Certified, certificate_names


def covers(pattern: str, name: str) -> bool:
    """Whether a name in a certificate matches a server name (RFC 9525, section 6.3).

    A wildcard is the whole leftmost label and matches exactly one label.
    """
    if pattern.startswith("*."):
        first, dot, rest = name.partition(".")
        return bool(first and dot) and rest == pattern[2:]
    return pattern == name


def choose(shown: Sequence[Certified], name: str, now: datetime) -> Certified | None:
    """The certificate for a server name. None: no certificate matches.

    Certificates that are valid now are preferred, then exact names over wildcards, then the latest issued, so that a
    renewed certificate is used at once.

    @param name: normalised. @param now: with a time zone.
    """

    def rank(certified: Certified) -> tuple[bool, bool, datetime]:
        own = certified.chain[0]
        valid = own.not_valid_before_utc <= now < own.not_valid_after_utc
        return valid, name in certificate_names(own), own.not_valid_before_utc

    good = [each for each in shown if any(covers(pattern, name) for pattern in certificate_names(each.chain[0]))]
    return max(good, key=rank, default=None)
