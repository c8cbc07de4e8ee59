"""Tests for sniproxy.server.recordings."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation.recorder import Recorder, Recording
from sniproxy.conversation.textform import read_conversation
from sniproxy.server import recordings
from sniproxy.server.recordings import BEHIND, TOO_MUCH, LiveRecording
from sniproxy.util.buffered import BufferAccount
from tests.conversation.talk import TOPIC, talk


@attrs.define
class Record:
    """The record of a connection."""

    listener: str = "tap"
    client: str = "c:1"
    target: str | None = None
    reason: str = ""


class Inner:
    """The inspector's tap. @ivar seen: what it was shown."""

    def __init__(self) -> None:
        self.seen = b""

    def client(self, data: bytes) -> None:
        self.seen += data

    def target(self, data: bytes) -> None:
        self.seen += data

    def end(self) -> None:
        self.seen += b" end"


class RecordingTests(SynchronousTestCase):
    """LiveRecording and RecordedTap."""

    def setUp(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.room: float = float("inf")
        self.clock = Clock()
        self.account = BufferAccount()
        self.recording = self.record(Recording())

    def record(self, what: Recording) -> LiveRecording:
        return LiveRecording(["tap"], what, self.send, self.clock.seconds, self.account)

    def send(self, message: str, must: bool) -> bool:
        self.room -= 1
        if self.room < 0 and not must:
            return False
        self.sent.append(json.loads(message))
        return True

    def lines(self, number: int) -> list[str]:
        """The file of a connection."""
        return [json.dumps(one["line"]) for one in self.sent if one.get("connection") == number and "line" in one]

    def say(self, tap: Any, words: list[tuple[Any, bytes]]) -> None:
        """Show a tap bytes, in pieces."""
        for side, data in words:
            for at in range(0, len(data), 7):
                (tap.client if side == "client" else tap.target)(data[at : at + 7])

    def test_two(self) -> None:
        """Each connection gets a number; its lines are a conversation; the inspector sees all bytes, too."""
        inner = Inner()
        record = Record()
        first, second = self.recording.tap(inner, record), self.recording.tap(Inner(), Record(target="b:9"))
        record.target = "b:2"
        self.say(second, talk()[:2])
        self.say(first, talk())
        record.reason = "the client ended first"
        first.end()
        second.end()
        self.assertEqual(b"".join(data for _, data in talk()) + b" end", inner.seen)
        found = read_conversation(self.lines(2))
        self.assertEqual(("c:1", "b:2", 10), (found.client, found.broker, len(found.lines)))
        self.assertEqual("b:9", read_conversation(self.lines(1)).broker)
        self.assertIn({"connection": 2, "ended": "the client ended first", "topics": [TOPIC]}, self.sent)
        self.assertEqual({"connection": 1, "ended": "closed", "topics": []}, self.sent[-1])
        self.assertEqual((0, 0), (self.account.bytes, self.recording.held))

    def test_others(self) -> None:
        """Other listeners, and connections after the end, keep their tap; a connection without bytes says nothing."""
        inner = Inner()
        self.assertIs(inner, self.recording.tap(inner, Record("other")))
        self.recording.tap(inner, Record()).end()
        self.recording.stop()
        self.assertIs(inner, self.recording.tap(inner, Record()))
        self.assertEqual([], self.sent)

    def test_limit(self) -> None:
        """A limit ends the recording of a connection; the connection continues."""
        self.recording, inner = self.record(Recording(max_frames=3)), Inner()
        tap = self.recording.tap(inner, Record())
        self.say(tap, talk())
        self.assertEqual("limit of 3 frames reached", read_conversation(self.lines(1)).end)
        self.assertEqual("limit of 3 frames reached", self.sent[-1]["ended"])
        tap.end()
        self.assertEqual(1, sum("ended" in one for one in self.sent))
        self.assertTrue(inner.seen.endswith(b" end"))

    def test_topics(self) -> None:
        """A connection without a wanted topic says nothing; what waits for one is counted."""
        self.recording = self.record(Recording(topics=("*other*",)))
        tap = self.recording.tap(Inner(), Record())
        self.say(tap, talk())
        self.assertGreater(self.account.bytes, 500)
        self.assertEqual(self.account.bytes, self.recording.held)
        tap.end()
        self.assertEqual(([], 0, 0), (self.sent, self.account.bytes, self.recording.held))

    def test_behind(self) -> None:
        """If too much waits, a connection ends there, behind whole lines; one that has not begun is counted."""
        self.room = 4
        tap = self.recording.tap(Inner(), Record())
        self.say(tap, talk())
        self.assertEqual(3, len(read_conversation(self.lines(1)).lines))
        self.assertEqual({"connection": 1, "ended": BEHIND, "topics": [TOPIC]}, self.sent[-1])
        self.room = 0
        late = self.recording.tap(Inner(), Record())
        self.say(late, talk())
        late.end()
        self.room = 1
        self.patch(recordings, "MAX_RECORDED", 0)
        self.recording.tap(Inner(), Record())
        self.assertEqual({"skipped": 2}, self.sent[-1])

    def test_held(self) -> None:
        """Connections with unfinished large frames end when all together hold too much; small ones continue."""
        self.patch(recordings, "MAX_HELD_BYTES", 1000)
        self.patch(recordings, "SPARED_BYTES", 900)
        taps = [self.recording.tap(Inner(), Record()) for _ in range(3)]
        large = b"\0\0\x20\0\0\0\x10\0"
        for tap in taps:
            self.say(tap, talk()[:2])
            tap.client(large + bytes(500))
        self.assertEqual((508 * 3, 0), (self.account.bytes, sum("ended" in one for one in self.sent)))
        taps[0].client(bytes(500))
        self.assertEqual(TOO_MUCH, self.sent[-1]["ended"])
        self.assertEqual(508 * 2, self.account.bytes)
        self.recording.stop()
        self.assertEqual((0, 0), (self.account.bytes, self.recording.held))
        taps[1].client(b"x")
        taps[1].end()
        self.assertEqual(TOO_MUCH, self.sent[-1]["ended"])

    def test_failure(self) -> None:
        """An error of the recorder ends only the recording of this connection."""
        said: list[str] = []
        self.patch(recordings, "log", SimpleNamespace(failure=said.append))

        def fail(*words: Any) -> None:
            raise ValueError("a bug")

        self.patch(Recorder, "feed", fail)
        inner = Inner()
        tap = self.recording.tap(inner, Record())
        tap.client(b"a")
        tap.target(b"b")
        tap.end()
        self.assertEqual(
            (b"ab end", ["a recording failed; the connection continues"], []), (inner.seen, said, self.sent)
        )
