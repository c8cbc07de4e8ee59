"""Tests for sniproxy.connection.admission."""

from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.limits import Limits, make_limits
from sniproxy.config.schema import LimitsTable
from sniproxy.connection.admission import SLOW_HELLO_S, Admission, Permit
from sniproxy.events import Refusal, Result
from sniproxy.resolvers.static import StaticResolver
from sniproxy.routing.router import LiveRoute
from sniproxy.util.buffered import BufferAccount


class AdmissionCase(SynchronousTestCase):
    """Builds admissions."""

    def admission(self, affordable: int = 100, **keys: object) -> Admission:
        self.now = 0.0
        self.told: list[tuple[str, str]] = []
        self.ended: list[tuple[object, str]] = []
        made = Admission(
            lambda: self.now,
            lambda limit, client: self.told.append((limit, client)),
            lambda conn, why: self.ended.append((conn, why)),
            BufferAccount(),
        )
        made.change(make_limits(LimitsTable(**keys)), affordable)  # type: ignore[arg-type]
        return made

    def admit(self, admission: Admission, address: str = "192.0.2.7:1", conn: object = None) -> Permit:
        permit = admission.admit(address)
        assert permit is not None
        if conn is not None:
            permit.wait_for_hello(conn)
        return permit


class TotalTests(AdmissionCase):
    """Limits for all connections together."""

    def test_affordable(self) -> None:
        """Without a limit, descriptors bound the connections; half (and 64) of them may wait for a hello."""
        for affordable, hellos in ((1000, 500), (10, 64)):
            admission = self.admission(affordable)
            self.assertEqual((affordable, hellos), (admission.max_connections, admission.max_hellos))

    def test_full(self) -> None:
        """At the limit new connections wait until one has ended."""
        admission = self.admission(max_connections=2)
        permits = [self.admit(admission) for _ in range(2)]
        self.assertEqual("max_connections", admission.full())
        self.assertFalse(admission.make_room())
        permits[0].release()
        self.assertIsNone(admission.full())

    def test_hellos(self) -> None:
        """Connections that wait for a hello have a limit; a complete hello or an end frees a place."""
        admission = self.admission(max_hellos=2)
        first, second = (self.admit(admission, conn=conn) for conn in "ab")
        self.assertEqual("max_hellos", admission.full())
        first.receive_hello()
        self.assertIsNone(admission.full())
        self.admit(admission, conn="c")
        self.assertEqual("max_hellos", admission.full())
        second.release()
        self.assertIsNone(admission.full())

    def test_slowest_goes(self) -> None:
        """The connection that waited longest for its hello is closed to make room, but not before its minimum time."""
        admission = self.admission(max_hellos=2)
        first = self.admit(admission, conn="first")
        self.now = 0.5
        self.admit(admission, conn="second")
        self.assertFalse(admission.make_room())
        self.now = SLOW_HELLO_S
        self.assertTrue(admission.make_room())
        ((conn, why),) = self.ended
        self.assertEqual("first", conn)
        self.assertIn("within 1 s", why)
        self.assertFalse(admission.make_room())
        self.assertIsNone(admission.full())
        first.release()
        self.assertEqual(1, admission.refusals["max_hellos"])

    def test_slow_beside_tunnels(self) -> None:
        """If tunnels use all places, a slow hello is closed, too."""
        admission = self.admission(max_connections=2)
        self.admit(admission)
        self.admit(admission, conn="slow")
        self.now = SLOW_HELLO_S
        self.assertEqual("max_connections", admission.full())
        self.assertTrue(admission.make_room())


