"""Tests for sniproxy.migrate.envoy.listeners."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import Imported
from tests.support.envoyconfig import (
    PROXY_PROTOCOL,
    TLS_INSPECTOR,
    address,
    chain,
    cluster,
    filter_of,
    notes,
    one_listener,
    rules,
    tls_socket,
)


def endpoints(found: Imported) -> list[tuple[str | None, str]]:
    """The names and endpoints of the listeners."""
    return [(table.name, table.endpoint) for _, table in found.listeners]


class AddressTests(SynchronousTestCase):
    """Where it listens."""

    def test_addresses(self) -> None:
        """IPv4, IPv6 and unix sockets, one or all addresses, with the backlog."""
        for written, expected in (
            (address(4443), "tcp:4443:interface=127.0.0.1"),
            (address(4443, "0.0.0.0"), "tcp:4443"),
            (address(4443, "::"), "tcp6:4443"),
            (address(4443, "fd00::1"), "tcp6:4443:interface=fd00\\:\\:1"),
            ({"pipe": {"path": "/run/a:b.sock"}}, "unix:/run/a\\:b.sock"),
        ):
            found = one_listener([chain("a")], address=written)
            self.assertEqual([("public", expected)], endpoints(found))
        found = one_listener([chain("a")], tcp_backlog_size=4096)
        self.assertEqual([("public", "tcp:4443:interface=127.0.0.1:backlog=4096")], endpoints(found))

    def test_more_addresses(self) -> None:
        """Each is a listener with the same chains."""
        found = one_listener(
            [chain("a", server_names=["a.test"])], additional_addresses=[{"address": address(4444)}, {}]
        )
        self.assertEqual(["public", "public-2"], [name for name, _ in endpoints(found)])
        self.assertEqual(["public", "public-2"], [rule.listener for rule in found.rules])

    def test_addresses_that_cannot_be(self) -> None:
        """Each is reported, and decides."""
        for written in (
            {"socket_address": {"address": "127.0.0.1", "port_value": 1, "protocol": "UDP"}},
            {"socket_address": {"address": "127.0.0.1", "named_port": "x"}},
            {"socket_address": {"address": "host.test", "port_value": 1}},
            address(70000),
            {"pipe": {"path": "@abstract"}},
            {},
        ):
            found = one_listener([chain("a")], address=written)
            self.assertEqual([], found.listeners)
            self.assertIn("no address to listen on", notes(found.report, True))

    def test_listener_behind_another_one(self) -> None:
        """Without a port of its own it is reported."""
        for keys in ({"bind_to_port": False}, {"deprecated_v1": {"bind_to_port": False}}):
            self.assertIn("bind_to_port is false", notes(one_listener([chain("a")], **keys).report, True))


class FilterTests(SynchronousTestCase):
    """Listener filters, and other keys."""

    def header(self, **config: Any) -> Imported:
        read = filter_of("listener", "proxy_protocol", "ProxyProtocol", **config)
        return one_listener([chain("a")], listener_filters=[read, TLS_INSPECTOR])

    def test_proxy_protocol(self) -> None:
        """A header is required or optional; the trusted peers must be added."""
        found = self.header()
        self.assertEqual("required", found.listeners[0][1].proxy_protocol)
        self.assertIn("proxy_protocol_from", notes(found.report, True))
        found = self.header(allow_requests_without_proxy_protocol=True)
        self.assertEqual("optional", found.listeners[0][1].proxy_protocol)

    def test_original_destination(self) -> None:
        """It is not known here."""
        redirected = filter_of("listener", "original_dst", "OriginalDst")
        for keys in ({"listener_filters": [redirected, TLS_INSPECTOR]}, {"use_original_dst": True}):
            self.assertIn("original destination", notes(one_listener([chain("a")], **keys).report, True))

    def test_other_filters(self) -> None:
        """Inspectors do nothing; others are reported."""
        known = filter_of("listener", "http_inspector", "HttpInspector")
        other = filter_of("listener", "local_ratelimit", "LocalRateLimit")
        found = one_listener([chain("a")], listener_filters=[known, TLS_INSPECTOR, other])
        self.assertIn("the listener filter local_ratelimit", notes(found.report, True))
        self.assertNotIn("http_inspector", notes(found.report))

    def test_other_keys(self) -> None:
        """A timeout that lets connections through differs; unknown keys are left out."""
        found = one_listener([chain("a")], continue_on_listener_filters_timeout=True, socket_options=[{"level": 1}])
        self.assertIn("is closed, not passed on", notes(found.report, False))
        self.assertIn("socket_options of listener public", notes(found.report, False))

    def test_matcher(self) -> None:
        """C{filter_chain_matcher} names chains; one that cannot be read is reported, and all names are refused."""
        action = {"action": {"typed_config": {"value": "first"}}}
        chains = [{**chain("a"), "name": "first"}]
        found = one_listener(chains, filter_chain_matcher={"on_no_match": action})
        self.assertEqual([("*", ("a.test:6651",)), ("", ("a.test:6651",))], rules(found))
        found = one_listener(chains, filter_chain_matcher={"on_no_match": action}, listener_filters=[])
        self.assertEqual([("", ("a.test:6651",))], rules(found))
        matcher: dict[str, Any] = {"matcher_list": {"matchers": [{"predicate": {}}]}}
        found = one_listener(chains, filter_chain_matcher=matcher, default_filter_chain=chain("b"))
        self.assertEqual(([], 1), (rules(found), len(found.listeners)))
        self.assertIn("filter_chain_matcher: a matcher without a predicate", notes(found.report, True))


class PlainTests(SynchronousTestCase):
    """Listeners that read no hellos."""

    def test_all_connections(self) -> None:
        """They go to the chain without names; a chain for raw bytes precedes."""
        limited = [{"address_prefix": "10.0.0.0", "prefix_len": 8}]
        chains = [chain("b", server_names=["b.test"]), chain("a", source_prefix_ranges=limited),
                  chain("c", transport_protocol="tls")]  # fmt: skip
        found = one_listener(chains, listener_filters=[])
        (_, table) = found.listeners[0]
        self.assertEqual((True, ["a.test:6651"], ["10.0.0.0/8"]), (table.plaintext, table.target, table.only_from))
        self.assertEqual([], found.rules)
        self.assertIn("never reached, in Envoy too", notes(found.report, False))
        found = one_listener([chain("a"), chain("b", transport_protocol="raw_buffer")], listener_filters=[])
        self.assertEqual(["b.test:6651"], found.listeners[0][1].target)

    def test_default_chain(self) -> None:
        """It is for all connections, if no other chain is."""
        found = one_listener(
            [chain("a", server_names=["a.test"])], listener_filters=[], default_filter_chain=chain("b")
        )
        self.assertEqual(["b.test:6651"], found.listeners[0][1].target)

    def test_no_destination(self) -> None:
        """Without one, there is no listener."""
        found = one_listener([chain("a", server_names=["a.test"])], listener_filters=[PROXY_PROTOCOL])
        self.assertEqual([], found.listeners)
        self.assertIn("without tls_inspector", notes(found.report, True))


class TerminationTests(SynchronousTestCase):
    """Chains that terminate TLS."""

    CERTIFICATE = {"certificate_chain": {"filename": "/tls/a.pem"}, "private_key": {"filename": "/tls/a.pem"}}
    TRUST = {"validation_context": {"trusted_ca": {"filename": "/tls/ca.pem"}}}

    def chain(self, to: str, *names: str) -> dict[str, Any]:
        return {
            **chain(to, server_names=list(names)),
            "transport_socket": tls_socket("Downstream", tls_certificates=[self.CERTIFICATE]),
        }

    def clusters(self) -> list[dict[str, Any]]:
        upstream = tls_socket("Upstream", **self.TRUST)
        return [cluster("a", "10.0.0.1:6651", transport_socket=upstream), cluster("b", "10.0.0.2:6651")]

    def test_whole_listener(self) -> None:
        """All chains terminate TLS, and speak it to the targets: so does the listener."""
        found = one_listener([self.chain("a", "a.test")], *self.clusters(), default_filter_chain=self.chain("a"))
        (_, table) = found.listeners[0]
        self.assertEqual(("/tls/a.pem", "/tls/ca.pem"), (table.certificates, table.upstream_trust))
        self.assertEqual(("a.test", ("10.0.0.1:6651",)), rules(found)[0])
        self.assertEqual("", notes(found.report, True))

    def test_some_chains(self) -> None:
        """Beside chains that pass TLS on, their names are refused."""
        passing = chain("b", server_names=["*.test"])
        last = self.chain("a")
        found = one_listener([self.chain("a", "a.test"), passing], *self.clusters(), default_filter_chain=last)
        self.assertEqual([("a.test", ()), ("*.test", ("10.0.0.2:6651",)), ("*", ()), ("", ())], rules(found))
        self.assertIn("Envoy terminates TLS in this chain", notes(found.report, True))

    def test_plain_targets(self) -> None:
        """A listener here would speak TLS to them: the names are refused."""
        found = one_listener([self.chain("b", "a.test")], *self.clusters())
        self.assertEqual([("a.test", ())], rules(found))

    def test_without_an_inspector(self) -> None:
        """A listener that terminates TLS needs none; its chains for names are never reached."""
        every = self.chain("a")
        del every["filter_chain_match"]
        found = one_listener([every, self.chain("b", "b.test")], *self.clusters(), listener_filters=[])
        (_, table) = found.listeners[0]
        self.assertEqual(("/tls/a.pem", False), (table.certificates, table.plaintext))
        self.assertEqual([("*", ("10.0.0.1:6651",)), ("", ("10.0.0.1:6651",))], rules(found))
