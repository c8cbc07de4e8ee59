"""The budget of tunnels that are read."""

from __future__ import annotations

from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.direction import Direction
from sniproxy.relay.pacing import ROUND_BYTES, ROUND_S, SLICE_BYTES, Pace, Paced, pace_of
from sniproxy.util.buffered import BufferAccount
from tests.relay.taps import Recorder
from tests.support.reactor import as_reactor
from tests.support.rounds import Rounds


class Slow(Recorder):
    """Needs some time for each slice. @ivar cost: seconds."""

    def __init__(self, now: list[float], cost: float) -> None:
        super().__init__()
        self.now = now
        self.cost = cost

    def client(self, data: bytes) -> None:
        super().client(data)
        self.now[0] += self.cost


class Reading:
    """A direction to pump, with its surroundings."""

    def __init__(self) -> None:
        self.source: Any = self
        self.inbound: Any = self
        self.relay: Any = self
        self.pumped: list[object] = []

    def pump(self, direction: object) -> None:
        self.pumped.append(direction)


class PacingTests(SynchronousTestCase):
    """Pace and Paced."""

    def setUp(self) -> None:
        self.now = [0.0]
        self.rounds = Rounds()
        self.pace = Pace(as_reactor(self.rounds), lambda: self.now[0])
        self.account = BufferAccount()

    def test_at_once(self) -> None:
        """Within the budget all is shown at once, in slices and in order."""
        tap = Recorder()
        paced = Paced(self.pace, tap, self.account)
        paced.client(b"a" * (2 * SLICE_BYTES) + b"b")
        paced.target(b"c")
        self.assertEqual(([SLICE_BYTES, SLICE_BYTES, 1, 1], b"c"), (tap.shown, tap.from_target))
        self.assertTrue(paced.may_read(cast(Direction, Reading())))
        paced.end()
        self.assertTrue(tap.ended)

    def test_spent(self) -> None:
        """Beyond the budget the rest waits for the next rounds, counted; the direction reads on when all is shown."""
        tap, reading = Slow(self.now, ROUND_S), Reading()
        paced = Paced(self.pace, tap, self.account)
        data = bytes(range(256)) * (3 * SLICE_BYTES // 256)
        paced.client(data)
        self.assertEqual([SLICE_BYTES], tap.shown)
        self.assertEqual(2 * SLICE_BYTES, self.account.bytes)
        self.assertFalse(paced.may_read(cast(Direction, reading)))
        self.rounds.round()
        self.assertEqual(([SLICE_BYTES, SLICE_BYTES], []), (tap.shown, reading.pumped))
        self.rounds.round()
        self.assertEqual(([reading], data), (reading.pumped, tap.from_client))
        self.assertEqual(0, self.account.bytes)

    def test_shared(self) -> None:
        """The budget is one for all tunnels, which have their turns one after the other."""
        taps = [Slow(self.now, ROUND_S) for _ in range(3)]
        for tap in taps:
            Paced(self.pace, tap, self.account).client(bytes(2 * SLICE_BYTES))
        counts = []
        for _ in range(5):
            self.rounds.round()
            counts.append([len(tap.shown) for tap in taps])
        self.assertEqual([[2, 0, 0], [2, 1, 0], [2, 1, 1], [2, 2, 1], [2, 2, 2]], counts)

    def test_bytes(self) -> None:
        """Bytes count, too, and a new round begins without them."""
        paced, reading = Paced(self.pace, None, self.account), Reading()
        self.pace.charge(count=ROUND_BYTES)
        self.assertFalse(paced.may_read(cast(Direction, reading)))
        self.rounds.round()
        self.assertEqual([reading], reading.pumped)
        self.assertTrue(paced.may_read(cast(Direction, reading)))

    def test_forgotten(self) -> None:
        """A direction that has ended gets no turn, also if it waited for one."""
        paced, reading, other = Paced(self.pace, None, self.account), Reading(), Reading()
        self.pace.charge(count=ROUND_BYTES)
        for one in (reading, other):
            self.assertFalse(paced.may_read(cast(Direction, one)))
        paced.forget(cast(Direction, reading))
        self.rounds.round()
        self.assertEqual(([], [other]), (reading.pumped, other.pumped))

    def test_end(self) -> None:
        """If a tunnel ends while bytes are buffered, the tap sees them before the end."""
        tap = Slow(self.now, ROUND_S)
        paced = Paced(self.pace, tap, self.account)
        paced.client(bytes(2 * SLICE_BYTES))
        paced.end()
        self.assertFalse(tap.ended)
        self.rounds.round()
        self.assertTrue(tap.ended)
        self.assertEqual(0, self.account.bytes)

    def test_first(self) -> None:
        """What is shown the client's bytes first is shown them at once, whatever is spent; its time counts."""
        seen = []

        def first(data: bytes) -> None:
            seen.append(data)
            self.now[0] += ROUND_S

        paced = Paced(self.pace, tap := Recorder(), self.account)
        paced.first = first
        paced.client(b"one")
        paced.client(b"two")
        self.assertEqual(([b"one", b"two"], b""), (seen, tap.from_client))
        self.rounds.round()
        self.assertEqual(b"onetwo", tap.from_client)

    def test_fault(self) -> None:
        """A tap that raises is shown nothing more, and holds nothing up."""

        class Faulty(Recorder):
            def client(self, data: bytes) -> None:
                raise ValueError("a fault")

        paced = Paced(self.pace, tap := Faulty(), self.account)
        paced.client(bytes(2 * SLICE_BYTES))
        paced.target(b"more")
        paced.end()
        self.assertEqual((b"", False), (tap.from_target, tap.ended))
        self.assertEqual(1, len(self.flushLoggedErrors(ValueError)))

    def test_one(self) -> None:
        """A reactor has one."""
        self.assertIs(pace_of(self.rounds), pace_of(self.rounds))
