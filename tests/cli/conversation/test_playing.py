"""Tests for sniproxy.cli.conversation.playing."""

from __future__ import annotations

from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.conversation.playing import PlayingProtocol
from sniproxy.conversation.comparison import Rules
from sniproxy.conversation.player import Player
from sniproxy.conversation.textform import Side
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import read, type_name, write
from sniproxy.pulsar.frames import FrameReader
from tests.conversation.talk import conversation, talk


class Transport(StringTransport):
    """A transport that notes how it was closed."""

    def setTcpNoDelay(self, enabled: bool) -> None:
        pass


class PlayingTests(SynchronousTestCase):
    """PlayingProtocol."""

    def play(self, plays: Side = "broker", factor: float | None = None, close: bool = False) -> PlayingProtocol:
        self.clock = Clock()
        playing = PlayingProtocol(Player(conversation(talk()), plays, Rules()), self.clock, 5.0, factor, close=close)
        self.transport = Transport()
        playing.makeConnection(self.transport)
        return playing

    def sent(self) -> list[str]:
        frames = FrameReader().feed(self.transport.value())
        self.transport.clear()
        return [type_name(read(frame.command)) for frame in frames]

    def say(self, playing: PlayingProtocol, side: Side, count: int = 99) -> None:
        for data in [data for each, data in talk() if each == side][:count]:
            playing.dataReceived(data)

    def test_broker(self) -> None:
        """The broker answers, and waits for the client to close, in any case not longer than the timeout."""
        playing = self.play()
        self.assertEqual([], self.sent())
        self.say(playing, "client")
        self.assertEqual(["CONNECTED", "PRODUCER_SUCCESS", "PONG", "SEND_RECEIPT", "SUCCESS"], self.sent())
        self.assertNoResult(playing.finished)
        self.clock.advance(5.0)
        self.successResultOf(playing.finished)
        self.assertTrue(self.transport.disconnecting)
        self.assertEqual([], playing.player.differences)
        playing.connectionLost(Failure(ConnectionDone()))
        playing.dataReceived(b"x")
        playing.stop()

    def test_client(self) -> None:
        """The client begins, and closes after the last answer."""
        playing = self.play("client", close=True)
        self.assertEqual(["CONNECT"], self.sent())
        self.say(playing, "broker")
        self.successResultOf(playing.finished)
        self.assertEqual(["PRODUCER", "SEND", "CLOSE_PRODUCER"], self.sent())
        self.assertEqual([], self.clock.getDelayedCalls())
        self.assertEqual(0, playing.player.count)

    def test_times(self) -> None:
        """Frames go out with the recorded times, scaled; frames that arrive meanwhile are taken."""
        playing = self.play(factor=4.0)
        self.say(playing, "client", 1)
        self.clock.advance(0.9)
        self.assertEqual([], self.sent())
        playing.dataReceived(write(pb.CommandPing()))
        self.assertEqual(["PONG"], self.sent())
        self.clock.advance(0.2)
        self.assertEqual(["CONNECTED"], self.sent())
        fast = self.play(factor=0.0)
        self.say(fast, "client", 1)
        self.assertEqual(["CONNECTED"], self.sent())

    def test_timeout(self) -> None:
        """A frame that does not come ends the conversation."""
        playing = self.play()
        self.say(playing, "client", 1)
        self.clock.advance(4.9)
        self.say(playing, "client", 1)  # a second CONNECT: a difference, and the wait begins again
        self.clock.advance(4.9)
        self.assertNoResult(playing.finished)
        self.clock.advance(0.2)
        self.successResultOf(playing.finished)
        self.assertEqual("nothing within 5 s", playing.player.differences[-1].came)

    def test_lost(self) -> None:
        """A connection that ends too early is a difference, with the reason of an unclean end."""
        for reason, shown in ((ConnectionDone(), "connection; "), (ConnectionLost("reset"), "reset")):
            playing = self.play()
            playing.connectionLost(Failure(reason))
            self.successResultOf(playing.finished)
            self.assertIn(shown, playing.player.differences[0].came)

    def test_not_pulsar(self) -> None:
        """Bytes that are no frames, and frames that are no commands, end the conversation."""
        for data in (b"GET / HTTP/1.1\r\n", b"\0\0\0\x06\0\0\0\x02\x12\x0b"):
            playing = self.play()
            playing.dataReceived(data)
            self.successResultOf(playing.finished)
            self.assertIn("not Pulsar", playing.player.differences[0].came)

    def test_stop(self) -> None:
        """A player can be stopped while it waits to send."""
        playing = self.play(factor=4.0)
        self.say(playing, "client", 1)
        playing.stop()
        self.successResultOf(playing.finished)
        self.assertEqual([], self.clock.getDelayedCalls())
