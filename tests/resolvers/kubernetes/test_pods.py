"""Tests for sniproxy.resolvers.kubernetes.pods."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Refused, Unavailable
from sniproxy.resolvers.kubernetes.endpoints import Endpoint, Slices, State
from sniproxy.resolvers.kubernetes.pods import MAX_SHOWN, PodTable, few, parse_template


def endpoint(name: str, address: str = "10.0.0.1", state: State = State.READY) -> Endpoint:
    """The endpoint of a pod."""
    return Endpoint(name, f"uid-{name}-{address}", (address,), 6651, state)


def table(*endpoints: Endpoint, notes: tuple[str, ...] = (), names: tuple[str, ...] = ("{pod}.test",)) -> PodTable:
    """A table with the service name vip.test."""
    return PodTable("ns/broker", Slices(endpoints, notes), map(parse_template, names), ["vip.test"])


class TemplateTests(SynchronousTestCase):
    """Templates of names."""

    def test_names(self) -> None:
        """The pod's name and its ordinal."""
        self.assertEqual("broker-3.a.test", parse_template("{pod}.A.test").name("broker-3"))
        self.assertEqual("b3.test", parse_template("b{ordinal}.test").name("pulsar-broker-3"))
        self.assertIsNone(parse_template("b{ordinal}.test").name("broker-x"))
        self.assertIsNone(parse_template("{pod}.test").name("a b"))

    def test_invalid(self) -> None:
        """A template needs a known placeholder, and must give a name."""
        for text, why in (
            ("a.test", "no placeholder"),
            ("{host}.test", "unknown placeholder"),
            ("{pod}..test", "empty"),
        ):
            self.assertIn(why, str(self.assertRaises(ValueError, parse_template, text)))


class TableTests(SynchronousTestCase):
    """Names of pods."""

    def hosts(self, names: PodTable, name: str) -> list[tuple[str, int]]:
        return [(target.host, target.weight) for target in names.resolution(name).targets]

    def test_names(self) -> None:
        """Each name leads to its pod, with all templates; the service name to all."""
        names = table(endpoint("b-0"), endpoint("b-1", "10.0.0.2"), names=("{pod}.test", "n{ordinal}.test"))
        self.assertEqual([("10.0.0.2", 1)], self.hosts(names, "b-1.test"))
        self.assertEqual([("10.0.0.1", 1)], self.hosts(names, "n0.test"))
        self.assertEqual([("10.0.0.1", 1), ("10.0.0.2", 1)], self.hosts(names, "vip.test"))
        self.assertTrue(names.knows("n0.test") and names.knows("vip.test"))
        self.assertFalse(names.knows("n2.test") or names.knows(None))
        self.assertEqual({"b-0.test", "b-1.test", "n0.test", "n1.test"}, set(names.names()))

    def test_refused(self) -> None:
        """Other names, and a hello without a name, are refused."""
        for name in ("b-9.test", None):
            error = self.assertRaises(Refused, table(endpoint("b-0")).resolution, name)
            self.assertIn("no pod of Service ns/broker", error.reason)

    def test_not_ready(self) -> None:
        """A pod that is not ready is unavailable; one that terminates and answers is not."""
        down = table(endpoint("b-0", state=State.DOWN))
        for name, why in (("b-0.test", "pod b-0 is not ready"), ("vip.test", "no ready endpoint")):
            error = self.assertRaises(Unavailable, down.resolution, name)
            self.assertIn(why, str(error))
            self.assertTrue(error.authoritative)
        stopping = table(endpoint("b-0", state=State.TERMINATING))
        self.assertEqual([("10.0.0.1", 1)], self.hosts(stopping, "b-0.test"))
        self.assertEqual([("10.0.0.1", 0)], self.hosts(stopping, "vip.test"))

    def test_empty(self) -> None:
        """Without endpoints every name is unavailable, with the reason."""
        empty = table(notes=("why",))
        for name in ("vip.test", "b-0.test"):
            error = self.assertRaises(Unavailable, empty.resolution, name)
            self.assertIn("; why", str(error))
            self.assertTrue(error.authoritative)

    def test_replaced(self) -> None:
        """If two pods have one name, the ready one gets it."""
        both = table(endpoint("b-0", "10.0.0.1", State.TERMINATING), endpoint("b-0", "10.0.0.2"))
        self.assertEqual([("10.0.0.2", 1)], self.hosts(both, "b-0.test"))

    def test_unnamed(self) -> None:
        """An endpoint without a name gets only connections for the service name."""
        names = table(endpoint(""))
        self.assertEqual([], list(names.names()))
        self.assertEqual([("10.0.0.1", 1)], self.hosts(names, "vip.test"))

    def test_described(self) -> None:
        """What each name is, and a summary."""
        names = table(endpoint("b-0"), endpoint("b-1", "fd00::1", State.DOWN))
        self.assertEqual("Service ns/broker: any ready endpoint", names.described["vip.test"])
        self.assertEqual("pod b-1, [fd00::1]:6651, not ready", names.described["b-1.test"])
        self.assertEqual("2 endpoints, 1 not ready", names.summary)

    def test_changes(self) -> None:
        """What a change is about, for the log."""
        before = table(*(endpoint(f"b-{number}") for number in range(4)))
        after = table(
            endpoint("b-0", "10.0.0.9"), endpoint("b-1", state=State.DOWN), endpoint("b-2", state=State.TERMINATING),
            endpoint("b-9"),
        )  # fmt: skip
        said = "; b-9.test added; b-3.test removed; b-0.test moved; b-2.test terminating; b-1.test not ready"
        self.assertEqual(said, after.changes(before))
        self.assertIn("; b-1.test ready", table(endpoint("b-1")).changes(after).replace("; b-0.test", ""))
        self.assertEqual("; b-9.test added", table(endpoint("b-9")).changes(None))

    def test_equal(self) -> None:
        """Tables with the same endpoints are equal."""
        self.assertEqual(table(endpoint("b-0")), table(endpoint("b-0")))
        self.assertNotEqual(table(endpoint("b-0")), table(endpoint("b-0", state=State.DOWN)))
        self.assertNotEqual(table(endpoint("b-0")), table(endpoint("b-0"), notes=("a",)))

    def test_few(self) -> None:
        """Long lists are cut."""
        self.assertEqual("a, b", few(["a", "b"]))
        self.assertIn("and 2 more", few([str(number) for number in range(MAX_SHOWN + 2)]))
