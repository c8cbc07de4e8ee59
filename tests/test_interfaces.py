"""Tests for sniproxy.interfaces."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import (
    BadOption,
    IServerNameResolver,
    IWatchingResolver,
    Refused,
    Request,
    Resolution,
    Target,
    Unavailable,
    WatchState,
)


class ValueTests(SynchronousTestCase):
    """The values that resolvers get and give."""

    def test_frozen(self) -> None:
        """A request, a target and a resolution cannot be changed, and compare by value."""
        request = Request("a.test", ("h2",), "192.0.2.7:1", "public")
        self.assertEqual(request, Request("a.test", ("h2",), "192.0.2.7:1", "public"))
        for value, name in ((request, "server_name"), (Target("a", 1), "host"), (Resolution([]), "ttl")):
            self.assertRaises(attrs.exceptions.FrozenInstanceError, setattr, value, name, "x")

    def test_target_in_logs(self) -> None:
        """A target is called by its label, else by host and port, IPv6 addresses in brackets."""
        self.assertEqual(str(Target("a.test", 6651)), "a.test:6651")
        self.assertEqual(str(Target("2001:db8::7", 6651)), "[2001:db8::7]:6651")
        self.assertEqual(str(Target("a.test", 6651, label="broker one")), "broker one")

    def test_bad_targets(self) -> None:
        """A target that cannot be dialled cannot be made, so that a resolver's fault is seen where it happens."""
        for arguments in (("a", 0), ("a", 70000), ("", 1), ("a b", 1), ("x" * 64, 1), ("a", 1, -1)):
            self.assertRaises(ValueError, Target, *arguments)
        for wrong in (("a", "6651"), ("a", 1, "2")):
            self.assertRaises(TypeError, Target, *wrong)

    def test_addresses(self) -> None:
        """A target may have the addresses of its host; by default it has none, and a host name is no address."""
        self.assertEqual((), Target("a", 1).addresses)
        self.assertEqual(("192.0.2.1", "::1"), Target("a", 1, addresses=("192.0.2.1", "::1")).addresses)
        self.assertRaises(ValueError, Target, "a", 1, addresses=("b.test",))

    def test_targets_of_a_resolution(self) -> None:
        """Any iterable of targets becomes a tuple; the answer holds until the configuration changes."""
        answer = Resolution(Target(host, 1) for host in "ab")
        self.assertEqual(answer.targets, (Target("a", 1), Target("b", 1)))
        self.assertIsNone(answer.ttl)

    def test_errors(self) -> None:
        """A refusal has its reason; a bad option its key, value and cure."""
        self.assertEqual((Refused("gone").reason, str(Refused("gone"))), ("gone", "gone"))
        error = BadOption("target", 7, "write a text")
        self.assertEqual(
            (error.key, error.value, error.cure, str(error)), ("target", 7, "write a text", "write a text")
        )
        self.assertEqual("silent", str(Unavailable("silent")))

    def test_watch(self) -> None:
        """A watching resolver is a resolver; its state has no error unless one is said."""
        self.assertTrue(IWatchingResolver.extends(IServerNameResolver))
        self.assertEqual((WatchState("3 brokers").summary, WatchState("3 brokers").error), ("3 brokers", None))
