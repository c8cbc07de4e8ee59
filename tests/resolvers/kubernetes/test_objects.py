"""Tests for sniproxy.resolvers.kubernetes.objects."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.resolvers.kubernetes.objects import EndpointSlice, Page, Service

SLICE = """{
  "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
  "metadata": {"name": "a", "namespace": "b", "resourceVersion": "7", "managedFields": [{}], "labels": {"c": "d"}},
  "endpoints": [{"addresses": ["10.0.0.1"], "conditions": {"ready": true}, "hostname": "broker-0",
    "targetRef": {"kind": "Pod", "name": "broker-0", "namespace": "b", "uid": "u"}, "nodeName": "n", "zone": "z"}],
  "ports": [{"name": "tls", "port": 6651, "protocol": "TCP"}]
}"""


class ObjectTests(SynchronousTestCase):
    """The fields that are read."""

    def test_slice(self) -> None:
        """Names in the API are in camel case; unknown fields are ignored."""
        found = msgspec.json.decode(SLICE, type=EndpointSlice)
        self.assertEqual(("7", {"c": "d"}), (found.metadata.resource_version, found.metadata.labels))
        (endpoint,) = found.endpoints or []
        assert endpoint.target_ref is not None and endpoint.conditions is not None
        self.assertEqual("u", endpoint.target_ref.uid)
        self.assertEqual((True, None), (endpoint.conditions.ready, endpoint.conditions.serving))

    def test_null(self) -> None:
        """Null is an empty list; missing parts have their defaults."""
        found = msgspec.json.decode('{"endpoints": null, "ports": null}', type=EndpointSlice)
        self.assertEqual((None, None, ""), (found.endpoints, found.ports, found.metadata.name))
        self.assertIsNone(msgspec.json.decode("{}", type=Service).spec.ports)

    def test_continue(self) -> None:
        """The token of the next page."""
        self.assertEqual("x", msgspec.json.decode('{"metadata": {"continue": "x"}}', type=Page).metadata.continue_)
