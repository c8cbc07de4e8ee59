"""Traffic Server, and the proxy on the import of its configuration, lead names to the same backends."""

from __future__ import annotations

import socket
import ssl
from threading import Thread

from sniproxy.proxyprotocol.header import Address
from sniproxy.proxyprotocol.writer import write_v1, write_v2
from tests.peers.importats import BROKER_PORT, HOST, REFUSED, ImportCase, Name, questions, variants
from tests.peers.material import Certificate
from tests.support.sockets import TIMEOUT_S

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
  {
     fqdn = 'pulsar-broker2',
     # Forward to Pulsar broker-2 which is listening on 6651
     tunnel_route = 'pulsar-broker2:6651'
  },
}
"""
"""The example of PIP-60, which Traffic Server 8 read."""

PIP60_YAML = """\
sni:
  - fqdn: pulsar-broker-vip
    tunnel_route: pulsar-broker-vip:6651
  - fqdn: pulsar-broker1
    tunnel_route: pulsar-broker1:6651
  - fqdn: pulsar-broker2
    tunnel_route: pulsar-broker2:6651
"""
"""The same, for Traffic Server 9."""

PIP60_RECORDS = """\
CONFIG proxy.config.http.connect_ports STRING 4443 6651
# ats-proxy cert file
CONFIG proxy.config.ssl.client.cert.path STRING /ats-cert.pem
# ats-proxy key file
CONFIG proxy.config.ssl.client.cert.filename STRING /ats-key.pem
# ssl-port on which ats will listen
CONFIG proxy.config.http.server_ports STRING {ports}
"""

INVERSIONS = """\
sni:
  - fqdn: '*.Eu.example.com'
    tunnel_route: one:6651
  - fqdn: broker-1.eu.example.com      # never reached
    tunnel_route: two:6651
  - fqdn: admin.example.com            # TLS ends there
    http2: off
  - fqdn: BROKER-2.Example.COM
    tunnel_route: two:6651
  - fqdn: '*.example.com'
    tunnel_route: three:6651
  - fqdn: '*.us.example.com'           # never reached
    tunnel_route: one:6651
  - fqdn: broker*.example.org
    tunnel_route: two:6651
  - fqdn: b[0-9]+.example.org
    tunnel_route: three:6651
  - fqdn: '*.example.org'
    tunnel_route: one:6651
  - fqdn: broker-7.example.org         # never reached
    tunnel_route: three:6651
  - fqdn: ''
    tunnel_route: two:6651
  - fqdn: one.deep.er.example.net
    tunnel_route: two:6651
  - fqdn: '*.er.example.net'
    tunnel_route: three:6651
"""

CAPTURES = """\
sni:
  - fqdn: '*.cap.test'
    tunnel_route: $1.internal:6651
  - fqdn: '*.last.test'
    tunnel_route: broker.$1:6651
  - fqdn: '*.port.test'
    tunnel_route: one.internal:$1
  - fqdn: literal.test                 # no star: stays $1
    tunnel_route: $1.internal:6651
  - fqdn: '*.second.test'              # one star: stays $2
    tunnel_route: $2.internal:6651
  - fqdn: '*.dash.test'                # not before a dot or colon: stays $1-x
    tunnel_route: $1-x.internal:6651
  - fqdn: '*'
    tunnel_route: $1.all:6651
"""

NO_PORT = f"""\
sni:
  - fqdn: own.test
    tunnel_route: {HOST.format(1)}
  - fqdn: '*.own.test'
    tunnel_route: $1.internal
  - fqdn: '*'
    tunnel_route: {HOST.format(2)}:6651
"""

CLIENTS = """\
sni:
  - fqdn: list.test
    tunnel_route: one:6651
    ip_allow: 127.0.0.2,127.0.1.0/24
  - fqdn: range.test
    tunnel_route: two:6651
    ip_allow: 127.0.0.5-127.0.0.9
  - fqdn: '*.range.test'
    tunnel_route: three:6651
    ip_allow: 127.0.0.1-127.0.0.3,10.0.0.0/8
  - fqdn: all.test
    tunnel_route: three:6651
