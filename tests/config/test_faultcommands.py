"""What a fault can do with which commands."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config import faultcommands as known
from sniproxy.inspector.dialogue import BROKER_HANDLERS, CLIENT_HANDLERS
from sniproxy.pulsar.commands import number_name


class CommandTests(SynchronousTestCase):
    """The sets of types."""

    def test_senders(self) -> None:
        """The inspector, which has lists of its own, agrees on the sender of each command that it reads."""
        for number in CLIENT_HANDLERS:
            self.assertIn(number_name(number), known.CLIENT_COMMANDS | known.SHARED_COMMANDS)
        for number in BROKER_HANDLERS:
            self.assertNotIn(number_name(number), known.CLIENT_COMMANDS)

    def test_sets(self) -> None:
        """Commands are in the sets of what they concern."""
        self.assertIn("SEND_RECEIPT", known.PRODUCER_COMMANDS & known.ERROR_COMMANDS & known.TOPIC_COMMANDS)
        self.assertIn("MESSAGE", known.CONSUMER_COMMANDS - known.ERROR_COMMANDS)
        self.assertIn("LOOKUP", known.ERROR_COMMANDS - known.CONSUMER_COMMANDS)
        self.assertIn("CONNECT", known.ERROR_COMMANDS - known.TOPIC_COMMANDS)
        self.assertNotIn("PING", known.TOPIC_COMMANDS)
        self.assertIn("AUTH_RESPONSE", known.CLIENT_COMMANDS)
        self.assertLess({"LOOKUP", "PING"}, set(known.COMMANDS))
        self.assertIn("TooManyRequests", known.SERVER_ERRORS)
