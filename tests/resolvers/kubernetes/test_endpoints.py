"""Tests for sniproxy.resolvers.kubernetes.endpoints."""

from __future__ import annotations

import ipaddress
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Target
from sniproxy.resolvers.kubernetes import endpoints as module
from sniproxy.resolvers.kubernetes.endpoints import Slices, State, address_fault, balanced, collect, state_of
from sniproxy.resolvers.kubernetes.objects import Conditions, EndpointSlice
from tests.support.kubernetesapi import endpoint_slice, pod


def found(*slices: dict[str, Any], port: str | None = None, networks: Any = ()) -> Slices:
    """The endpoints of slices as the API sends them."""
    return collect([msgspec.convert(one, EndpointSlice) for one in slices], port, networks)


class StateTests(SynchronousTestCase):
    """Conditions."""

    def test_states(self) -> None:
        """Ready, serving and terminating as the API defines them; None is unknown."""
        for ready, serving, terminating, state in (
            (True, True, False, State.READY),
            (True, None, None, State.READY),
            (None, None, None, State.READY),
            (True, False, False, State.PUBLISHED),
            (False, False, False, State.DOWN),
            (False, None, None, State.DOWN),
            (False, True, True, State.TERMINATING),
            (True, True, True, State.TERMINATING),
            (False, False, True, State.DOWN),
            (True, False, True, State.DOWN),
            (False, None, True, State.DOWN),
            (False, True, False, State.DOWN),
        ):
            given_ = f"{ready}, {serving}, {terminating}"
            self.assertIs(state, state_of(Conditions(ready, serving, terminating)), given_)
        self.assertIs(State.READY, state_of(None))


