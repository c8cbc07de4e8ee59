"""Tests for the model of the relay's contract."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.events import Result
from tests.simulation.model import BrokenContract, TunnelModel


class TunnelModelTests(SynchronousTestCase):
    """L{TunnelModel}."""

    def setUp(self) -> None:
        self.model = TunnelModel("t")
        self.up, self.down = self.model.up, self.model.down

    def assertBroken(self, what: str, call: Callable[[], object]) -> None:
        error = self.assertRaises(BrokenContract, call)
        self.assertIn(what, str(error))

    def talk(self) -> None:
        """Both sides send bytes, which arrive."""
        for half, data in ((self.up, b"question"), (self.down, b"answer")):
            half.sent += data
            half.deliver(data)

    def end(self) -> None:
        """Both sides end, and receive the other's end."""
        for half in (self.up, self.down):
            half.source_ended = True
            self.model.deliver_end(half)

    def test_good(self) -> None:
        """A tunnel whose two sides have ended, with all bytes."""
        self.talk()
        self.end()
        self.model.finish(Result.OK, 8, 6)

    def test_bytes(self) -> None:
        """Bytes that are wrong, lost, repeated, or behind the end."""
        self.up.sent += b"question"
        self.up.deliver(b"que")
        self.assertBroken("after 3 bytes", lambda: self.up.deliver(b"que"))
        self.assertBroken("after 3 bytes", lambda: self.up.deliver(b"tion"))
        self.up.deliver(b"stion")
        self.assertBroken("after 8 bytes", lambda: self.up.deliver(b"!"))
        self.up.source_ended = True
        self.model.deliver_end(self.up)
        self.assertBroken("behind the end", lambda: self.up.deliver(b"!"))

    def test_end(self) -> None:
        """An end that comes early is a fault, unless the proxy has ended the tunnel in order."""
        self.talk()
        self.assertBroken("the source had not ended", lambda: self.model.deliver_end(self.up))
        self.down.sent += b"more"
        self.down.source_ended = True
        self.assertBroken("after 6 of 10 bytes", lambda: self.model.deliver_end(self.down))
        self.model.finish(Result.DRAINED, 8, 10)
        self.model.deliver_end(self.down)

    def test_reset(self) -> None:
        """A reset needs a cause, comes as a reset, and not before the record."""
        self.talk()
        self.assertBroken("while the tunnel was open", lambda: self.model.deliver_reset(self.up))
        self.assertBroken("no peer has reset", lambda: self.model.finish(Result.RESET, 8, 6))
        model = TunnelModel("u")
        model.down.source_broke = "reset"
        model.finish(Result.RESET, 0, 0)
        model.deliver_reset(model.down)
        self.assertBroken("the source reset", lambda: model.deliver_end(model.down))

    def test_failed_call(self) -> None:
        """A call that failed is a cause, too."""
        self.model.broken_call = True
        self.model.finish(Result.RESET, 0, 0)

    def test_record(self) -> None:
        """The record has what was sent and has arrived, and comes once."""
        self.talk()
        self.assertBroken("the record has 7 bytes", lambda: self.model.finish(Result.IDLE_TIMEOUT, 7, 6))
        other = TunnelModel("u")
        other.up.sent += b"x"
        self.assertBroken("the record has 2 bytes", lambda: other.finish(Result.IDLE_TIMEOUT, 2, 0))
        other = TunnelModel("v")
        self.assertBroken("ok with 0 of 0 bytes", lambda: other.finish(Result.OK, 0, 0))
        other = TunnelModel("w")
        other.finish(Result.SHUTDOWN, 0, 0)
        self.assertBroken("a second record", lambda: other.finish(Result.SHUTDOWN, 0, 0))

    def test_reset_after_ok(self) -> None:
        """No reset comes to a side of a tunnel whose two sides had ended."""
        self.talk()
        self.end()
        self.model.finish(Result.OK, 8, 6)
        self.assertBroken("both sides had ended", lambda: self.model.deliver_reset(self.up))
