"""Tests for sniproxy.migrate.envoy.termination."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.envoy.chains import Chain
from sniproxy.migrate.envoy.clusters import Cluster
from sniproxy.migrate.envoy.filters import REFUSED, Destination
from sniproxy.migrate.envoy.termination import certificates, downstream_tls, terminated, trust
from sniproxy.migrate.model import Notes, SourceFile
from sniproxy.migrate.yamlnodes import YamlNode, documents
from tests.support.envoyconfig import API, as_json, tls_socket


def node(document: object) -> YamlNode:
    """A document."""
    (found,) = documents(SourceFile("envoy.yaml", as_json(document)))
    return found


def files(certificate: str, key: str) -> dict[str, Any]:
    """A certificate in files."""
    return {"certificate_chain": {"filename": certificate}, "private_key": {"filename": key}}


def chains(*certificates: dict[str, Any]) -> list[Chain]:
    """A chain with these certificates."""
    return [Chain(node({"transport_socket": tls_socket("Downstream", tls_certificates=list(certificates))}), REFUSED)]


class ContextTests(SynchronousTestCase):
    """Whether a chain terminates TLS."""

    def test_contexts(self) -> None:
        """By its transport socket, also inside another one, or by the key of old versions."""
        wrapper = f"{API}.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport"
        tls, raw = tls_socket("Downstream"), {"name": "envoy.transport_sockets.raw_buffer"}
        for document, expected in (
            ({"transport_socket": tls}, True),
            ({"transport_socket": raw}, False),
            ({"transport_socket": {"name": "envoy.transport_sockets.quic"}}, True),
            ({"transport_socket": {"typed_config": {"@type": wrapper, "transport_socket": raw}}}, False),
            ({"transport_socket": {"typed_config": {"@type": wrapper, "transport_socket": tls}}}, True),
            ({"tls_context": {"common_tls_context": {}}}, True),
            ({"name": "x"}, False),
        ):
            self.assertEqual(expected, downstream_tls(node(document)) is not None, document)


class CertificateTests(SynchronousTestCase):
    """Where certificates are."""

    def test_places(self) -> None:
        """One file, or one folder; else they cannot be had."""
        for written, expected in (
            ([files("/tls/a.pem", "/tls/a.pem")], "/tls/a.pem"),
            ([files("/tls/a.crt", "/tls/a.key"), files("/tls/b.crt", "/tls/b.key")], "/tls"),
            ([files("/tls/a.crt", "/keys/a.key")], None),
            ([files("/tls/a.txt", "/tls/a.key")], None),
            ([{"certificate_chain": {"inline_string": "x"}, "private_key": {"inline_string": "x"}}], None),
            ([], None),
        ):
            self.assertEqual(expected, certificates(chains(*written)), written)

    def test_trust(self) -> None:
        """The file that all contexts name."""
        first = node({"common_tls_context": {"validation_context": {"trusted_ca": {"filename": "a.pem"}}}})
        combined = {"default_validation_context": {"trusted_ca": {"filename": "a.pem"}}}
        second = node({"common_tls_context": {"combined_validation_context": combined}})
        self.assertEqual("a.pem", trust([first, second]))
        self.assertIsNone(trust([first, None]))
        self.assertIsNone(trust([None]))

    def test_whole(self) -> None:
        """The certificates and the targets' authorities; without these there is no termination."""
        trusted = node({"common_tls_context": {"validation_context": {"trusted_ca": {"filename": "ca.pem"}}}})
        (one,) = chains(files("/tls/a.pem", "/tls/a.pem"))
        (target,) = [Cluster("a", trusted, tls=trusted)]
        report = Notes()
        both = attrs.evolve(one, destination=Destination(("a.test:1",), clusters=(target,)))
        self.assertEqual(("/tls/a.pem", "ca.pem"), terminated([both], report))
        self.assertEqual(1, len(report.notes))
        self.assertIsNone(terminated(chains(files("/tls/a.pem", "/tls/a.pem")), Notes()))
        self.assertIsNone(terminated(chains(), Notes()))
