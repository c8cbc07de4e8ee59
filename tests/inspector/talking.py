"""Conversations with a part of the inspector that turns commands into events."""

from __future__ import annotations

from typing import Any, Protocol

from google.protobuf.message import Message
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.pending import PendingRequests
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.events import Event, Fields

NUMBERS = {
    field.message_type.full_name: field.number
    for field in pb.BaseCommand.DESCRIPTOR.fields
    if field.message_type is not None
}


class Taking(Protocol):
    """A part that takes commands."""

    def take(self, number: int, command: Any, time: float) -> list[Event]: ...


class TalkingCase(SynchronousTestCase):
    """Commands arrive a quarter of a second apart. ``part`` takes them."""

    part: Taking

    def setUp(self) -> None:
        self.pending = PendingRequests("c1")
        self.time = 100.0

    def says(self, command: Message) -> list[Event]:
        """The events of one command."""
        self.time += 0.25
        events = self.part.take(NUMBERS[command.DESCRIPTOR.full_name], command, self.time)
        for event in events:
            self.assertEqual((event.connection, event.time), ("c1", self.time))
        return events

    def told(self, command: Message, name: str) -> Fields:
        """The fields of a command's only event, which has this name."""
        [event] = self.says(command)
        self.assertEqual(event.name, name)
        return event.fields

    def silent(self, *commands: Message) -> None:
        """These commands give no events."""
        self.assertEqual([event for command in commands for event in self.says(command)], [])

    def holds(self, fields: Fields, **expected: Any) -> None:
        """Some fields have these values."""
        self.assertEqual({key: fields[key] for key in expected}, expected)
