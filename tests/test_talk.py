"""Tests for the deprecated package sniproxy.talk."""

from __future__ import annotations

import sys

from twisted.trial.unittest import SynchronousTestCase

from tests.support import programs


class TalkTests(SynchronousTestCase):
    """Code that uses the old names."""

    def test_same_objects(self) -> None:
        """The old names are the same objects, and give a warning."""
        program = (
            "from sniproxy.talk.brokers import Access\n"
            "from sniproxy.talk.failures import TalkFailed\n"
            "from sniproxy.client import brokers, failures\n"
            "print(Access is brokers.Access, TalkFailed is failures.TalkFailed)"
        )
        ran = programs.run(
            [sys.executable, "-W", "default", "-c", program], capture_output=True, text=True, check=False
        )
        self.assertEqual("True True\n", ran.stdout)
        self.assertIn("sniproxy.talk is deprecated: import from sniproxy.client", ran.stderr)
