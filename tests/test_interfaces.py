"""Tests for sniproxy.interfaces."""

from __future__ import annotations

from typing import cast

import attrs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import directlyProvides

from sniproxy.interfaces import (
    BadOption,
    IServerNameResolver,
    IWatchingResolver,
    IWritingResolver,
    Refused,
    Request,
    Resolution,
    Target,
    Unavailable,
    WatchState,
    start_watching,
)


class ValueTests(SynchronousTestCase):
    """Values for resolvers."""

    def test_frozen(self) -> None:
        """A request, a target and a resolution are immutable, and compare by value."""
        request = Request("a.test", ("h2",), "192.0.2.7:1", "public")
        self.assertEqual(request, Request("a.test", ("h2",), "192.0.2.7:1", "public"))
        for value, name in ((request, "server_name"), (Target("a", 1), "host"), (Resolution([]), "ttl")):
            self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, value, name, "x")

    def test_target_in_logs(self) -> None:
        """The text of a target is its label, else host and port, with IPv6 addresses in brackets."""
        self.assertEqual(str(Target("a.test", 6651)), "a.test:6651")
        self.assertEqual(str(Target("2001:db8::7", 6651)), "[2001:db8::7]:6651")
        self.assertEqual(str(Target("a.test", 6651, label="broker one")), "broker one")

    def test_bad_targets(self) -> None:
        """An invalid target cannot be created, so that the faulty resolver is found."""
        for arguments in (("a", 0), ("a", 70000), ("", 1), ("a b", 1), ("x" * 64, 1), ("a", 1, -1)):
            self.assertRaises(ValueError, Target, *arguments)
        for wrong in (("a", "6651"), ("a", 1, "2")):
            self.assertRaises(TypeError, Target, *wrong)

    def test_addresses(self) -> None:
        """A target may have addresses of its host, which are IP addresses; by default it has none."""
        self.assertEqual((), Target("a", 1).addresses)
        self.assertEqual(("192.0.2.1", "::1"), Target("a", 1, addresses=("192.0.2.1", "::1")).addresses)
        self.assertRaises(ValueError, Target, "a", 1, addresses=("b.test",))

    def test_targets_of_a_resolution(self) -> None:
        """Targets may be any iterable; by default an answer does not expire."""
        answer = Resolution(Target(host, 1) for host in "ab")
        self.assertEqual(answer.targets, (Target("a", 1), Target("b", 1)))
        self.assertIsNone(answer.ttl)

    def test_errors(self) -> None:
        """A refusal has a reason; a bad option has key, value and cure."""
        self.assertEqual((Refused("gone").reason, str(Refused("gone"))), ("gone", "gone"))
        error = BadOption("target", 7, "write a text")
        self.assertEqual(
            (error.key, error.value, error.cure, str(error)), ("target", 7, "write a text", "write a text")
        )
        failed, away = Unavailable("silent"), Unavailable("away", authoritative=True)
        self.assertEqual(
            ("silent", False, "away", True), (str(failed), failed.authoritative, str(away), away.authoritative)
        )

    def test_watch(self) -> None:
        """A watching resolver is a resolver; by default its state has no error."""
        self.assertTrue(IWatchingResolver.extends(IServerNameResolver))
        self.assertEqual((WatchState("3 brokers").summary, WatchState("3 brokers").error), ("3 brokers", None))


class StartTests(SynchronousTestCase):
    """Starting a watching resolver."""

    def test_read_only(self) -> None:
        """A resolver that writes to its source can be started without; others start in one way."""
        for interface, read_only, called in (
            (IWatchingResolver, False, "start"),
            (IWatchingResolver, True, "start"),
            (IWritingResolver, False, "start"),
            (IWritingResolver, True, "start_reading"),
        ):
            resolver = _Recorder()
            directlyProvides(resolver, interface)
            start_watching(cast(IWatchingResolver, resolver), lambda: None, read_only)
            self.assertEqual([called], resolver.called)


class _Recorder:
    """Records which method started it."""

    def __init__(self) -> None:
        self.called: list[str] = []

    def start(self, changed: object) -> None:
        self.called.append("start")

    def start_reading(self, changed: object) -> None:
        self.called.append("start_reading")
