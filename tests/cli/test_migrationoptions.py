"""Tests for sniproxy.cli.migrationoptions."""

from __future__ import annotations

import io
import sys

from twisted.trial.unittest import SynchronousTestCase

from sniproxy import ctl


class OptionsTests(SynchronousTestCase):
    """The options of ``import`` and ``export``."""

    def test_import(self) -> None:
        """Several files, and a format."""
        options = ctl.parse(["import", "sni.yaml", "records.yaml", "--from", "ats", "--json"])
        self.assertEqual((["sni.yaml", "records.yaml"], "ats", True), (options.files, options.format, options.json))
        self.assertIsNone(ctl.parse(["import", "x"]).format)

    def test_export(self) -> None:
        """One file and a format, which is required."""
        options = ctl.parse(["export", "--to", "haproxy", "sniproxy.toml"])
        self.assertEqual(("sniproxy.toml", "haproxy"), (options.file, options.format))
        self.patch(sys, "stderr", io.StringIO())
        for words in (["export", "x"], ["export", "--to", "word", "x"], ["import"]):
            self.assertRaises(SystemExit, ctl.parse, words)

    def test_cluster_domain(self) -> None:
        """Both commands take it; it is a name."""
        for words in (["import", "x"], ["export", "--to", "tlsroute", "x"]):
            self.assertIsNone(ctl.parse(words).cluster_domain)
            self.assertEqual("k8s.test", ctl.parse([*words, "--cluster-domain", "K8s.test."]).cluster_domain)
            for text, why in (("10.0.0.1", "it is an IP address"), ("a b", "invalid domain 'a b'"), ("", "invalid")):
                error = io.StringIO()
                self.patch(sys, "stderr", error)
                self.assertRaises(SystemExit, ctl.parse, [*words, "--cluster-domain", text])
                self.assertIn(why, error.getvalue())