"""

ANY_PORT = "CONFIG proxy.config.http.server_ports STRING {ports}\nCONFIG proxy.config.http.connect_ports STRING *\n"
SOME_PORTS = ANY_PORT.replace(" *\n", " 6651 6652 {first} {second}\n")


class ImportTests(ImportCase):
    """The import against Traffic Server."""

    def test_pip60(self) -> None:
        """PIP-60's own example, as it is there and as sni.yaml."""
        names = ["pulsar-broker-vip", "pulsar-broker1", "pulsar-broker2"]
        hosts = {name: self.backend(number) for number, name in enumerate(names, 1)}
        records = self.records(PIP60_RECORDS)
        asked = questions(variants(*names, *(f"pulsar-broker{number}" for number in range(3, 14))))
        self.assertGreaterEqual(len(asked), 200)
        for files in (
            {"ssl_server_name.config": PIP60, "records.config": records},
            {"sni.yaml": PIP60_YAML, "records.config": records},
        ):
            answers, _ = self.same(PIP60_YAML, records, hosts, asked, files)
            self.assertEqual({"1:6651", "2:6651", "3:6651", REFUSED}, set(answers))

    def test_pip60_forms(self) -> None:
        """Both forms of PIP-60's example are the same configuration."""
        one, other = (self.imported(files)[0] for files in ({"a.config": PIP60}, {"a.config": PIP60_YAML}))
        self.assertEqual(
            *(
                [line.partition(" #")[0] for line in text.splitlines() if not line.startswith("#")]
                for text in (one, other)
            )
        )

    def test_order(self) -> None:
        """The first entry wins, in any case of letters; an entry without a route keeps its name from later ones."""
        hosts = {name: self.backend(number) for number, name in enumerate(("one", "two", "three"), 1)}
        names = variants(
            "eu.example.com", "broker-1.eu.example.com", "admin.example.com", "broker-2.example.com", "example.com",
            "us.example.com", "broker-1.us.example.com", "broker.example.org", "broker-7.example.org", "b7.example.org",
            "b77.example.org", "bx.example.org", "example.org", "one.deep.er.example.net", "er.example.net",
        )  # fmt: skip
        wanted = [name for name in names if name is None or not _only_begins(name)]
        asked = questions(wanted)
        self.assertGreaterEqual(len(asked), 200)
        answers, report = self.same(INVERSIONS, self.records(SOME_PORTS), hosts, asked)
        self.assertEqual({"1:6651", "2:6651", "3:6651", REFUSED}, set(answers))
        for line in (4, 12, 20):
            self.assertRegex(report, rf"sni\.yaml:{line} fqdn: no route: .* matches these names first")

    def test_captures(self) -> None:
        """$1 becomes a part of host or port, where Traffic Server replaces it.

        Traffic Server 9 ends at a port that is no number.
        """
        self.backend(1)
        one, two = HOST.format(1), self.backend(2)
        self.backends.add("1:second", one, 6652)
        hosts = {"one.internal": one, "two.internal": two, "a.b.internal": two, "broker.one": one, "broker.two": two}
        hosts |= {"one.all": one, "two.x.all": two}
        ends = ("cap", "last", "port", "second", "dash")
        starts = (
            "one",
            "two",
            "ONE",
            "a.b",
            "three",
            "6651",
            "6652",
            "6653",
            "22",
            "one.two",
            "o-ne",
            "$1",
            "x_y",
            "1",
            "o",
        )
        names: list[Name] = [
            f"{start}.{end}.test" for start in starts for end in ends if end != "port" or start.isdigit()
        ]
        names += [f"{end}.test" for end in ends] + ["literal.test", None, "one", "TWO.x", "two.x", "three", "internal"]
        names += [f"{name}x" for name in ("one.cap.tes", "two.last.tes")] + [
            f"n{number}.cap.test" for number in range(30)
        ]
        asked = questions(names)
        self.assertGreaterEqual(len(asked), 200)
        answers, report = self.same(CAPTURES, self.records(SOME_PORTS), hosts, asked)
        self.assertEqual({"1:6651", "1:second", "2:6651", REFUSED}, set(answers))
        for stays in ("$1", "$2", "$1"):
            self.assertIn(f"{stays} stays as it is", report)

    def test_no_port(self) -> None:
        """A destination without a port has the one that the client connected to."""
        for port in self.ports:
            self.backends.add(f"1:{self.ports.index(port)}", HOST.format(1), port)
        hosts = {"a.internal": HOST.format(1), "b.internal": HOST.format(1), "other": self.backend(2)}
        asked = questions(["own.test", "a.own.test", "B.own.test", "c.own.test", "x.test", None])
        asked += questions(variants(*(f"n{number}.test" for number in range(13))))
        self.assertGreaterEqual(len(asked), 200)
        answers, _ = self.same(NO_PORT, self.records(SOME_PORTS), hosts, asked)
        self.assertEqual(["1:0", "1:1"], answers[:2])
        self.assertEqual({"1:0", "1:1", "2:6651", REFUSED}, set(answers))

    def test_clients(self) -> None:
        """ip_allow: addresses, networks and ranges."""
        hosts = {name: self.backend(number) for number, name in enumerate(("one", "two", "three"), 1)}
        sources = [f"127.0.{net}.{last}" for net in range(3) for last in (1, 2, 3, 5, 9, 10)]
        names = ["list.test", "range.test", "x.range.test", "A.B.Range.Test", "all.test", "unknown.test"]
        asked = questions(names, sources=sources)
        self.assertGreaterEqual(len(asked), 200)
        answers, _ = self.same(CLIENTS, self.records(SOME_PORTS), hosts, asked)
        self.assertEqual({"1:6651", "2:6651", "3:6651", REFUSED}, set(answers))

    def test_headers(self) -> None:
        """A port with pp takes connections with a PROXY protocol header, of both versions.

        Traffic Server 9 does not answer hellos without one there, and ends at a header with the command LOCAL.
        """
        hosts = {name: self.backend(number) for number, name in enumerate(("one", "two", "three"), 1)}
        addresses = Address("192.0.2.7", 50123), Address("198.51.100.1", 6652)
        headers = write_v1(*addresses), write_v2(*addresses, {}), write_v2(*addresses, {"authority": "a.test"})
        named = variants("broker-2.example.com", "a.eu.example.com", "b7.example.org", "admin.example.com")
        asked = [(name, port, None, start) for name in named for port in (0, 1) for start in headers]
        self.assertGreaterEqual(len(asked), 200)
        wanted = [one for one in asked if one[0] is None or not _only_begins(one[0])]
        answers, report = self.same(INVERSIONS, self.records(SOME_PORTS, ":pp"), hosts, wanted)
        self.assertEqual({"1:6651", "2:6651", "3:6651", REFUSED}, set(answers))
        self.assertIn("pp without proxy_protocol_allowlist believes everyone", report)


