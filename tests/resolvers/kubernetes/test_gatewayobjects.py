"""Tests for sniproxy.resolvers.kubernetes.gatewayobjects."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.kubernetes.gatewayobjects import Gateway, ReferenceGrant, Selector, TLSRoute
from tests.support import gatewayapi
from tests.support.gatewayapi import typed


class ObjectTests(SynchronousTestCase):
    """Objects as the API has them."""

    def test_read(self) -> None:
        """All fields are read."""
        route = typed(gatewayapi.route("a", "*.b", creationTimestamp="2026"), TLSRoute)
        self.assertEqual((("pulsar", "a"), ["*.b"]), (route.key, route.spec.hostnames))
        gateway = typed(gatewayapi.gateway(gatewayapi.listener("x", "*.c")), Gateway)
        (one,) = gateway.spec.listeners or []
        assert one.tls is not None and one.allowed_routes is not None and one.allowed_routes.namespaces is not None
        found = (one.name, one.hostname, one.port, one.tls.mode, one.allowed_routes.namespaces.from_)
        self.assertEqual(("x", "*.c", 443, "Passthrough", "Same"), found)
        grant = typed(gatewayapi.grant(), ReferenceGrant)
        self.assertEqual("pulsar", (grant.spec.from_ or [])[0].namespace)

    def test_null(self) -> None:
        """Empty objects have defaults."""
        self.assertIsNone(typed({"spec": {"hostnames": None, "rules": None}}, TLSRoute).spec.rules)


class SelectorTests(SynchronousTestCase):
    """Label selectors."""

    def test_selectors(self) -> None:
        """Labels and expressions must all hold; an empty selector selects everything."""
        for selector, selected in (
            ({}, True),
            ({"matchLabels": {"a": "1"}}, True),
            ({"matchLabels": {"a": "2"}}, False),
            ({"matchLabels": {"b": "1"}}, False),
            (expression("In", "1", "2"), True),
            (expression("In", "2"), False),
            (expression("NotIn", "2"), True),
            (expression("NotIn", "1"), False),
            (expression("Exists"), True),
            (expression("DoesNotExist"), False),
            (expression("Gt", "0"), False),
            ({"matchLabels": {"a": "1"}, **expression("DoesNotExist")}, False),
        ):
            self.assertEqual(selected, typed(selector, Selector).matches({"a": "1"}), str(selector))


def expression(operator: str, *values: str) -> dict[str, Any]:
    """A selector with one expression about the label a."""
    return {"matchExpressions": [{"key": "a", "operator": operator, "values": list(values) or None}]}
