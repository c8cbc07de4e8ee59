"""Tests for the names of the package sniproxy.client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import client
from sniproxy.client import endpoint


class FaceTests(SynchronousTestCase):
    """What other programs import."""

    def test_same_objects(self) -> None:
        """The package's names are those of the endpoint's module."""
        for name in endpoint.__all__:
            self.assertIs(getattr(endpoint, name), getattr(client, name))

    def test_unknown(self) -> None:
        """Other names are errors, as for every module."""
        self.assertRaises(AttributeError, getattr, client, "nothing")
