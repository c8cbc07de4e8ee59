"""One direction with faults."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.faults.gate import (
    CUT,
    DELAY,
    DROP,
    HALF_CLOSE,
    MAX_INSERTED_BYTES,
    PASS,
    RATE,
    REPLACE,
    RESET,
    STOP,
    Gate,
    Judge,
    Mark,
    Verdict,
)
from sniproxy.faults.reader import Opening
from tests.faults.faulty import CONNECTED, PING, PONG, receipt, send

STREAM = CONNECTED + send(1, 0, b"x" * 20) + PING + send(1, 1, b"y" * 20) + PONG


def on(frame: bytes, verdict: Verdict) -> Judge:
    """Judges this frame's command so, and lets others pass."""

    def judge(by_client: bool, opening: Opening) -> Verdict | None:
        return verdict if frame.startswith(opening.raw) else None

    return judge


class GateTests(SynchronousTestCase):
    """L{Gate}."""

    def passed(self, verdict: Verdict, size: int, frame: bytes = PING) -> tuple[bytes, Gate]:
        """What passes of the stream in parts of this size, until the gate is closed."""
        gate, out = Gate(True, on(frame, verdict)), b""
        for at in range(0, len(STREAM), size):
            out += gate.take(STREAM[at : at + size], 0.0)
        return out, gate

    def test_splits(self) -> None:
        """Each action has the same effect, wherever the stream is cut."""
        before, after = STREAM.split(PING, 1)
        for size in (*range(1, 60), len(STREAM)):
            self.assertEqual(before + after, self.passed(Verdict(DROP), size)[0])
            self.assertEqual(before + PONG + after, self.passed(Verdict(REPLACE, data=PONG), size)[0])
            self.assertEqual(before + PING + CONNECTED + after, self.passed(Verdict(PASS, data=CONNECTED), size)[0])
            self.assertEqual(STREAM, self.passed(Verdict(PASS), size)[0])
            for kind in (STOP, RESET, HALF_CLOSE):
                self.assertEqual(before, self.passed(Verdict(kind), size)[0])
            self.assertEqual(before + PING[: len(PING) // 2], self.passed(Verdict(CUT), size)[0])
            out, gate = self.passed(Verdict(DELAY, 2.0), size)
            self.assertEqual((before, 2.0, b""), (out, gate.wake_at, gate.run(1.9)))
            self.assertEqual((PING + after, False), (gate.run(2.0), gate.closed))

    def test_payload(self) -> None:
        """A payload goes with its command; what is inserted follows it."""
        message = send(1, 0, b"x" * 20)
        for size in range(1, 80):
            self.assertEqual(STREAM.replace(message, b""), self.passed(Verdict(DROP), size, message)[0])
            inserted = STREAM.replace(message, message + PONG)
            self.assertEqual(inserted, self.passed(Verdict(PASS, data=PONG), size, message)[0])
            out, gate = self.passed(Verdict(CUT), size, message)
            self.assertEqual(("cut", True), (gate.ends, len(CONNECTED) < len(out) < len(CONNECTED + message)))

    def test_insert(self) -> None:
        """A frame is inserted between two frames, at once if the gate is there."""
        gate = Gate(False, on(b"", Verdict(DROP)))
        gate.insert(PING)
        self.assertEqual((True, PING), (gate.ready, gate.run(0.0)))
        half = send(1, 0)[:-3]
        self.assertEqual(half, gate.take(half, 0.0))
        gate.insert(PONG)
        self.assertFalse(gate.ready)
        self.assertEqual(send(1, 0)[-3:] + PONG, gate.take(send(1, 0)[-3:], 0.0))
        gate.take(half, 0.0)
        while not gate.full:
            gate.insert(receipt(1, 1))
        self.assertGreater(gate.held, MAX_INSERTED_BYTES)

    def test_rate(self) -> None:
        """Bytes pass at the rate; a pause earns at most one second's."""
        gate = Gate(True, on(PING, Verdict(RATE, rate=10.0)))
        data = PING + PONG * 5
        self.assertEqual(b"", gate.take(data, 0.0))
        self.assertEqual((0.1, True, len(data)), (gate.wake_at, gate.limited, gate.held))
        self.assertEqual(data[:5], gate.run(0.5))
        self.assertEqual(data[5:15], gate.run(100.0))
        self.assertEqual(b"", gate.run(100.01))
        at = 100.0
        out = b""
        while gate.limited:
            at += 1.0
            out += gate.run(at)
        self.assertEqual((data[15:], False), (out, gate.closed))

    def test_marks(self) -> None:
        """Something happens after exactly so many bytes, of which a part may be the beginning of a frame."""
        for size in range(1, 30):
            for kind, expected in ((CUT, CONNECTED + PING[:3]), (HALF_CLOSE, CONNECTED + PING[:3]), (RESET, CONNECTED)):
                marks = [Mark(len(CONNECTED) + 3, lambda kind=kind: Verdict(kind)), Mark(1, lambda: None)]  # type: ignore[misc]
                gate, out, data = Gate(True, on(b"", Verdict(DROP)), marks), b"", CONNECTED + PING * 3
                for at in range(0, len(data), size):
                    out += gate.take(data[at : at + size], 0.0)
                self.assertEqual((expected, kind), (out, gate.ends))

    def test_unread(self) -> None:
        """Without a judge, bytes pass unread up to a mark; 0 is the beginning."""
        gate = Gate(False, None, [Mark(2, lambda: Verdict(DELAY, 1.0)), Mark(0, lambda: Verdict(RATE, rate=1e6))])
        self.assertEqual((b"", 0, b""), (gate.run(0.0), gate.held, gate.rest()))
        self.assertEqual(b"", gate.take(b"abc", 0.0))
        self.assertEqual(b"ab", gate.run(0.1))
        self.assertEqual((1.0, b"c"), (gate.wake_at, gate.run(1.0) + gate.run(2.0)))
        gate.insert(PING)
        self.assertEqual((False, "", True), (gate.ready, gate.lost, gate.drained))

    def test_acts(self) -> None:
        """The first end holds; nothing is known to come after a stop."""
        gate = Gate(True, None)
        gate.act(Verdict(HALF_CLOSE), 0.0)
        gate.act(Verdict(RESET), 0.0)
        self.assertEqual(("half_close", None), (gate.ends, gate.wake_at))
        stopped = Gate(True, None)
        stopped.act(Verdict(STOP), 0.0)
        stopped.act(Verdict(DELAY, 1.0), 0.0)
        self.assertEqual((None, True, b""), (stopped.wake_at, stopped.closed, stopped.take(b"a", 2.0)))

    def test_end(self) -> None:
        """The beginning of a frame is given out at the end, unless its command was dropped."""
        gate = Gate(True, on(send(1, 0), Verdict(DROP)))
        gate.take(PING + PING[:5], 0.0)
        self.assertEqual((True, PING[:5]), (gate.drained, gate.rest()))
        gate = Gate(True, on(send(1, 0), Verdict(DROP)))
        gate.take(send(1, 0)[:-2], 0.0)
        self.assertEqual(b"", gate.rest())
