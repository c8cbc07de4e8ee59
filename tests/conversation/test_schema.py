"""Tests for sniproxy.conversation.schema."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation.fieldnames import MESSAGES, REQUIRED
from sniproxy.conversation.schema import Kind, Secrecy, command_layout, layout_of


class SchemaTests(SynchronousTestCase):
    """The fields of messages."""

    def test_both_sources(self) -> None:
        """A message has the fields of commands.proto and those that it leaves out, each once."""
        connect = layout_of("CommandConnect")
        self.assertEqual(connect.by_name["auth_data"].secrecy, Secrecy.CREDENTIAL)
        self.assertEqual(connect.by_name["original_principal"].secrecy, Secrecy.PRIVATE)
        self.assertEqual(connect.by_number[4].name, "protocol_version")
        for line in MESSAGES.strip().splitlines():
            layout = layout_of(line.partition(":")[0])
            self.assertEqual(len(layout.by_name), len(layout.by_number), layout.name)

    def test_references(self) -> None:
        """Each message that a field names is known."""
        for line in MESSAGES.strip().splitlines():
            for field in layout_of(line.partition(":")[0]).by_number.values():
                if field.kind is Kind.MESSAGE:
                    self.assertTrue(layout_of(field.type_name).by_number, field)

    def test_required(self) -> None:
        """The fields that a reader of Pulsar requires, from both sources; each listed one is known."""
        for message, names in REQUIRED.items():
            for name in names.split():
                self.assertTrue(layout_of(message).by_name[name].required, f"{message}.{name}")
        success = layout_of("CommandProducerSuccess").by_name
        self.assertEqual(["request_id", "producer_name"], [name for name, field in success.items() if field.required])
        self.assertFalse(layout_of("Schema").by_name["properties"].required)

    def test_defaults(self) -> None:
        """A field has the default of the protocol; a repeated one and a message have none."""
        subscribe = layout_of("CommandSubscribe").by_name
        self.assertIs(True, subscribe["durable"].default)
        self.assertEqual("Latest", subscribe["initialPosition"].default)
        self.assertIsNone(subscribe["metadata"].default)
        self.assertIsNone(subscribe["start_message_id"].default)
        self.assertEqual(-1, layout_of("MessageIdData").by_name["partition"].default)
        self.assertEqual("NONE", layout_of("MessageMetadata").by_name["compression"].default)
        self.assertEqual({"base64": ""}, layout_of("CommandProducerSuccess").by_name["schema_version"].default)

    def test_commands(self) -> None:
        """A command is found by its number; an unknown one has no fields."""
        self.assertEqual("CommandSend", command_layout(6).name)
        self.assertEqual({}, command_layout(99).by_name)
        self.assertEqual({}, command_layout(1).by_number)
        self.assertEqual({}, layout_of("None").by_name)
