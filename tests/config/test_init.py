"""Tests for the names of the package sniproxy.config."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import config
from sniproxy.config import model, parser, schema


class FaceTests(SynchronousTestCase):
    """The public names of the package."""

    def test_same_objects(self) -> None:
        """The names of the package are those of its modules."""
        self.assertIs(parser.parse, config.parse)
        self.assertIs(parser.from_options, config.from_options)
        self.assertIs(model.Configuration, config.Configuration)
        self.assertIs(schema.ConfigError, config.ConfigError)

    def test_unknown(self) -> None:
        """An unknown name is an AttributeError."""
        self.assertRaises(AttributeError, getattr, config, "nothing")
