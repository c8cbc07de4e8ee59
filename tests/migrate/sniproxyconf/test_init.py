"""Tests for the package of sniproxy.conf."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate import sniproxyconf
from sniproxy.migrate.sniproxyconf.reader import read


class InitTests(SynchronousTestCase):
    """What the package has."""

    def test_read(self) -> None:
        """The package has the reader."""
        self.assertIs(sniproxyconf.read, read)
