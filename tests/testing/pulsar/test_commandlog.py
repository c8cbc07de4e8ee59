"""Tests for sniproxy.testing.pulsar.commandlog."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.testing.pulsar import commandlog
from sniproxy.testing.pulsar.commandlog import CommandLog, ReceivedCommand


def command(type: str = "SEND", topic: str | None = None) -> ReceivedCommand:
    """A command of a client."""
    return ReceivedCommand(type, None, "127.0.0.1:1", topic)


class CommandLogTests(SynchronousTestCase):
    """CommandLog."""

    def test_all(self) -> None:
        """A log and its parent have the commands, oldest first, until they are forgotten."""
        parent = CommandLog()
        one, two = CommandLog(parent), CommandLog(parent)
        one.add(command("CONNECT"), 1)
        two.add(command("SEND"), 1)
        self.assertEqual(["CONNECT", "SEND"], [each.type for each in parent.all()])
        self.assertEqual([command("SEND")], two.all())
        two.forget()
        self.assertEqual(([], 2), (two.all(), len(parent.all())))

    def test_bounded(self) -> None:
        """A log keeps the newest commands, by number and by bytes."""
        self.patch(commandlog, "MAX_COMMANDS", 2)
        log = CommandLog()
        for number in range(3):
            log.add(command(str(number)), 1)
        self.assertEqual(["1", "2"], [each.type for each in log.all()])
        self.patch(commandlog, "MAX_COMMAND_BYTES", 10)
        log.add(command("large"), 9)
        self.assertEqual(["2", "large"], [each.type for each in log.all()])
        log.add(command("larger"), 99)
        self.assertEqual([], log.all())

    def test_saw(self) -> None:
        """Waiting ends as soon as there are as many commands."""
        log = CommandLog()
        log.add(command(), 1)
        self.assertEqual([command()], self.successResultOf(log.saw("SEND", 1, None)))
        two = log.saw("SEND", 2, None)
        log.add(command("PING"), 1)
        self.assertNoResult(two)
        log.add(command(), 1)
        self.assertEqual([command()] * 2, self.successResultOf(two))
        log.add(command(), 1)

    def test_where(self) -> None:
        """Only commands that meet the condition count."""
        log = CommandLog()
        found = log.saw("SEND", 1, lambda each: each.topic == "a")
        log.add(command(topic="b"), 1)
        self.assertNoResult(found)
        log.add(command(topic="a"), 1)
        self.assertEqual([command(topic="a")], self.successResultOf(found))

    def test_cancel(self) -> None:
        """A cancelled wait fails, and later commands do not concern it."""
        log = CommandLog()
        waiting = log.saw("SEND", 1, None)
        waiting.cancel()
        self.failureResultOf(waiting, CancelledError)
        log.add(command(), 1)