class ClientTests(AdmissionCase):
    """Limits by client."""

    def test_connections(self) -> None:
        """A client at its limit is refused until one of its connections ends; others are accepted."""
        admission = self.admission(max_connections_per_client=2)
        first, _ = self.admit(admission), self.admit(admission, "192.0.2.7:2")
        self.assertIsNone(admission.admit("192.0.2.7:3"))
        self.assertEqual([("max_connections_per_client", "192.0.2.7")], self.told)
        self.assertEqual({"max_connections_per_client": 1}, admission.refusals)
        self.admit(admission, "192.0.2.8:1")
        first.release()
        self.admit(admission)

    def test_name(self) -> None:
        """A permit has the client that it counts for; without a client, no limit by client applies."""
        admission = self.admission(exempt_cidrs=["192.0.2.8/32"])
        self.assertEqual("192.0.2.7", self.admit(admission).client)
        self.assertEqual("2001:db8::/64", self.admit(admission, "[2001:db8::1]:1").client)
        self.assertIsNone(self.admit(admission, "192.0.2.8:1").client)

    def test_ipv6(self) -> None:
        """The addresses of one IPv6 /64 network are one client."""
        admission = self.admission(max_connections_per_client=1)
        self.admit(admission, "[2001:db8::1]:1")
        self.assertIsNone(admission.admit("[2001:db8::ffff:1]:1"))
        self.admit(admission, "[2001:db8:0:1::1]:1")

    def test_hellos(self) -> None:
        """A client at its limit of pending hellos is refused until one is complete."""
        admission = self.admission(max_hellos_per_client=1)
        permit = self.admit(admission, conn="a")
        self.assertIsNone(admission.admit("192.0.2.7:2"))
        self.assertEqual("max_hellos_per_client", self.told[0][0])
        permit.receive_hello()
        self.admit(admission)

    def test_rate(self) -> None:
        """A client above its rate is refused, which costs no token."""
        admission = self.admission(rate_per_client=1, burst_per_client=2)
        for _ in range(2):
            self.admit(admission)
        for _ in range(5):
            self.assertIsNone(admission.admit("192.0.2.7:2"))
        self.now = 1.0
        self.admit(admission)
        self.assertEqual({"rate_per_client": 5}, admission.refusals)

    def test_exempt(self) -> None:
        """Exempt addresses and unix sockets have no limit by client, and count in the other limits."""
        admission = self.admission(
            max_connections=4,
            max_connections_per_client=1,
            max_hellos_per_client=1,
            rate_per_client=1,
            exempt_cidrs=["192.0.2.0/24"],
        )
        for address in ("192.0.2.7:1", "192.0.2.7:2", "unix", "unix"):
            self.admit(admission, address, address)
        self.assertEqual("max_connections", admission.full())

    def test_change(self) -> None:
        """New limits apply at once; existing connections stay and count; one that was exempt is released as such."""
        admission = self.admission()
        permits = [self.admit(admission) for _ in range(3)]
        admission.change(Limits(max_connections_per_client=2), 100)
        self.assertIsNone(admission.admit("192.0.2.7:9"))
        admission.change(make_limits(LimitsTable(max_connections_per_client=1, exempt_cidrs=["192.0.2.0/24"])), 100)
        exempt = self.admit(admission)
        for permit in (*permits, exempt):
            permit.release()
        admission.change(Limits(max_connections_per_client=1), 100)
        self.admit(admission)

    @given(st.lists(st.tuples(st.sampled_from(["192.0.2.7:1", "[2001:db8::1]:1", "unix"]), st.integers(0, 3))))
    def test_nothing_stays(self, steps: list[tuple[str, int]]) -> None:
        """After all clients have left, no state is kept, whatever stage they reached."""
        admission = self.admission(max_connections_per_client=3)
        permits = []
        for address, far in steps:
            permit = admission.admit(address)
            if permit is None:
                continue
            permits.append(permit)
            if far > 0:
                permit.wait_for_hello(object())
            if far > 1:
                permit.receive_hello()
            if far > 2:
                permit.enter_route(LiveRoute("a.test", None, StaticResolver(["a:1"])))
            self.assertLessEqual(sys.getsizeof(permit), 64)  # one for each idle tunnel
        for permit in permits:
            permit.release()
        kept = (admission._connections, admission._clients, admission._routes)
        self.assertEqual((0, {}, {}), kept)
        self.assertEqual((0, {}), (admission.connecting, admission._connecting))
        self.assertEqual(0, len(admission.hellos))


