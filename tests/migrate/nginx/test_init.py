"""Tests for the package of nginx's reader."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate import nginx
from sniproxy.migrate.nginx.reader import read


class InitTests(SynchronousTestCase):
    """What the package has."""

    def test_read(self) -> None:
        """The package has the reader."""
        self.assertIs(nginx.read, read)
