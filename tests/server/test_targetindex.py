"""Tests for sniproxy.server.targetindex."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.slices import finish
from sniproxy.config.parser import parse
from sniproxy.config.warnings import all_routes
from sniproxy.routing.targetstats import MAX_NAMES, MAX_TARGETS
from sniproxy.server import targetindex
from sniproxy.server.targetindex import BATCH, index_steps
from tests.support.proxies import LISTENER

TEXT = """
[[listener]]
endpoint = "tcp:1"
name = "inside"
plaintext = true
target = "10.0.0.1:6650"
[[route]]
server_name = "a.test"
target = "10.0.0.1:6651"
[[route]]
server_name = "*.b.test"
target = ["10.0.0.1:6651", "10.0.0.2:6651 weight=2"]
[[route]]
server_name = "a.test"
listener = "public"
target = "{server_name}:6651"
[policy]
allow_cidrs = ["10.0.0.0/8"]
[default]
target = "10.0.0.2:6651"
"""


class IndexTests(SynchronousTestCase):
    """index_steps()."""

    def test_targets(self) -> None:
        """Each target with its routes and patterns; targets with placeholders are left out."""
        configuration = parse(LISTENER + TEXT, "test.toml")
        index = finish(index_steps(configuration))
        found = {key: (one.names, list(one.routes)) for key, one in index.targets.items()}
        self.assertEqual(
            {
                "10.0.0.1:6651": (["a.test", "*.b.test"], ["a.test", "*.b.test"]),
                "10.0.0.2:6651": (["*.b.test"], ["*.b.test", "default"]),
                "10.0.0.1:6650": ([], ["plaintext"]),
            },
            found,
        )
        self.assertEqual(5, index.routes)

    def test_keys(self) -> None:
        """A route for one listener has its connections there; the route of that name for all has the others."""
        configuration = parse(LISTENER + LISTENER.replace("public", "second") + TEXT, "test.toml")
        index = finish(index_steps(configuration))
        keys = [index.keys(route, ["public", "second"]) for route in all_routes(configuration)]
        both = ["public", "second"]
        self.assertEqual([("second", "a.test")], keys[0])
        self.assertEqual([(name, "*.b.test") for name in both], keys[1])
        self.assertEqual([("public", "a.test")], keys[2])
        self.assertEqual([(name, "default") for name in both], keys[3])
        self.assertEqual([("inside", "plaintext")], keys[4])

    def test_bounds(self) -> None:
        """A step reads few routes, and a target has few of them; targets beyond the limit are left out."""
        text = "".join(f'[[route]]\nserver_name = "{n}.test"\ntarget = "a.test:1"\n' for n in range(BATCH * 2))
        steps = index_steps(parse(LISTENER + text, "test.toml"))
        self.assertEqual(2, len(list(iter(lambda: next(steps, 0), 0))))
        index = finish(index_steps(parse(LISTENER + text, "test.toml")))
        self.assertEqual(MAX_NAMES, len(index.targets["a.test:1"].routes))
        self.patch(targetindex, "MAX_TARGETS", 1)
        self.assertGreater(MAX_TARGETS, 1)
        index = finish(index_steps(parse(LISTENER + TEXT, "test.toml")))
        self.assertEqual(["10.0.0.1:6651"], list(index.targets))
