"""Which relay serves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from bench.childprocess import LoadError
from bench.relays import ENGINE, PYTHON, note, refused, serving


class RelayTests(SynchronousTestCase):
    """What a log says."""

    def test_serving(self) -> None:
        """The last line about the relay counts; older versions have none."""
        self.assertEqual(serving("12:00 [-] relay: engine, 2 threads\n12:00 [-] ready: 1 route\n"), ENGINE)
        self.assertEqual(serving("relay: engine, 1 thread\nrelay: python: the engine is not built\n"), PYTHON)
        self.assertIsNone(serving("12:00 [-] ready: 1 route\n"))

    def test_refused(self) -> None:
        """Only the wanted relay is accepted."""
        self.assertIsNone(refused("relay: engine, 1 thread", ENGINE))
        self.assertEqual(refused("relay: python", ENGINE), "not the engine relay: the python relay serves")
        self.assertEqual(refused("ready", ENGINE), "not the engine relay: its log names no relay")

    def test_note(self) -> None:
        """All runs of a peer are with the same relay; a peer that names none is not noted."""
        seen: dict[str, str] = {}
        note(seen, "haproxy", None)
        note(seen, "ours", ENGINE)
        note(seen, "ours", ENGINE)
        self.assertEqual(seen, {"ours": ENGINE})
        self.assertIn(
            "the engine relay served one run of ours", str(self.assertRaises(LoadError, note, seen, "ours", PYTHON))
        )
