"""Recorded captures, and helpers that read captures."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from sniproxy.inspector.capture.files import CaptureReader
from sniproxy.inspector.capture.reading import CaptureEvents
from sniproxy.pulsar.events import Event
from tests.inspector.capture.building import (
    Captured,
)

CAPTURES = Path(__file__).parent.parent.parent / "data" / "captures"


def recorded(name: str) -> bytes:
    """A recorded capture (tests/data/captures)."""
    return (CAPTURES / f"{name}.pcap").read_bytes()


def packets(name: str) -> list[Captured]:
    """Its packets, from the IP header on."""
    return [Captured(record.time, record.data[14:]) for record in CaptureReader(BytesIO(recorded(name)))]


def framed_packets(name: str) -> list[Captured]:
    """Its packets, with their Ethernet headers."""
    return [Captured(record.time, record.data) for record in CaptureReader(BytesIO(recorded(name)))]


def reading(data: bytes, *ports: int) -> tuple[list[Event], CaptureEvents]:
    """All events in a capture, and its reader."""
    capture = CaptureEvents(BytesIO(data), ports)
    return [*capture, *capture.finish()], capture
