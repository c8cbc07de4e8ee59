"""Tests for sniproxy.migrate.ats.files."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.ats.files import Files, sort_files
from sniproxy.migrate.model import MigrateError, SourceFile


def sorted_of(*files: tuple[str, str]) -> Files:
    return sort_files([SourceFile(name, text) for name, text in files])


def counts(files: Files) -> dict[str, int]:
    """The sizes of the lists that are not empty."""
    names = ("sni", "server_configs", "records", "configs", "ip_allow", "certificates", "multicerts", "others", "empty")
    return {name: len(found) for name in names if (found := getattr(files, name))}


class SortFilesTests(SynchronousTestCase):
    """sort_files."""

    def test_kinds(self) -> None:
        """Each file is found by its content, whatever its name is."""
        for name, text, kind in (
            ("sni.yaml", "sni:\n- fqdn: a\n", "sni"),
            ("x", "# c\nsni:\n- fqdn: a\n", "sni"),
            ("ssl_server_name.yaml", "- fqdn: a\n  tunnel_route: b:1\n", "sni"),
            ("ssl_server_name.config", "server_config = {}", "server_configs"),
            ("lua", "-- c\nlocal server_config={\n}", "server_configs"),
            ("records.yaml", "records:\n  http: {}\n", "records"),
            ("r.yml", "records:\n  http: {}\n", "records"),
            ("records.config", "# c\nCONFIG proxy.config.a INT 1\n", "configs"),
            ("a", "LOCAL proxy.local.a INT 1\n", "configs"),
            ("ip_allow.yaml", "ip_allow:\n- apply: in\n", "ip_allow"),
            ("ssl_multicert.yaml", "ssl_multicert:\n- ssl_cert_name: a\n", "certificates"),
            ("ssl_multicert.config", "dest_ip=* ssl_cert_name=a.pem", "multicerts"),
            ("remap.config", "map a b", "others"),
            ("remap.yaml", "remap: []", "others"),
            ("logging.yaml", "- 1\n", "others"),
            ("sni.yaml", "# nothing", "empty"),
            ("sni.yaml", "other: 1", "empty"),
            ("ssl_server_name.config", "", "empty"),
            ("list.txt", "10.0.0.0/8", "others"),
            ("ssl_multicert.config", "x", "others"),
            ("standard input", "- fqdn: a\n", "sni"),
            ("standard input", "- {fqdn: a}\n", "sni"),
            ("x", "ip_allow: []\n", "ip_allow"),
        ):
            self.assertEqual({kind: 1}, counts(sorted_of((name, text))), (name, text))

    def test_empty(self) -> None:
        """Files with known names that have comments only are none."""
        names = ("records.yaml", "records.config", "ip_allow.yaml", "ssl_multicert.config", "ssl_multicert.yaml")
        self.assertEqual({}, counts(sorted_of(*((name, "# c\n\n  # d") for name in names))))

    def test_several(self) -> None:
        """One file may have several."""
        files = sorted_of(("all.yaml", "sni: []\nrecords: {}\nip_allow: []\n"), ("x.config", "server_config={}"))
        self.assertEqual({"sni": 1, "records": 1, "ip_allow": 1, "server_configs": 1}, counts(files))
        self.assertTrue(files.has_routes and files.has_records)
        self.assertFalse(Files().has_routes or Files().has_records)
        self.assertTrue(sorted_of(("sni.yaml", "")).has_routes)

    def test_other(self) -> None:
        """A file that is named in another is found by its path, else by its base name."""
        files = sorted_of(("a/ips.txt", "1"), ("b/ips.txt", "2"))
        for path, text in (("b/ips.txt", "2"), ("c/ips.txt", "1"), ("ips.txt", "1")):
            found = files.other(path)
            self.assertEqual(text, found and found.text)
        self.assertIsNone(files.other("x.txt"))

    def test_malformed(self) -> None:
        """A YAML file that is none is an error."""
        self.assertIn("sni.yaml:1", str(self.assertRaises(MigrateError, sorted_of, ("sni.yaml", "sni: ["))))

    @given(st.text(max_size=40), st.sampled_from(["sni.yaml", "records.config", "x"]))
    def test_any(self, text: str, name: str) -> None:
        """Any text is sorted, or is an error of the import."""
        try:
            sorted_of((name, text))
        except MigrateError:
            pass
