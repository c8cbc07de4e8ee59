"""The PROXY protocol with HAProxy, nginx and go-proxyproto: what they send, and what they read of ours."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Mapping
from typing import Any

from tests.peers import middleboxes, needs
from tests.peers.case import ProxyTestCase
from tests.peers.material import BROKER_NAMES, CLIENT_ROLE
from tests.peers.middleboxes import Box
from tests.peers.needs import require
from tests.peers.proxy import Connection, Program

NAME = BROKER_NAMES[0]
PAGE = "%[src]:%[src_port] %[dst]:%[dst_port] %[fc_pp_authority] %[fc_pp_unique_id]"
STREAM_PAGE = '"$proxy_protocol_addr:$proxy_protocol_port $proxy_protocol_server_addr:$proxy_protocol_server_port\n"'


class MiddleboxCase(ProxyTestCase):
    """A proxy with a route for one name."""

    def setUp(self) -> None:
        """Skip the tests without the programs."""
        require("haproxy", "nginx")
        if not middleboxes.STREAM_MODULE.exists():
            needs.unavailable("no stream module of nginx here: apt-get install -y libnginx-mod-stream")
        super().setUp()
        self.pair = self.lab.material.brokers[NAME]

    def program(self, target: str, listener: str = "", route: str = "") -> Program:
        """A proxy that ends with the test. `listener`, `route`: lines of their tables."""
        folder = self.lab.new_folder()
        text = (
            f'[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\n{listener}\n'
            f'[[route]]\nserver_name = "{NAME}"\ntarget = "{target}"\n{route}\n'
            f'[access_log]\npath = "{folder}/access.jsonl"\n'
        )
        program = Program(folder, text)
        self.addCleanup(program.stop)
        return program

    def box(self, started: Box) -> Box:
        """A middlebox that ends with the test."""
        self.addCleanup(started.child.stop)
        return started

    def haproxy(self, bind: str, *lines: str) -> Box:
        """HAProxy, which ends with the test."""
        return self.box(middleboxes.haproxy(self.lab.new_folder(), bind, *lines))

    def nginx(self, listen: str, *lines: str) -> Box:
        """nginx, which ends with the test."""
        return self.box(middleboxes.nginx(self.lab.new_folder(), listen, *lines))

    def haproxy_behind(self, accept: str = "accept-proxy") -> Box:
        """HAProxy as a target: it terminates TLS and answers with the addresses that it knows."""
        folder = self.lab.new_folder()
        bind = f"{accept} ssl crt {middleboxes.pem(folder, self.pair)}"
        page = f'http-request return status 200 content-type text/plain lf-string "{PAGE}"'
        return self.box(middleboxes.haproxy(folder, bind, "mode http", page))

    def nginx_behind(self, accept: str = "proxy_protocol") -> Box:
        """nginx as a target: it terminates TLS and answers with the addresses that it knows."""
        pair = [f"ssl_certificate {self.pair.certificate};", f"ssl_certificate_key {self.pair.key};"]
        return self.nginx(f"ssl {accept}", *pair, f"return {STREAM_PAGE};")

    def visit(self, port: int, certified: bool = False) -> tuple[str, str]:
        """The words of a page, and the client's address."""
        return middleboxes.visit(port, NAME, self.lab.material, certified)

    def one_line(self, program: Program) -> Connection:
        """Assert that the access log gets one line. Returns it."""
        (line,) = program.connections()
        return line


