"""Tests for tests.peers.protocol, and our `commands.proto` against each version of Pulsar."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.pulsar import commands_pb2
from tests.peers import protocol, provide, versions
from tests.peers.needs import require
from tests.peers.protocol import Protocol

#: What a jar says of TOPIC_MIGRATED.
MIGRATED = """\
field CommandTopicMigrated RESOURCE_ID 1 long
field CommandTopicMigrated RESOURCE_TYPE 2 CommandTopicMigrated.ResourceType
field CommandTopicMigrated BROKER_SERVICE_URL 3 String
field CommandTopicMigrated BROKER_SERVICE_URL_TLS 4 String
value CommandTopicMigrated.ResourceType Producer 0
value CommandTopicMigrated.ResourceType Consumer 1
12:00 WARN a warning
"""


class DifferenceTests(SynchronousTestCase):
    """Differences in one message."""

    def differences(self, *changes: tuple[str, str], newest: bool = False) -> list[str]:
        """The differences, after changes of the text."""
        text = MIGRATED
        for old, new in changes:
            self.assertIn(old, text)
            text = text.replace(old, new)
        theirs = protocol.parse(text.splitlines())
        ours = commands_pb2.CommandTopicMigrated.DESCRIPTOR
        return protocol.differences(theirs, ours, "CommandTopicMigrated", newest)

    def test_none(self) -> None:
        """The same message has none; case and underscores of names do not count."""
        self.assertEqual(self.differences(newest=True), [])

    def test_new_url(self) -> None:
        """A new field with a URL is one; another new field is not."""
        more = MIGRATED + "field CommandTopicMigrated {} 9 String\n"
        found = self.differences((MIGRATED, more.format("HTTP_URL")))
        self.assertEqual(found, ["CommandTopicMigrated.httpurl = 9 is not in our CommandTopicMigrated"])
        self.assertEqual(self.differences((MIGRATED, more.format("REASON"))), [])

    def test_other_name(self) -> None:
        """A number with another meaning is one."""
        found = self.differences(("BROKER_SERVICE_URL 3", "REASON 3"))
        self.assertEqual(found, ["CommandTopicMigrated.reason = 3 is our brokerServiceUrl"])

    def test_field_that_they_lack(self) -> None:
        """A field of ours that the newest version lacks is one; older ones may lack it."""
        change = ("field CommandTopicMigrated BROKER_SERVICE_URL_TLS 4 String\n", "")
        found = self.differences(change, newest=True)
        self.assertEqual(
            found, ["our CommandTopicMigrated.brokerServiceUrlTls = 4 is not in their CommandTopicMigrated"]
        )
        self.assertEqual(self.differences(change), [])

    def test_enum(self) -> None:
        """A value that we lack, or have with another number, is one; so is one that the newest version lacks."""
        enum = "CommandTopicMigrated.ResourceType"
        found = self.differences(("Consumer 1", "Consumer 2"))
        self.assertEqual(found, [f"{enum}.Consumer = 2 is not in our ResourceType"])
        found = self.differences((f"value {enum} Consumer 1\n", ""), newest=True)
        self.assertEqual(found, [f"our ResourceType.Consumer = 1 is not in their {enum}"])


class VersionTests(SynchronousTestCase):
    """The jars of every version, whichever version the run has."""

    def read(self, name: str) -> Protocol:
        """The protocol of a version."""
        pulsar = versions.find(name)
        require("java", parts=provide.needed(pulsar))
        return protocol.read(pulsar)

    def test_commands(self) -> None:
        """Our commands, errors, flags and fields with brokers' URLs are those of each version."""
        for pulsar in versions.ALL:
            theirs = self.read(pulsar.name)
            self.assertIn("ServerError", theirs.enums)
            ours = commands_pb2.BaseCommand.DESCRIPTOR
            found = protocol.differences(theirs, ours, "BaseCommand", pulsar == versions.ALL[-1])
            self.assertEqual(found, [], pulsar.release)

    def test_message_metadata(self) -> None:
        """What we read of a message's metadata is in each version."""
        for pulsar in versions.ALL:
            ours = commands_pb2.MessageMetadata.DESCRIPTOR
            found = protocol.differences(self.read(pulsar.name), ours, "MessageMetadata", newest=True)
            self.assertEqual(found, [], pulsar.release)
