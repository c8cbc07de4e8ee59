"""Tests for sniproxy.migrate.formats."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.formats import WRITERS, Format


class FormatsTests(SynchronousTestCase):
    """The formats."""

    def test_writers(self) -> None:
        """What can be written can be read."""
        self.assertLess(set(WRITERS), set(Format))