class DifferenceTests(ImportCase):
    """What the report says about Traffic Server 9, seen there."""

    def test_differences(self) -> None:
        """It compares only the beginning of a name with a wildcard, and a final dot; it ignores ports of entries.

        A star also matches an IP address, which C++ and Python clients send as a name.
        """
        hosts = {"one": self.backend(1), "two": self.backend(2)}
        sni = (
            "sni:\n- fqdn: '*.a.test'\n  tunnel_route: one:6651\n- fqdn: b.test\n  tunnel_route: two:6651\n"
            f"- fqdn: c.test\n  inbound_port_ranges: {self.ports[0]}\n  tunnel_route: two:6651\n"
            "- fqdn: '*'\n  tunnel_route: one:6651\n"
        )
        asked = questions(["x.a.test.a", "b.test.", "c.test", "192.0.2.7"])
        records = self.records(SOME_PORTS)
        before = self.original(sni, records, hosts, asked)
        self.assertEqual(["1:6651", "1:6651", "1:6651", "1:6651", "2:6651", "2:6651", "1:6651", "1:6651"], before)
        text, report, status = self.imported({"sni.yaml": sni, "records.config": records})
        self.assertEqual(0, status)
        for said in ("Traffic Server 9 compares only the beginning", "a name with a final dot", "an IP address"):
            self.assertIn(said, report)
        after = self.ours(text, hosts, asked)
        self.assertEqual(["1:6651", "1:6651", "2:6651", "2:6651", "2:6651", "1:6651", REFUSED, REFUSED], after)


class TerminationTests(ImportCase):
    """partial_blind_route."""

    def test_partial_blind(self) -> None:
        """Both end TLS with the same certificate, and speak TLS with the same backends."""
        folder, sni, certificates, hosts = self.lab.new_folder(), "sni:\n", "", {}
        names = list(self.lab.material.brokers)[:2]
        for number, name in enumerate(names, 1):
            pair = self.lab.material.brokers[name]
            hosts[f"b{number}.internal"] = HOST.format(number)
            self.tls_backend(f"backend {number}", HOST.format(number), pair)
            sni += f"- fqdn: {name}\n  partial_blind_route: b{number}.internal:{BROKER_PORT}\n"
            pem = folder / f"{number}.pem"
            pem.touch(mode=0o600)
            pem.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
            certificates += f"ssl_cert_name={pem}\n"
        records = self.records(SOME_PORTS) + (
            f"CONFIG proxy.config.ssl.server.cert.path STRING {folder}\n"
            f"CONFIG proxy.config.ssl.client.CA.cert.filename STRING {self.lab.material.trust}\n"
        )
        files = {"sni.yaml": sni, "records.config": records, "ssl_multicert.config": certificates}
        with self.traffic_server(files, hosts):
            first = [self.said(name, port) for name in names for port in self.ports]
        text, report, status = self.imported(files)
        self.assertEqual(0, status, report)
        with self.program(text, hosts):
            second = [self.said(name, port) for name in names for port in self.ports]
        self.assertEqual(first, second, text)
        self.assertEqual(["backend 1", "backend 1", "backend 2", "backend 2"], [one[0] for one in first])

    def tls_backend(self, said: str, host: str, pair: Certificate) -> None:
        """A TLS server that says this to each client, and closes."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(pair.certificate, pair.key)
        listening = socket.create_server((host, BROKER_PORT))
        self.addCleanup(listening.close)
        self.addCleanup(listening.shutdown, socket.SHUT_RDWR)

        def serve() -> None:
            while True:
                try:
                    sock, _ = listening.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(sock, server_side=True) as secure:
                        secure.recv(100)
                        secure.sendall(said.encode())
                except OSError:
                    continue

        Thread(target=serve, daemon=True).start()

    def said(self, name: str, port: int) -> tuple[str, bytes | None]:
        """What a backend says through a port, and the certificate there."""
        context = ssl.create_default_context(cafile=str(self.lab.material.trust))
        plain = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        with plain, context.wrap_socket(plain, server_hostname=name) as secure:
            certificate = secure.getpeercert(binary_form=True)
            secure.sendall(b"hello\n")
            return secure.recv(100).decode(), certificate


def _only_begins(name: str) -> bool:
    """Whether a name only begins like a wildcard, which is enough for Traffic Server 9."""
    return (name.endswith("x") and name.count(".") > 1) or name.lower().endswith(("comx", "orgx", "netx"))
