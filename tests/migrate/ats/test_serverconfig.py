"""Tests for sniproxy.migrate.ats.serverconfig."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.ats.serverconfig import read_server_config
from sniproxy.migrate.model import MigrateError, Place, SourceFile
from sniproxy.migrate.yamlnodes import YamlNode

PIP60 = """\
server_config = {
  {
     fqdn = 'pulsar-broker-vip',
     # Forward to Pulsar broker which is listening on 6651
     tunnel_route = 'pulsar-broker-vip:6651'
  },
  {
     fqdn = 'pulsar-broker1',
     # Forward to Pulsar broker-1 which is listening on 6651
     tunnel_route = 'pulsar-broker1:6651'
  },
}
"""


def read(text: str) -> YamlNode:
    return read_server_config(SourceFile("x.config", text))


class ReadServerConfigTests(SynchronousTestCase):
    """read_server_config."""

    def test_pip60(self) -> None:
        """The example of PIP-60, with the line of each value."""
        found = read(PIP60)
        self.assertEqual(
            [
                {"fqdn": "pulsar-broker-vip", "tunnel_route": "pulsar-broker-vip:6651"},
                {"fqdn": "pulsar-broker1", "tunnel_route": "pulsar-broker1:6651"},
            ],
            found.plain(),
        )
        self.assertEqual(Place("x.config", 10, "tunnel_route"), found.value[1].value["tunnel_route"].place)
        self.assertEqual(Place("x.config", 7, "server_config"), found.value[1].place)

    def test_forms(self) -> None:
        """Fields without commas, as in Traffic Server's documentation; comments, strings and values of all forms."""
        for text, value in (
            ("server_config = {{fqdn='a' tunnel_route='b:1'}}", [{"fqdn": "a", "tunnel_route": "b:1"}]),
            ('local server_config={{["fqdn"]="a";};}', [{"fqdn": "a"}]),
            ("server_config = {{[fqdn]=[[a]]}}", [{"fqdn": "a"}]),
            ("server_config = {{fqdn='a\\'b\\n', x=[[\nl]]}}", [{"fqdn": "a'b\n", "x": "l"}]),
            ("server_config={{a=true,b=false,c=nil,d=1.5,e=-2,f=STRICT}}",
             [{"a": True, "b": False, "c": None, "d": "1.5", "e": "-2", "f": "STRICT"}]),
            ("-- c\n--[[ long\n ]] server_config = {} # c", []),
            ("server_config = {fqdn='a'}", [{"fqdn": "a"}]),
            ("server_config = 'x'", ["x"]),
            ("server_config = ''", []),
            ("server_config = {{fqdn='a', 'ignored', x={'1','2'}}}", [{"fqdn": "a", "x": ["1", "2"]}]),
            ("x = 1 server_config server_config = {{a=1}} y = {", [{"a": "1"}]),
            ("server_config = {{}}", [[]]),
        ):  # fmt: skip
            self.assertEqual(value, read(text).plain(), text)

    def test_errors(self) -> None:
        """An error names the file and the line."""
        for text, said in (
            ("x = 1", "x.config: no table server_config"),
            ("server_config", "x.config: no table server_config"),
            ("server_config =", "x.config:1: the file ends"),
            ("\nserver_config = {\n{", "x.config:3: the file ends"),
            ("server_config = {{fqdn = }}", "x.config:1: '}' is no value of fqdn"),
            ("server_config = {{fqdn = 'a}}", 'x.config:1: unexpected "\'"'),
            ("\nserver_config = {\n(", "x.config:3: unexpected '('"),
            ("server_config = " + "{" * 200, "nested more than"),
        ):
            self.assertIn(said, str(self.assertRaises(MigrateError, read, text)), text)

    @given(st.text("{}=,;[]'\"-#\\ \nafq1.", max_size=60))
    def test_any(self, text: str) -> None:
        """Any text is read, or is an error of the import."""
        try:
            read(f"server_config = {text}")
        except MigrateError:
            pass
