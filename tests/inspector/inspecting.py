"""Events of recorded streams, for tests."""

from __future__ import annotations

from sniproxy.inspector.inspection import Inspection
from sniproxy.pulsar.events import Event
from tests.pulsar import streams


def inspect(name: str, step: int | None = None) -> list[Event]:
    """The events of a recorded connection, its segments split into pieces of this size."""
    inspection, events = Inspection(name), []
    for time, side, data in streams.segments(name):
        for at in range(0, len(data), step or len(data)):
            piece = data[at : at + (step or len(data))]
            events += inspection.client(piece, time) if side == "client" else inspection.broker(piece, time)
    assert not inspection.lost
    return [*events, *inspection.end(time)]
