"""Tests for sniproxy.migrate.export.plainyaml."""

from __future__ import annotations

import yaml
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.export.plainyaml import to_yaml


class YamlTests(SynchronousTestCase):
    """Documents as text."""

    def test_repeated_parts(self) -> None:
        """A part that is there twice is written twice, and keys keep their order."""
        part = {"z": 1, "a": ["x: y", "*.test"]}
        text = to_yaml([{"b": part, "a": part}, {"c": 1}])
        self.assertNotIn("&", text)
        self.assertLess(text.index("b:"), text.index("a:"))
        self.assertEqual([{"b": part, "a": part}, {"c": 1}], list(yaml.safe_load_all(text)))
