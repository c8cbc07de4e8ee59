"""The formats of configurations that can be read or written. Pure."""

from __future__ import annotations

from enum import StrEnum


class Format(StrEnum):
    """The programs whose configuration can be imported."""

    ATS = "ats"
    HAPROXY = "haproxy"
    NGINX = "nginx"
    SNIPROXY = "sniproxy"
    ENVOY = "envoy"
    TLSROUTE = "tlsroute"


WRITERS = ("haproxy", "nginx", "envoy", "tlsroute")
"""The formats that can be written."""
