"""Tests for sniproxy.migrate.detect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.detect import detect
from sniproxy.migrate.formats import Format
from sniproxy.migrate.model import MigrateError, SourceFile


class DetectTests(SynchronousTestCase):
    """The program that a file is for."""

    def test_names(self) -> None:
        """By the usual file name, also in a folder."""
        for name, found in (("/etc/haproxy/haproxy.cfg", Format.HAPROXY), ("sni.yaml", Format.ATS)):
            self.assertIs(found, detect([SourceFile("notes", ""), SourceFile(name, "")]))

    def test_contents(self) -> None:
        """By content, under any name."""
        for text, found in (
            ("sni:\n- fqdn: a\n", Format.ATS),
            ("- fqdn: a\n", Format.ATS),
            ("# c\nCONFIG proxy.config.http.server_ports STRING 4443:ssl\n", Format.ATS),
            ("server_config = {\n", Format.ATS),
            ("global\n  daemon\n", Format.HAPROXY),
            ("frontend fe\n  bind :1\n", Format.HAPROXY),
            ("events {}\nstream {\n}\n", Format.NGINX),
            ("map $ssl_preread_server_name $up {\n}\n", Format.NGINX),
            ("user daemon\nlisten 443 {\n  proto tls\n}\n", Format.SNIPROXY),
            ("listener 127.0.0.1:443 {\n}\n", Format.SNIPROXY),
            ("table {\n}\n", Format.SNIPROXY),
            ("admin: {}\nstatic_resources:\n", Format.ENVOY),
            ('{"static_resources": {}}', Format.ENVOY),
            ("staticResources: {}\n", Format.ENVOY),
            ('{"configs": [{"@type": "type.googleapis.com/envoy.admin.v3.ListenersConfigDump"}]}', Format.ENVOY),
            ("apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\n", Format.TLSROUTE),
        ):
            self.assertIs(found, detect([SourceFile("x", text)]), text)

    def test_unknown(self) -> None:
        """The error says how to name the format."""
        error = self.assertRaises(MigrateError, detect, [SourceFile("x", "hello\n")])
        self.assertIn("x: format not recognised; name it with --from ats|haproxy|nginx", str(error))
