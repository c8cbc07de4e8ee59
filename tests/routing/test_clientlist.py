"""Tests for sniproxy.routing.clientlist."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.events import Refusal, Result
from sniproxy.interfaces import BadValue
from sniproxy.routing import clientlist
from sniproxy.routing.clientlist import ClientList, check_client, client_text, is_endpoint_id, make_client_list
from sniproxy.tls.alerts import Alert
from sniproxy.util.names import plain_address


class ClientListTests(SynchronousTestCase):
    """make_client_list, ClientList and client_text."""

    def made(self, *texts: str) -> ClientList:
        found = make_client_list(texts)
        assert found is not None
        return found

    def test_networks(self) -> None:
        """An address is listed by itself or by its network."""
        clients = self.made("10.1.0.0/16", "192.0.2.7", "2001:db8::/32")
        for client, allowed in (
            ("10.1.2.3:1", True),
            ("192.0.2.7:1", True),
            ("[2001:db8::1]:1", True),
            ("[::ffff:10.1.0.1]:1", True),
            ("10.2.0.1:1", False),
            ("192.0.2.8:1", False),
            ("[2001:db9::1]:1", False),
            ("unix", False),
        ):
            self.assertEqual(allowed, clients.allows(client, {}), client)

    def test_remembers(self) -> None:
        """The address of a client that comes again is not parsed again."""
        parsed: list[str] = []

        def parse(host: str) -> IPv4Address | IPv6Address:
            parsed.append(host)
            return plain_address(host)

        self.patch(clientlist, "plain_address", parse)
        clients, others = self.made("203.0.113.0/24"), self.made("10.0.0.0/8")
        for port in range(3):
            self.assertTrue(clients.allows(f"203.0.113.77:{port}", {}))
            self.assertFalse(others.allows(f"203.0.113.77:{port}", {}))
        self.assertEqual(["203.0.113.77"], parsed)

    def test_endpoints(self) -> None:
        """A client is listed by the id of its private endpoint."""
        clients = self.made("vpce-08d2bf15fac5001c9", "305419896")
        for name, value, allowed in (
            ("aws_vpce_id", "vpce-08d2bf15fac5001c9", True),
            ("azure_link_id", "305419896", True),
            ("gcp_psc_id", "305419896", True),
            ("aws_vpce_id", "vpce-08d2bf15fac5001c8", False),
            ("authority", "vpce-08d2bf15fac5001c9", False),
        ):
            self.assertEqual(allowed, clients.allows("192.0.2.7:1", {name: value}), value)

    def test_text(self) -> None:
        """Lists and clients are shown."""
        self.assertEqual("10.0.0.0/8, 192.0.2.7/32, vpce-1", str(self.made("10.0.0.0/8", "vpce-1", "192.0.2.7")))
        self.assertEqual("192.0.2.7, aws_vpce_id vpce-1", client_text("192.0.2.7:1", {"aws_vpce_id": "vpce-1"}))
        self.assertEqual("unix", client_text("unix", {"authority": "a"}))

    def test_check(self) -> None:
        """Other clients are refused, with an alert."""
        clients = self.made("10.0.0.0/8")
        check_client(clients, "a.test", "10.0.0.1:1", {})
        error = self.assertRaises(Refusal, check_client, clients, "a.test", "192.0.2.7:1", {"aws_vpce_id": "vpce-1"})
        why = "client 192.0.2.7, aws_vpce_id vpce-1 is not in only_from of route a.test"
        self.assertEqual((why, Result.DENIED, Alert.ACCESS_DENIED), (str(error), error.result, error.alert))

    def test_endpoint_ids(self) -> None:
        """The ids of AWS, Azure and Google have a form of their own; other texts do not."""
        for text, expected in (
            ("vpce-08d2bf15fac5001c9", True),
            ("vpce-0123", True),
            ("305419896", True),
            ("18446744073709551615", True),
            ("18446744073709551616", False),
            ("0305419896", False),
            ("0x12345678", False),
            ("vpce-", False),
            ("VPCE-0123", False),
            ("office", False),
        ):
            self.assertEqual(expected, is_endpoint_id(text), text)

    def test_absent(self) -> None:
        """Without the key all clients are allowed."""
        self.assertIsNone(make_client_list(None))

    def test_errors(self) -> None:
        """An empty list and wrong texts are refused."""
        for texts in ([], ["10.0.0.1/8"], ["a b"], [""]):
            error = self.assertRaises(BadValue, make_client_list, texts)
            self.assertEqual("only_from", error.key)