class FrontTests(MiddleboxCase):
    """HAProxy and nginx send us headers."""

    def check(self, front: Box, program: Program) -> Connection:
        """Assert that the log has the client, and its way. Returns the line."""
        said, client = self.visit(front.port)
        self.assertTrue(said)
        line = self.one_line(program)
        self.assertEqual(("ok", client), (line["result"], line["client"]))
        self.assertTrue(line["peer"].startswith("127.0.0.1:"), line)
        return line

    def behind(self, mode: str = "required") -> Program:
        """A proxy that reads headers and sends none."""
        return self.program(self.haproxy_behind("").address, f'proxy_protocol = "{mode}"')

    def haproxy_front(self, program: Program, options: str) -> Box:
        """HAProxy that passes TLS on to the proxy."""
        return self.haproxy("", "mode tcp", f"server next 127.0.0.1:{program.port} {options}")

    def test_haproxy_v1(self) -> None:
        """A header of version 1."""
        program = self.behind()
        self.assertEqual({}, self.check(self.haproxy_front(program, "send-proxy"), program)["proxy_tlv"])

    def test_haproxy_v2(self) -> None:
        """A header of version 2, on a listener that does not require one."""
        program = self.behind("optional")
        self.check(self.haproxy_front(program, "send-proxy-v2"), program)

    def test_haproxy_checksum(self) -> None:
        """A header with CRC32c."""
        program = self.behind()
        self.check(self.haproxy_front(program, "send-proxy-v2 proxy-v2-options crc32c"), program)

    def test_haproxy_fields(self) -> None:
        """HAProxy terminates TLS, and tells who the client is by the fields of its header."""
        program = self.behind()
        folder, trust = self.lab.new_folder(), self.lab.material.trust
        fields = "proxy-v2-options authority,unique-id,crc32c,ssl-cipher,cert-sig,cert-key"
        front = self.haproxy(
            f"ssl crt {middleboxes.pem(folder, self.pair)} ca-file {trust} verify optional",
            "mode http",
            "option httpclose",
            "unique-id-format %{+X}o%ci-%cp",
            f"server next 127.0.0.1:{program.port} ssl verify required ca-file {trust} sni str({NAME}) "
            f"send-proxy-v2-ssl-cn {fields}",
        )
        said, client = self.visit(front.port, certified=True)
        self.assertTrue(said)
        line = self.one_line(program)
        self.assertEqual((client, NAME), (line["client"], line["server_name"]))
        found: Mapping[str, str] = line["proxy_tlv"]
        self.assertEqual((NAME, CLIENT_ROLE, "true"), tuple(found[n] for n in ("authority", "ssl_cn", "ssl_verified")))
        self.assertEqual("TLSv1.3", found["ssl_version"])
        self.assertTrue(found["unique_id"].startswith("7F000007-"), found)
        self.assertLess({"ssl_cipher", "ssl_sig_alg", "ssl_key_alg"}, set(found))

    def test_haproxy_checks(self) -> None:
        """HAProxy's health checks succeed, with a header and without, and write no line in the access log."""
        for mode, send, check in (
            ("required", "send-proxy", ""),
            ("required", "send-proxy-v2", "check-send-proxy"),
            ("optional", "send-proxy-v2", "port {port}"),
        ):
            program = self.behind(mode)
            server = f"server next 127.0.0.1:{program.port} {send} check inter 20ms {check.format(port=program.port)}"
            front = self.haproxy("", "mode tcp", "option log-health-checks", server)
            front.child.wait_for_text("Health check for server box/next succeeded")
            self.check(front, program)
            (row,) = [one for one in middleboxes.haproxy_stats(front) if one["svname"] == "next"]
            status = row["check_status"].removeprefix("* ")  # the star: a check is running
            self.assertEqual(("UP", "L4OK", "0"), (row["status"], status, row["chkfail"]))
            program.stop()
            self.assertEqual(1, len(program.access_log.read_text().splitlines()))

    def test_nginx(self) -> None:
        """nginx sends version 1."""
        program = self.behind()
        self.check(self.nginx("", f"proxy_pass 127.0.0.1:{program.port};", "proxy_protocol on;"), program)

    def test_without_header(self) -> None:
        """HAProxy without send-proxy is refused where a header is required, and told in the log."""
        program = self.behind()
        front = self.haproxy_front(program, "")
        self.assertRaises((ssl.SSLError, OSError), self.visit, front.port)
        line = self.one_line(program)
        self.assertEqual("proxy_header", line["result"])
        self.assertIn("no PROXY protocol header from 127.0.0.1", line["reason"])


class BehindTests(MiddleboxCase):
    """HAProxy and nginx read our headers."""

    def test_haproxy(self) -> None:
        """HAProxy knows the client, and with version 2 the name and the connection's id in the log."""
        target = self.haproxy_behind()
        for route in 'send_proxy = "v1"', 'send_proxy = "v2"\nproxy_tlvs = ["authority", "unique_id"]':
            program = self.program(target.address, route=route)
            said, client = self.visit(program.port)
            found = self.one_line(program)
            fields = [NAME, found["id"]] if "v2" in route else []
            self.assertEqual([client, f"127.0.0.1:{program.port}", *fields], said.split())

    def test_nginx(self) -> None:
        """nginx knows the client."""
        target = self.nginx_behind()
        for version in "v1", "v2":
            program = self.program(target.address, route=f'send_proxy = "{version}"')
            said, client = self.visit(program.port)
            self.assertEqual([client, f"127.0.0.1:{program.port}"], said.split())

    def test_not_expected(self) -> None:
        """A target that does not read headers refuses the connection, and the reason says so."""
        program = self.program(self.haproxy_behind("").address, route='send_proxy = "v2"')
        self.assertRaises((ssl.SSLError, OSError), self.visit, program.port)
        self.assertIn("the target", self.one_line(program)["reason"])

    def test_health_checks(self) -> None:
        """Health checks with TLS begin with a header: they fail only where the target does not read it."""
        wrong = self.haproxy_behind("").address
        for version, right in ("v1", self.nginx_behind()), ("v2", self.haproxy_behind()):
            send = f'send_proxy = "{version}"\n'
            other = f'[[route]]\nserver_name = "{BROKER_NAMES[1]}"\ntarget = "{wrong}"\n{send}'
            program = self.program(right.address, route=f'{send}{other}[health]\ncheck = "tls"\ninterval = 0.5')
            program.wait_for_text(f"target {wrong} is down")
            said, client = self.visit(program.port)
            self.assertEqual(client, said.split()[0])
            program.stop()
            self.assertFalse([line for line in program.said if f"target {right.address} is down" in line])

    def test_chain(self) -> None:
        """The first client passes through a chain: HAProxy, two of ours, nginx."""
        target = self.nginx_behind()
        sends = 'send_proxy = "v2"'
        second = self.program(target.address, 'proxy_protocol = "required"', sends)
        first = self.program(f"127.0.0.1:{second.port}", 'proxy_protocol = "required"', sends)
        front = self.haproxy("", "mode tcp", f"server next 127.0.0.1:{first.port} send-proxy-v2")
        said, client = self.visit(front.port)
        self.assertEqual([client, front.address], said.split())
        self.assertEqual([client] * 2, [self.one_line(one)["client"] for one in (first, second)])


