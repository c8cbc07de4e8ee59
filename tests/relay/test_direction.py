"""One direction of a relay."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.relay.direction import Direction


class DirectionTests(SynchronousTestCase):
    """What no way of moving bytes changes."""

    def test_abstract(self) -> None:
        """A direction that does not say how it reads cannot be used."""
        self.assertRaises(NotImplementedError, Direction(None, None, b"").fill)  # type: ignore[arg-type]

    def test_head(self) -> None:
        """It holds what was read before, until that is written."""
        self.assertTrue(Direction(None, None, b"x").holds())  # type: ignore[arg-type]
        self.assertFalse(Direction(None, None, b"").holds())  # type: ignore[arg-type]
