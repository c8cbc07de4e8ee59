"""Tests for sniproxy.pulsar.events: what its table says is what comes."""

import re

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar import events
from sniproxy.pulsar.events import COMMANDS, Event
from tests.pulsar import streams
from tests.pulsar.test_inspection import inspect


def documented() -> dict[str, str]:
    """The text of each event in the table."""
    rows: dict[str, str] = {}
    name: str | None = None
    for line in str(events.__doc__).splitlines():
        if line.startswith("==="):
            name = None
        elif found := re.match(r"``(\w+)`` ", line):
            name = found[1]
            rows[name] = line[found.end() :]
        elif name is not None:
            rows[name] += line
    return rows


class TableTests(SynchronousTestCase):
    """The table of events."""

    def test_fields(self) -> None:
        """Each field of each event that real connections make is in the table, and none has a reserved name."""
        rows = documented()
        self.assertGreater(len(rows), 20)
        seen: dict[str, set[str]] = {}
        for stream in streams.NAMES:
            for event in inspect(stream):
                self.assertIn(event.name, rows)
                self.assertEqual(set(event.fields), seen.setdefault(event.name, set(event.fields)), event.name)
                for field in event.fields:
                    self.assertIn(f"``{field}``", rows[event.name])
                    self.assertNotIn(field, ("event", "time", "connection"))
                self.assertEqual("response" in event.fields, event.name == "lookup")
        self.assertGreater(len(seen), 7)

    def test_commands(self) -> None:
        """The commands that events tell of are commands, and the events are in the table."""
        for name, commands in COMMANDS.items():
            self.assertIn(name, documented())
            self.assertEqual(commands - set(pb.BaseCommand.Type.keys()), set())

    def test_equal(self) -> None:
        """Events with the same content are equal."""
        self.assertEqual(Event("a", 1.0, "c", {"x": [1]}), Event("a", 1.0, "c", {"x": [1]}))