class GoTests(MiddleboxCase):
    """go-proxyproto, an independent implementation, at both ends of the proxy."""

    ADDRESSES = (("192.0.2.7:50123", "198.51.100.1:4443"), ("[2001:db8::7]:50123", "[2001:db8::1]:4443"))

    def setUp(self) -> None:
        """Skip the tests without the program."""
        require(parts=["go-proxyproto"])
        super().setUp()
        self.target = self.box(middleboxes.go_listen(self.lab.new_folder(), self.pair))

    def dial(self, program: Program, header: dict[str, Any]) -> None:
        """Assert that a client with this header gets an answer."""
        command = middleboxes.go_dial(program.port, NAME, self.lab.material, header)
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual({"said": "hello\n"}, json.loads(done.stdout or "{}"), done.stderr)

    def test_both_directions(self) -> None:
        """What it sends, we read; what we send, it reads: both versions, IPv4 and IPv6."""
        done = 0
        for version in 1, 2:
            program = self.program(self.target.address, 'proxy_protocol = "required"', f'send_proxy = "v{version}"')
            for source, destination in self.ADDRESSES:
                sent = {"version": version, "source": source, "destination": destination}
                self.dial(program, sent)
                done += 1
                read = middleboxes.go_headers(self.target, done)[-1]
                self.assertEqual({**sent, "tlvs": {}, "name": NAME}, read)
            logged = program.connections(lambda log: len(log) >= len(self.ADDRESSES))
            self.assertEqual([source for source, _ in self.ADDRESSES], [line["client"] for line in logged])

    def test_fields(self) -> None:
        """Fields that it sends are in our log; it reads ours."""
        route = 'send_proxy = "v2"\nproxy_tlvs = ["authority", "unique_id"]'
        program = self.program(self.target.address, 'proxy_protocol = "required"', route)
        source, destination = self.ADDRESSES[0]
        fields = {"1": b"h2", "2": b"a.test", "5": b"\x00\xff", "ea": b"\x01vpce-08d2bf15fac5001c9", "e5": b"own"}
        fields |= {"ee": b"\x01\x78\x56\x34\x12", "e0": bytes(7) + b"\x07", "4": bytes(9)}
        sent = {"version": 2, "source": source, "destination": destination}
        self.dial(program, {**sent, "tlvs": {kind: value.hex() for kind, value in fields.items()}})
        line = self.one_line(program)
        expected = {"alpn": "h2", "authority": "a.test", "unique_id": "00ff", "aws_vpce_id": "vpce-08d2bf15fac5001c9"}
        expected |= {"0xe5": b"own".hex(), "azure_link_id": str(0x12345678), "gcp_psc_id": "7"}
        self.assertEqual(expected, line["proxy_tlv"])
        (read,) = middleboxes.go_headers(self.target, 1)
        self.assertEqual({"2": NAME.encode().hex(), "5": line["id"].encode().hex()}, read["tlvs"])

    def test_local(self) -> None:
        """A header without a client (LOCAL): the connection is its own client, and so for the next one."""
        program = self.program(self.target.address, 'proxy_protocol = "required"', 'send_proxy = "v2"')
        self.dial(program, {"version": 2})
        line = self.one_line(program)
        self.assertEqual(line["peer"], line["client"])
        (read,) = middleboxes.go_headers(self.target, 1)
        self.assertEqual((line["client"], NAME), (read["source"], read["name"]))
