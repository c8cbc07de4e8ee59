"""Tests that an imported sniproxy.conf routes as dlundquist/sniproxy does."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.peers import needs
from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.peers.geo import wait_until
from tests.support.differential import Backends
from tests.support.importing import Address, answers, imported, listens, normal_too, run_ours, unlike, variants

SNIPROXY = Path("/usr/sbin/sniproxy")
"""By its path: our own programs have a similar name."""

HEAD = """\
pidfile {folder}/sniproxy.pid
error_log {{
    filename {folder}/error.log
    priority debug
}}
"""

COMMON = r"""
# the usual style: a table of names and wildcards
listen 127.0.0.1:{port} {{
    proto tls
    table hosts
    fallback {other}
}}
table hosts {{
    broker-1.pulsar.test {one}
    broker-2\\.pulsar\\.test {two}
    .*\\.eu\\.pulsar\\.test {three}
    ^vip\\.pulsar\\.test$ {four}
}}
"""

ORDER = r"""
# the first match decides: broad patterns before narrow ones, alternatives, classes, upper case
listener 127.0.0.1:{port} {{ protocol tls }}
listener 127.0.0.1:{port3} {{ table third; fallback {other}; }}
listener 127.0.0.1:{port2} {{
    tab second
    bad_requests log
    access_log {{
        filename {folder}/access.log
    }}
}}
table {{
    ^broker-[0-9]+\\.   {one}    # a comment
    ^broker-7\\.w\\.test$ {two}
    .*\\.w\\.test$ {three}
    ^vip\\.w\\.test$ {four}
    (^a|b$) {other}
    NEVER {four}
}}
table second {{
    "^[a-m][^.]{{2,5}}\\.w\\.test$" {four}
    ^.*\\.w\\.test$ {two}; w\.test {three}
    .* {one}
}}
table third {{
    ^vip\\.w\\.test$ {two}
    .* {three}
}}
"""

PORTS = r"""
# targets without a port, and a second listener with the same table
listen 127.0.0.1:{port} {{
    table t
}}
listen 127.0.0.1:{port2} {{
    table t
}}
table t {{
    ^same\\.test$ 127.0.0.2
    \\.below\\.test$ {one}
    ^plain\\.test$ {two}
}}
"""


class SniproxyTests(TestCase):
    """dlundquist/sniproxy as Debian has it, and this proxy on the import."""

    timeout = 300

    def setUp(self) -> None:
        """Start the backends."""
        if not SNIPROXY.exists():
            needs.unavailable("no sniproxy of dlundquist here: apt-get install -y sniproxy")
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.backends = Backends(self, ["one", "two", "three", "four", "other"])

    def compare(self, template: str, *words: str, count: int = 1) -> str:
        """Ask both for variants of the names. @return: the report of the import."""
        ports = free_ports(count)
        keys = {"port": ports[0], "port2": ports[-1], "port3": ports[len(ports) // 2], "folder": self.folder.absolute()}
        for port in ports:
            self.backends.add(f"same-{port}", "127.0.0.2", port)
        file = self.folder / "sniproxy.conf"
        file.write_text((HEAD + template).format(**keys, **self.backends.addresses))
        addresses: dict[str, Address] = {str(port): ("127.0.0.1", port) for port in ports}
        names = variants(*words)
        self.assertGreaterEqual(len(names), 200)
        child = Child([str(SNIPROXY), "-f", "-n", "1024", "-c", str(file.absolute())])
        self.addCleanup(child.stop)
        wait_until(lambda: all(map(listens, addresses.values())), "sniproxy listens")
        theirs = answers(addresses, normal_too(names))
        child.stop()
        toml, report = imported("sniproxy", file)
        run_ours(self, self.folder, toml)
        self.assertEqual(unlike(theirs, answers(addresses, names)), [], toml)
        reached = {answer for answer in theirs.values() if answer != "refused"}
        self.assertGreaterEqual(len(reached), 3)
        return report

    def test_names_and_wildcards(self) -> None:
        """Names without anchors, escaped dots, and a fallback."""
        report = self.compare(
            COMMON, "broker-1.pulsar.test", "broker-2.pulsar.test", "b.eu.pulsar.test", "vip.pulsar.test"
        )
        self.assertIn("3 patterns without ^ and $", report)

    def test_first_match(self) -> None:
        """Broad patterns before narrow ones, two tables, and no fallback."""
        self.compare(ORDER, "broker-7.w.test", "broker-12.w.test", "vip.w.test", "w.test", "never", "a.b", count=3)

    def test_port_of_the_listener(self) -> None:
        """A target without a port has the port of the listener."""
        self.compare(PORTS, "same.test", "plain.test", "x.below.test", "other.example", count=2)
