"""Tests for sniproxy.testing.fixtures, without pytest."""

from __future__ import annotations

import sys
from configparser import ConfigParser
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from twisted.trial.unittest import SkipTest, SynchronousTestCase

import sniproxy

NAME = "sniproxy.testing.fixtures"


class Request:
    """A request of pytest for a fixture. @ivar marker: the marker of the test."""

    def __init__(self, marker: Any) -> None:
        self.node = self
        self.marker = marker

    def get_closest_marker(self, name: str) -> Any:
        return self.marker if name == "pulsar_cluster" else None


class Marker:
    """A marker with arguments."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.args = args
        self.kwargs = kwargs


class Config:
    """The configuration of pytest."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []

    def addinivalue_line(self, name: str, line: str) -> None:
        self.lines.append((name, line))


class FixtureTests(SynchronousTestCase):
    """The fixture, with a module in place of pytest whose decorator returns the function."""

    def setUp(self) -> None:
        pytest: Any = ModuleType("pytest")
        pytest.fixture = lambda function: function
        before = {name: sys.modules.pop(name, None) for name in ("pytest", NAME)}
        self.addCleanup(self.restore, before)
        sys.modules["pytest"] = pytest
        self.fixtures = import_module(NAME)

    def restore(self, before: dict[str, Any]) -> None:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module

    def test_cluster(self) -> None:
        """The fixture is a running cluster, with the arguments of the marker if there is one."""
        for marker, names in ((None, 2), (Marker(1), 1), (Marker(brokers=["a.test"], tls=True), 1)):
            fixture = self.fixtures.pulsar_cluster(Request(marker))
            cluster = next(fixture)
            self.assertEqual(names, len(cluster.brokers))
            self.assertRaises(StopIteration, next, fixture)
            self.assertFalse(cluster.runner._thread.is_alive())

    def test_marker(self) -> None:
        """The marker is described."""
        config = Config()
        self.fixtures.pytest_configure(config)
        [(name, line)] = config.lines
        self.assertEqual(("markers", True), (name, line.startswith("pulsar_cluster(")))

    def test_entry_point(self) -> None:
        """pytest finds the module by the package's entry point."""
        file = Path(sniproxy.__file__).parent.parent / "setup.cfg"
        if not file.exists():
            raise SkipTest("setup.cfg is not here: the tests run apart from the sources")
        setup = ConfigParser()
        setup.read(file)
        self.assertEqual(f"\nsniproxy = {NAME}", setup["options.entry_points"]["pytest11"])
