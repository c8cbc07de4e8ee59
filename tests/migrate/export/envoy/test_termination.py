"""Tests for sniproxy.migrate.export.envoy.termination; tests.peers.test_export_termination runs it on Envoy."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.export.envoy.termination import downstream, made_filter, named_upstream, upstream

PAIR = {"certificate_chain": {"filename": "/a.pem"}, "private_key": {"filename": "/a.pem"}}


class TerminationTests(SynchronousTestCase):
    """TLS on both sides."""

    def common(self, socket: dict[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = socket["typed_config"]["common_tls_context"]
        self.assertEqual("TLSv1_2", found.pop("tls_params")["tls_minimum_protocol_version"])
        return found

    def test_downstream(self) -> None:
        """The certificate and its key are in one file."""
        self.assertEqual(
            {"tls_certificates": [PAIR]}, self.common(downstream(ListenerTable("x", certificates="/a.pem")))
        )

    def test_upstream(self) -> None:
        """Authorities, and a certificate if the listener has one for targets."""
        trusted = {"validation_context": {"trusted_ca": {"filename": "/b.pem"}}}
        self.assertEqual(trusted, self.common(upstream(ListenerTable("x", upstream_trust="/b.pem"))))
        own = ListenerTable("x", upstream_trust="/b.pem", upstream_certificate="/a.pem")
        self.assertEqual({"tls_certificates": [PAIR], **trusted}, self.common(upstream(own)))

    def test_filters(self) -> None:
        """The name of the hello is sent to the target, and verified."""
        self.assertEqual(
            {
                "name": "envoy.filters.network.x",
                "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.network.x.v3.X", "a": 1},
            },
            made_filter("network", "x", "X", {"a": 1}),
        )
        states = named_upstream()["typed_config"]["on_new_connection"]
        self.assertEqual(
            ["envoy.network.upstream_server_name", "envoy.network.upstream_subject_alt_names"],
            [state["object_key"] for state in states],
        )
