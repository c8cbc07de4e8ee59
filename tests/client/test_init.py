"""Tests for the names of the package sniproxy.client."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import client
from sniproxy.client import endpoint


class FaceTests(SynchronousTestCase):
    """The public names of the package."""

    def test_same_objects(self) -> None:
        """The names of the package are those of the endpoint's module."""
        for name in endpoint.__all__:
            self.assertIs(getattr(endpoint, name), getattr(client, name))

    def test_unknown(self) -> None:
        """An unknown name is an AttributeError."""
        self.assertRaises(AttributeError, getattr, client, "nothing")
