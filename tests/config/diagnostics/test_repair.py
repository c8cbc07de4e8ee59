"""Tests for sniproxy.config.diagnostics.repair."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.diagnostics.repair import repair


class RepairTests(SynchronousTestCase):
    """repair: replaces a faulty value."""

    def test_optional(self) -> None:
        """A key with a default is removed; of a list, only the faulty item."""
        data: dict[str, Any] = {"timeouts": {"idle": "x", "hello": 1}, "policy": {"allow_ports": [0, 1]}}
        self.assertTrue(repair(data, ("timeouts", "idle"), "x", None, 1))
        self.assertTrue(repair(data, ("policy", "allow_ports"), 0, None, 1))
        self.assertEqual({"timeouts": {"hello": 1}, "policy": {"allow_ports": [1]}}, data)

    def test_needed(self) -> None:
        """A required key gets a value that is unique; a listener keeps its name, which routes may use."""
        data: dict[str, Any] = {"listener": [{"endpoint": "4443"}], "route": [{"server_name": "a b"}, 7]}
        self.assertTrue(repair(data, ("listener", 0, "endpoint"), "4443", None, 1))
        self.assertEqual("4443", data["listener"][0]["name"])
        self.assertTrue(repair(data, ("route", 0, "server_name"), "a b", None, 2))
        self.assertTrue(repair(data, ("route", 1), 7, None, 3))
        self.assertNotEqual(data["route"][0]["server_name"], data["route"][1]["server_name"])

    def test_unknown(self) -> None:
        """A misspelt key is renamed; a key that resembles no other is removed."""
        data: dict[str, Any] = {"route": [{"servername": "a", "x": 1}]}
        repair(data, ("route", 0, "servername"), None, "server_name", 1)
        repair(data, ("route", 0, "x"), None, "", 1)
        self.assertEqual([{"server_name": "a"}], data["route"])

    def test_nothing(self) -> None:
        """For a missing key nothing changes, and False is returned."""
        self.assertFalse(repair({}, ("timeouts", "idle"), 1, None, 1))
        self.assertFalse(repair({"timeouts": {}}, ("timeouts", "idle"), 1, None, 1))

    def test_missing_place(self) -> None:
        """A path into a list or a value that does not have it changes nothing."""
        data: dict[str, Any] = {"route": [], "timeouts": 3}
        self.assertFalse(repair(data, ("route", 0), 7, None, 1))
        self.assertFalse(repair(data, ("route", "x"), 7, None, 1))
        self.assertFalse(repair(data, ("timeouts", "idle"), 7, None, 1))
        self.assertEqual({"route": [], "timeouts": 3}, data)

    def test_items(self) -> None:
        """An item of a list becomes a valid item of that list."""
        data: dict[str, Any] = {"policy": {"allow_ports": ["x", 1]}, "admin": {"hosts": ["a", 7]}}
        self.assertTrue(repair(data, ("policy", "allow_ports", 0), "x", None, 1))
        self.assertTrue(repair(data, ("admin", "hosts", 1), 7, None, 2))
        self.assertEqual({"policy": {"allow_ports": [6651, 1]}, "admin": {"hosts": ["a", "repaired.invalid"]}}, data)

    def test_last_item(self) -> None:
        """A list whose only item is wrong goes."""
        data: dict[str, Any] = {"policy": {"allow_ports": [0]}}
        self.assertTrue(repair(data, ("policy", "allow_ports"), 0, None, 1))
        self.assertEqual({"policy": {}}, data)

    def test_tables(self) -> None:
        """A value in place of tables becomes one listener, no route, a static resolver; names stay."""
        data: dict[str, Any] = {"listener": 7, "route": "x", "resolver": {"r": 7}, "bridge": [{"name": "b"}]}
        for number, path in enumerate((("listener",), ("route",), ("resolver", "r"))):
            self.assertTrue(repair(data, path, None, None, number))
        self.assertTrue(repair(data, ("bridge", 0), None, None, 9))
        (listener,), (bridge,) = data["listener"], data["bridge"]
        self.assertEqual(["endpoint"], list(listener))
        self.assertEqual(([], {"r": {"type": "static"}}), (data["route"], data["resolver"]))
        self.assertEqual(("b", "-"), (bridge["name"], bridge["trust"]))
        self.assertNotEqual(listener["endpoint"], bridge["endpoint"])

    def test_endpoints(self) -> None:
        """A listener gets no name from an endpoint that is shared or no text, and [admin] never does."""
        same, number = {"endpoint": "x"}, {"endpoint": 7}
        data: dict[str, Any] = {"listener": [same, dict(same), number], "admin": {"endpoint": "y"}}
        for path in (("listener", 0), ("listener", 2), ("admin",)):
            self.assertTrue(repair(data, (*path, "endpoint"), None, None, 1))
        for table in (same, number, data["admin"]):
            self.assertEqual({"endpoint": "tcp:1:interface=127.255.0.2"}, table)

    def repaired(self, kind: str, table: dict[str, Any], key: str, value: object = None) -> dict[str, Any]:
        """The first table of a kind after the repair of a key."""
        data: dict[str, Any] = {kind: [table]}
        self.assertTrue(repair(data, (kind, 0, key), value, None, 1))
        return table

    def test_targets(self) -> None:
        """A route keeps one target at least; a TLS listener has none."""
        good = "repaired.invalid:6651"
        for kind, table, key, value, expected in (
            ("route", {"target": ["a:0", "b:1"]}, "target", "a:0", {"target": [good, "b:1"]}),
            ("route", {"target": "a:0"}, "target", "a:0", {"target": good}),
            ("route", {"target": "a:1", "resolver": "x"}, "target", None, {"target": "a:1"}),
            ("route", {"resolver": "x"}, "resolver", "x", {"target": good}),
            ("route", {}, "target", None, {"target": good}),
            ("listener", {"plaintext": True}, "target", None, {"plaintext": True, "target": good}),
            ("listener", {"target": "a:1"}, "target", "a:1", {}),
        ):
            self.assertEqual(expected, self.repaired(kind, table, key, value))

    def test_needed_together(self) -> None:
        """A key that others need gets a valid value, so that they have no error of their own."""
        cidrs, proxy = ["10.0.0.0/8"], {"proxy_service_url": "pulsar+ssl://repaired.invalid:4443"}
        for kind, table, key, value, expected in (
            ("route", {"send_proxy": "v3"}, "send_proxy", "v3", {"send_proxy": "v2"}),
            ("listener", {"proxy_protocol": 7}, "proxy_protocol", 7,
             {"proxy_protocol": "optional", "proxy_protocol_from": cidrs}),
            ("bridge", {"proxy_protocol": "x"}, "proxy_protocol", "x", {**proxy, "proxy_protocol": "SNI"}),
            ("listener", {"plaintext": 7, "target": "a:1"}, "plaintext", 7, {"plaintext": True, "target": "a:1"}),
            ("listener", {"plaintext": 7, "certificates": "c"}, "plaintext", 7,
             {"plaintext": False, "certificates": "c"}),
            ("route", {"server_name": "a", "listener": 7}, "listener", 7, {"server_name": "a"}),
        ):  # fmt: skip
            self.assertEqual(expected, self.repaired(kind, table, key, value))

    def test_other_listener(self) -> None:
        """A route that loses its listener gets another name if a route has the same."""
        data: dict[str, Any] = {"route": [{"server_name": "a", "listener": "x"}, {"server_name": "a"}]}
        self.assertTrue(repair(data, ("route", 0, "listener"), "x", None, 1))
        self.assertNotEqual("a", data["route"][0]["server_name"])
        self.assertNotIn("listener", data["route"][0])

    def test_faults(self) -> None:
        """A fault with a wrong key becomes one that needs no other key, and keeps its name."""
        data: dict[str, Any] = {"fault": [{"name": "f", "action": "drop", "nth": "x"}, {"name": 7}, 7]}
        self.assertTrue(repair(data, ("fault", 0, "nth"), "x", None, 1))
        self.assertTrue(repair(data, ("fault", 1, "name"), 7, None, 2))
        self.assertTrue(repair(data, ("fault", 2), 7, None, 3))
        reset = {"action": "reset"}
        self.assertEqual([{"name": "f", **reset}, reset, reset], data["fault"])

    def test_items_of_resolvers(self) -> None:
        """A list of resolvers with a wrong item goes, and the route gets a target."""
        data: dict[str, Any] = {"route": [{"resolver": ["r", 7]}]}
        self.assertTrue(repair(data, ("route", 0, "resolver", 1), 7, None, 1))
        self.assertEqual([{"target": "repaired.invalid:6651"}], data["route"])

    def test_unknown_of_another_type(self) -> None:
        """A value that does not fit the key that was probably meant is repaired for that key."""
        data: dict[str, Any] = {"route": [{"sendproxy": 7, "targett": "a:1", "resolver": "r"}]}
        self.assertTrue(repair(data, ("route", 0, "sendproxy"), 7, "send_proxy", 1))
        self.assertTrue(repair(data, ("route", 0, "targett"), "a:1", "target", 1))
        self.assertEqual([{"send_proxy": "v2", "resolver": "r"}], data["route"])

    def test_termination(self) -> None:
        """A listener that terminates TLS gets all needed files; a plaintext listener loses them."""
        files = {"certificates": "repaired.pem", "upstream_trust": "repaired.pem"}
        self.assertEqual(files, self.repaired("listener", {"certificates": 7}, "certificates", 7))
        kept = self.repaired("listener", {"certificates": "c", "upstream_trust": ""}, "upstream_trust", "")
        self.assertEqual({"certificates": "c", "upstream_trust": "repaired.pem"}, kept)
        both = {"plaintext": True, "certificates": "c", "upstream_trust": "t"}
        self.assertEqual({"plaintext": True}, self.repaired("listener", both, "certificates", "c"))

    def test_needed_text(self) -> None:
        """Needed keys of other tables get a valid value."""
        self.assertEqual({"trust": "-"}, self.repaired("bridge", {}, "trust"))
        url = {"service_url": "pulsar+ssl://repaired.invalid:6651"}
        self.assertEqual(url, self.repaired("bridge", {"service_url": 7}, "service_url", 7))
