"""The keys ``relay`` and ``relay_threads`` of a configuration. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from sniproxy.config.schema import MakeError

RELAYS = ("auto", "engine", "python")
"""Values of ``relay``. L{sniproxy.relay.selector} gives them their meaning."""

MAX_RELAY_THREADS = 64
"""Relay threads of a process; one is enough for 10 Gbit/s."""


def check_relay(relay: str, threads: int, error: MakeError) -> None:
    """@raise ConfigError: a value is wrong."""
    if relay == "kernel":
        cure = 'the kernel relay is gone; write "engine", which needs no capabilities, or remove the line'
        raise error("relay", relay, cure)
    if relay not in RELAYS:
        raise error("relay", relay, 'write "auto", "engine" or "python"')
    if not 1 <= threads <= MAX_RELAY_THREADS:
        cure = f"must be a number of threads from 1 to {MAX_RELAY_THREADS}; 1 is enough for most"
        raise error("relay_threads", threads, cure)


def relay_notes(data: Mapping[str, Any]) -> Iterator[str]:
    """Warnings. @param data: the file's top level."""
    if "relay_threads" in data and data.get("relay") == "python":
        yield 'relay_threads has no effect: relay = "python" has no threads; remove one of the two'