class RouteTests(AdmissionCase):
    """Limits by route."""

    def test_route(self) -> None:
        """A route at its limit refuses without an alert; the same name on another listener is another route."""
        admission = self.admission()
        route = LiveRoute("a.test", None, StaticResolver(["a:1"]), max_connections=1)
        first = self.admit(admission)
        first.enter_route(route)
        refused = self.assertRaises(Refusal, self.admit(admission).enter_route, route)
        self.assertEqual((Result.LIMIT, None), (refused.result, refused.alert))
        self.assertEqual("route a.test: at its limit of 1 connection", str(refused))
        self.assertEqual({"max_connections_per_route": 1}, admission.refusals)
        self.admit(admission).enter_route(LiveRoute("a.test", "public", route.resolver, max_connections=1))
        first.release()
        self.admit(admission).enter_route(route)

    def fill(self, admission: Admission, name: str) -> tuple[list[Permit], Refusal]:
        """Add connections of a route that wait for a target, until one is refused."""
        route = LiveRoute(name, None, StaticResolver(["a:1"]))
        permits: list[Permit] = []
        while True:
            permit = self.admit(admission)
            try:
                permit.enter_route(route)
            except Refusal as refusal:
                permit.release()
                return permits, refusal
            permits.append(permit)

    def test_share(self) -> None:
        """A route with dead targets gets half of the room, the next one half of the rest; no route gets all.

        The room is C{max_connecting}, or less if tunnels or descriptors leave less.
        """
        for keys, affordable, shares in (
            ({"max_connecting": 80}, 1000, [40, 20, 10]),
            ({}, 400, [100, 50, 25]),
            ({"max_connections": 80}, 1000, [32, 16, 8]),
            ({"max_connecting": 1000}, 80, [40, 20, 10]),
            ({"max_connecting": 80, "max_connecting_per_route": 30}, 1000, [30, 30, 20]),
        ):
            admission = self.admission(affordable, **keys)
            found = [len(self.fill(admission, name)[0]) for name in ("a.test", "b.test", "c.test")]
            self.assertEqual(shares, found, keys)
            self.assertIsNone(admission.full())
            self.assertEqual(sum(shares), admission.connecting)

    def test_share_refused(self) -> None:
        """The refusal has no alert, and names the key and the route; a connected tunnel frees its place."""
        admission = self.admission(max_connecting=2)
        (permit,), refusal = self.fill(admission, "a.test")
        self.assertEqual((Result.LIMIT, None), (refusal.result, refusal.alert))
        self.assertEqual(
            "route a.test: 1 connection waiting for a target ([limits] max_connecting_per_route)", str(refusal)
        )
        (other,), _ = self.fill(admission, "b.test")
        _, refusal = self.fill(admission, "c.test")
        self.assertIn("([limits] max_connecting)", str(refusal))
        self.assertEqual({"max_connecting_per_route": 1, "max_connecting": 2}, admission.refusals)
        permit.leave_connecting()
        permit.leave_connecting()
        self.admit(admission).enter_connecting("bridge", "public")
        other.release()
        self.assertEqual(1, admission.connecting)


class LateClientTests(AdmissionCase):
    """Connections whose client becomes known after they were admitted, by a PROXY protocol header."""

    def test_counted(self) -> None:
        """It counts for its client from then on, also as waiting for its hello, and no longer after its end."""
        admission = self.admission(max_connections_per_client=2, max_hellos_per_client=1)
        permit = admission.admit(None)
        assert permit is not None
        permit.wait_for_hello("first")
        self.assertIsNone(permit.client)
        permit.enter_client("192.0.2.7:1")
        self.assertEqual("192.0.2.7", permit.client)
        self.assertIsNone(admission.admit("192.0.2.7:2"))
        permit.receive_hello()
        other = admission.admit("192.0.2.7:3")
        assert other is not None
        late = admission.admit(None)
        assert late is not None
        error = self.assertRaises(Refusal, late.enter_client, "192.0.2.7:4")
        self.assertEqual("client 192.0.2.7: [limits] max_connections_per_client", str(error))
        late.release()
        permit.release()
        self.assertIsNotNone(admission.admit("192.0.2.7:5"))
        self.assertEqual(Result.LIMIT, error.result)
        self.assertEqual({"max_hellos_per_client": 1, "max_connections_per_client": 1}, dict(admission.refusals))

    def test_exempt(self) -> None:
        """A client without limits is not counted."""
        admission = self.admission(max_connections_per_client=1, exempt_cidrs=["10.0.0.0/8"])
        for _ in range(3):
            permit = admission.admit(None)
            assert permit is not None
            permit.enter_client("10.0.0.1:1")
            self.assertIsNone(permit.client)


class AdoptTests(AdmissionCase):
    """Tunnels of another process."""

    def test_beyond_limits(self) -> None:
        """They count for all limits, and no limit refuses them; new connections wait meanwhile."""
        admission = self.admission(max_connections=2, max_connections_per_client=1)
        permits = [admission.adopt(f"192.0.2.7:{port}", ("*.example", None)) for port in range(3)]
        self.assertEqual(("192.0.2.7", ("*.example", None)), (permits[0].client, permits[0].route))
        self.assertEqual("max_connections", admission.full())
        self.assertIsNone(admission.admit("192.0.2.7:9"))
        route = LiveRoute("*.example", None, StaticResolver(["a:1"]), max_connections=3)
        self.assertRaises(Refusal, admission.enter_route, route)
        for permit in permits:
            permit.release()
        self.assertIsNone(admission.full())
        self.admit(admission).enter_route(route)
        self.assertEqual(({}, 1), (dict(admission.hellos), admission.connecting))

    def test_no_route(self) -> None:
        """A tunnel of a listener without routes counts for none; a client without an address for no client."""
        admission = self.admission()
        permit = admission.adopt("unix", None)
        self.assertEqual((None, None), (permit.client, permit.route))
        permit.leave_connecting()
        permit.release()
        self.assertEqual(({}, {}), (admission._clients, admission._routes))