class CollectTests(SynchronousTestCase):
    """Endpoints of slices."""

    def test_pods(self) -> None:
        """Each pod is an endpoint with its hostname, in the order of names."""
        one, two = found(endpoint_slice("x", pod("b-1", "10.0.0.2"), pod("b-0", "10.0.0.1", ready=False))).endpoints
        self.assertEqual(("b-0", ("10.0.0.1",), 6651, State.DOWN), (one.name, one.addresses, one.port, one.state))
        self.assertEqual(("b-1", Target("10.0.0.2", 6651)), (two.name, two.target()))

    def test_names(self) -> None:
        """The pod's name counts if there is no hostname; other endpoints have none."""
        plain = {**pod("b-0", "10.0.0.1"), "hostname": None}
        other = {"addresses": ["10.0.0.9"], "conditions": None, "targetRef": {"kind": "Node", "name": "n"}}
        names = [one.name for one in found(endpoint_slice("x", plain, other, {"addresses": ["10.0.0.8"]})).endpoints]
        self.assertEqual(["", "", "b-0"], names)

    def test_both_families(self) -> None:
        """A pod in slices of both families has both addresses."""
        six = endpoint_slice("a", pod("b-0", "fd00:0::1"), family="IPv6")
        (one,) = found(six, endpoint_slice("b", pod("b-0", "10.0.0.1"))).endpoints
        self.assertEqual(("10.0.0.1", "fd00::1"), one.target().addresses)

    def test_moved(self) -> None:
        """A pod that is in two slices for a moment is one endpoint; its better state counts."""
        old = endpoint_slice("x", pod("b-0", "10.0.0.1", ready=False))
        (one,) = found(old, endpoint_slice("y", pod("b-0", "10.0.0.1"))).endpoints
        self.assertEqual((("10.0.0.1",), State.READY), (one.addresses, one.state))

    def test_ports(self) -> None:
        """A port by name or number; the only one without; UDP does not count."""
        ports = [
            {"name": "http", "port": 80},
            {"name": "tls", "port": 6651},
            {"name": "dns", "port": 5, "protocol": "UDP"},
        ]
        many = endpoint_slice("x", pod("b-0", "10.0.0.1"), ports=ports)
        for port, number in (("tls", 6651), ("80", 80)):
            self.assertEqual([number], [one.port for one in found(many, port=port).endpoints])
        notes: list[tuple[str | None, str]] = [
            (None, "EndpointSlice x: name the port by the option port; TCP ports: http (80), tls (6651)"),
            ("dns", "EndpointSlice x: no TCP port dns; TCP ports: http (80), tls (6651)"),
            ("", "EndpointSlice x: no TCP port without a name; TCP ports: http (80), tls (6651)"),
        ]
        for wanted, note in notes:
            self.assertEqual(((), (note,)), (found(many, port=wanted).endpoints, found(many, port=wanted).notes))
        unnamed = endpoint_slice("x", pod("b-0", "10.0.0.1"), ports=[{"port": 6651}])
        self.assertEqual(6651, found(unnamed, port="").endpoints[0].port)
        for invalid in (0, 70000):
            bad = endpoint_slice("x", pod("b-0", "10.0.0.1"), ports=[{"port": invalid}])
            self.assertIn(f"invalid port {invalid}", found(bad).notes[0])
            self.assertIn(f"invalid port {invalid}", found(bad, port="").notes[0])
        self.assertIn("TCP ports: none", found(endpoint_slice("x", ports=[{"port": None}])).notes[0])

    def test_family(self) -> None:
        """Slices of host names are ignored."""
        names = endpoint_slice("x", pod("b-0", "a.test"), family="FQDN")
        self.assertEqual((), found(names).endpoints)
        self.assertIn("addressType FQDN", found(names).notes[0])

    def test_bound(self) -> None:
        """The number of endpoints is bounded."""
        self.patch(module, "MAX_ENDPOINTS", 2)
        pods = [pod(f"b-{number}", f"10.0.0.{number}") for number in range(1, 5)]
        self.assertEqual(2, len(found(endpoint_slice("x", *pods)).endpoints))

    def test_addresses(self) -> None:
        """Addresses that Kubernetes does not accept are ignored, unless the option networks has them."""
        for address in ("127.0.0.1", "169.254.169.254", "::1", "0.0.0.0", "224.0.0.1", "::ffff:127.0.0.1", "fe80::1"):
            self.assertIn("is not allowed", str(address_fault(address)), address)
        self.assertIn("is not an IP address", str(address_fault("a.test")))
        self.assertIsNone(address_fault("10.0.0.1"))
        networks = [ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("fd00::/8")]
        self.assertIsNone(address_fault("127.0.0.1", networks))
        self.assertIsNone(address_fault("fd00::1", networks))
        self.assertIn("not in the option networks", str(address_fault("10.0.0.1", networks)))
        loop = endpoint_slice("x", pod("b-0", "127.0.0.1"), {"addresses": []})
        self.assertEqual(((), 2), (found(loop).endpoints, len(found(loop).notes)))
        self.assertEqual(1, len(found(loop, networks=networks).endpoints))

    @given(st.lists(st.tuples(st.text(max_size=12) | st.ip_addresses().map(str), st.integers(-1, 70000)), max_size=5))
    def test_any(self, rows: list[tuple[str, int]]) -> None:
        """Any addresses and ports give valid targets or notes."""
        slices = [
            endpoint_slice(str(number), pod(f"b-{number}", address), ports=[{"port": port}])
            for number, (address, port) in enumerate(rows)
        ]
        for one in found(*slices).endpoints:
            one.target()


class BalancedTests(SynchronousTestCase):
    """Any endpoint."""

    def test_spares(self) -> None:
        """Ready endpoints take turns; those that still answer are spares, of weight 0; others get nothing."""
        slices = endpoint_slice(
            "x",
            pod("b-0", "10.0.0.1", ready=False, serving=True, terminating=True),
            pod("b-1", "10.0.0.2"),
            pod("b-2", "10.0.0.3", serving=False),
            pod("b-3", "10.0.0.4", ready=False),
        )
        rows = [(target.host, target.weight) for target in balanced(found(slices).endpoints, 5)]
        self.assertEqual([("10.0.0.2", 5), ("10.0.0.3", 0), ("10.0.0.1", 0)], rows)
