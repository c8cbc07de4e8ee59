"""Tests that an imported nginx configuration routes as nginx does, and that nginx routes as we do on the export."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.peers import needs
from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.peers.middleboxes import STREAM_MODULE
from tests.support.differential import Backends, reached
from tests.support.importing import (
    REFUSALS,
    Address,
    answers,
    exported,
    imported,
    normal_too,
    run_ours,
    unlike,
    variants,
)

HEAD = f"""\
load_module {STREAM_MODULE};
daemon off;
error_log stderr notice;
pid nginx.pid;
events {{ }}
"""

HOSTNAMES = """
stream {
    map_hash_bucket_size 128;
    map $ssl_preread_server_name $target {
        hostnames;
        default             other;
        broker-1.pulsar.test one;
        .eu.pulsar.test     two;
        *.pulsar.test       three;
        www.*               "four";
        www.eu.*            one;
        ~^broker-\\d+\\.us\\. two;      # a comment
        "~*^[a-f]{2,3}0?\\.w\\.test$" four;
        blocked.pulsar.test "";
        include names/*.map;
    }
    upstream one { server @one@; }
    upstream two { least_conn; server @two@ weight=3; server 127.0.0.1:1 backup; }
    upstream three { server @three@; server 127.0.0.1:1 down; }
    upstream four { server @four@; }
    upstream other { server @other@; }
    server {
        listen 127.0.0.1:@port@;
        ssl_preread on;
        proxy_pass $target;
    }
}
"""

LITERALS = """
stream {
    # the style of many examples: no hostnames, upstream names, an expression for the rest
    map $ssl_preread_server_name $name {
        a.w.test        backend_one;
        B.W.test        backend_two;
        *.w.test        never;
        ~^.*\\.w\\.test$  backend_three;
        ~(^x|y$)        backend_four;
        ""              backend_other;
    }
    upstream backend_one { server @one@; }
    upstream backend_two { server @two@; }
    upstream backend_three { server @three@; }
    upstream backend_four { server @four@; }
    upstream backend_other { server @other@; }
    server { listen 127.0.0.1:@port@; ssl_preread on; proxy_pass $name; }
}
"""

CHAINED = """
stream {
    map $ssl_preread_server_name $site {
        ~^(?<head>[^.]+)\\.site\\.test$  $head;
        ~^(.+)-(\\d)\\.num\\.test$       n$2;
        whole.test                     $ssl_preread_server_name;
        default                        none;
    }
    map $site $pool { a one; b two; n1 three; n2 four; whole.test other; none other; }
    map "$ssl_preread_server_name:$server_port" $by_port {
        hostnames;
        c.test:@port@      one;
        *.c.test:@port@    two;
        ~^d.*:@port2@$     three;
        ~^.+\\.e\\.test:\\d+$ four;
        default            $pool;
    }
    map $server_port $by_listener { @port2@ other; default one; }
    upstream one { server @one@; }
    upstream two { server @two@; }
    upstream three { server @three@; }
    upstream four { server @four@; }
    upstream other { server @other@; }
    server { listen 127.0.0.1:@port@; listen 127.0.0.1:@port2@; ssl_preread on; proxy_pass $by_port; }
    server { listen 127.0.0.1:@port3@; ssl_preread on; proxy_pass $pool; }
    server { listen 127.0.0.1:@port4@; ssl_preread on; proxy_pass $by_listener; }
}
"""

BY_NAME = """
stream {
    # upstreams with the names of hosts, and parts of names
    upstream a.test { server @one@; }
    upstream b.c.test { server @two@; }
    upstream up_x { server @three@; }
    upstream up_y-1 { server @four@; }
    map $ssl_preread_server_name $part { ~^(?<p>[a-z0-9-]+)\\.p\\.test$ up_$p; default ""; }
    map $ssl_preread_server_name $address { c.test @one@; ~^d @two@; default @other@; }
    server { listen 127.0.0.1:@port@; ssl_preread on; proxy_pass $ssl_preread_server_name; }
    server { listen 127.0.0.1:@port2@; ssl_preread on; proxy_pass $part; }
    server { listen 127.0.0.1:@port3@; ssl_preread on; proxy_pass $address; }
    server { listen 127.0.0.1:@port4@; proxy_pass up_x; }
    server { listen 127.0.0.1:@port5@; proxy_pass $address; }
}
"""


SERVERS = """
stream {
    # servers that pass connections to each other, so that some targets get another header
    map $ssl_preread_server_name $first {
        hostnames;
        a.test     a;
        *.b.test   127.0.0.1:@port2@;
        c.test     unix:@folder@/c.sock;
        default    unix:@folder@/d.sock;
    }
    upstream a { server unix:@folder@/a.sock; }
    upstream one { server @one@; }
    map $ssl_preread_server_name $second { x.b.test one; ~^y @two@; default 127.0.0.1:@port3@; }
    server { listen 127.0.0.1:@port@; ssl_preread on; proxy_pass $first; }
    server { listen unix:@folder@/a.sock; proxy_pass one; }
    server { listen 127.0.0.1:@port2@; ssl_preread on; proxy_pass $second; }
    server { listen unix:@folder@/c.sock; ssl_preread on; proxy_pass $second; }
    server { listen unix:@folder@/d.sock; proxy_pass @other@; }
    server { listen *:@port3@; proxy_pass @three@; }
}
"""

CLIENTS = """
stream {
    map $ssl_preread_server_name $t { a.test @one@; }
    deny 127.0.0.5;
    allow 127.0.0.0/24;
    deny all;
    server { listen 127.0.0.1:@port@; ssl_preread on; proxy_pass $t; }
    server {
        listen 127.0.0.1:@port2@ proxy_protocol;
        set_real_ip_from 127.0.0.0/8;
        allow 10.1.0.0/16;
        allow 127.0.0.6;
        deny all;
        ssl_preread on;
        proxy_pass $t;
    }
    server { listen 127.0.0.1:@port3@ proxy_protocol; ssl_preread on; proxy_pass @two@; }
}
"""


class NginxCase(TestCase):
    """nginx as Debian has it, and backends."""

    timeout = 400

    def setUp(self) -> None:
        """Start the backends."""
        needs.require("nginx")
        if not STREAM_MODULE.exists():
            needs.unavailable("no stream module of nginx here: apt-get install -y libnginx-mod-stream")
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        # The path of a unix socket has at most 107 bytes.
        self.sockets = tempfile.mkdtemp(prefix="sockets-")
        self.addCleanup(shutil.rmtree, self.sockets)
        Path(self.sockets).chmod(0o755)  # nginx's workers may be another user
        self.backends = Backends(self, ["one", "two", "three", "four", "other"])

    def filled(self, text: str, ports: list[int]) -> str:
        """A configuration with addresses of backends and ports."""
        for name, address in self.backends.addresses.items():
            text = text.replace(f"@{name}@", address)
        text = text.replace("@folder@", str(self.sockets))
        for number, port in enumerate(ports):
            text = text.replace(f"@port{number + 1 if number else ''}@", str(port))
        return text

    def nginx(self, file: Path) -> Child:
        """nginx with a configuration, once it listens."""
        child = Child(["nginx", "-p", str(self.folder), "-e", "stderr", "-c", str(file)], cwd=self.folder)
        self.addCleanup(child.stop)
        child.wait_for_text("start worker process ")
        return child

    def compare(self, text: str, *words: str, count: int = 1, least: int = 4, files: tuple[Path, ...] = ()) -> str:
        """Ask nginx and this proxy on the import for variants of names. @return: the report of the import."""
        ports = free_ports(count)
        file = self.folder / "nginx.conf"
        file.write_text(self.filled(HEAD + text, ports))
        addresses: dict[str, Address] = {str(port): ("127.0.0.1", port) for port in ports}
        names = variants(*words)
        self.assertGreaterEqual(len(names), 200)
        child = self.nginx(file)
        theirs = answers(addresses, normal_too(names))
        child.stop()
        toml, report = imported("nginx", file, *files)
        run_ours(self, self.folder, toml)
        self.assertEqual(unlike(theirs, answers(addresses, names)), [], toml)
        self.assertGreaterEqual(len(set(theirs.values())), least)
        return report


class ImportTests(NginxCase):
    """Configurations of different styles."""

    def test_hostnames(self) -> None:
        """A map with hostnames: exact names, wildcards on both sides, expressions, a default, an included file."""
        names = self.folder / "names"
        names.mkdir()
        (names / "more.map").write_text(self.filled("included.test @four@;\nx.pulsar.test two;\n", []))
        report = self.compare(
            HOSTNAMES, "broker-1.pulsar.test", "b.eu.pulsar.test", "www.eu.org", "www.shop.test", "broker-12.us.pulsar",
            "ab0.w.test", "blocked.pulsar.test", "included.test", least=6, files=(names / "more.map",),
        )  # fmt: skip
        self.assertNotIn("!", report)

    def test_literals(self) -> None:
        """A map without hostnames: wildcards are literals, no default, hellos without a name."""
        report = self.compare(LITERALS, "a.w.test", "b.w.test", "x.w.test", "x.y", "other.test", least=6)
        self.assertIn("takes this key literally", report)

    def test_chained_maps(self) -> None:
        """Maps of maps, of captures, of the name and the port, and of the port."""
        self.compare(
            CHAINED, "a.site.test", "b.site.test", "q-1.num.test", "w-2.num.test", "whole.test", "x.c.test", "d.test",
            "x.e.test", count=4, least=5,
        )  # fmt: skip

    def test_names_as_targets(self) -> None:
        """Upstreams that the name, or a part of it, chooses; addresses in a map; servers that read no names."""
        self.compare(
            BY_NAME, "a.test", "b.c.test", "x.p.test", "y-1.p.test", "c.test", "d.x.test", count=5, least=5
        )  # fmt: skip

    def test_servers_behind_servers(self) -> None:
        """Servers that pass connections to other servers of the file."""
        report = self.compare(SERVERS, "a.test", "x.b.test", "y.b.test", "c.test", "z.b.test", count=3)
        self.assertIn("is a server of this file", report)

    def test_clients(self) -> None:
        """allow and deny, for clients themselves and for those that a PROXY protocol header names."""
        ports = free_ports(3)
        file = self.folder / "nginx.conf"
        file.write_text(self.filled(HEAD + CLIENTS, ports))
        clients = ("127.0.0.1", "127.0.0.5", "127.0.0.6", "127.0.1.1")
        headers = [f"PROXY TCP4 {client} 127.0.0.1 5 6\r\n".encode() for client in (*clients, "10.1.0.1", "10.2.0.1")]
        tried = [(ports[0], b"", client) for client in clients]
        tried += [(port, header, "127.0.0.1") for port in ports[1:] for header in (*headers, b"PROXY UNKNOWN\r\n", b"")]

        def reach() -> list[str]:
            found = [reached(("127.0.0.1", port), "a.test", header, client) for port, header, client in tried]
            return ["refused" if one.startswith(REFUSALS) else one for one in found]

        child = self.nginx(file)
        theirs = reach()
        child.stop()
        toml, _ = imported("nginx", file)
        run_ours(self, self.folder, toml)
        self.assertEqual(list(zip(tried, theirs, strict=True)), list(zip(tried, reach(), strict=True)), toml)
        self.assertEqual(set(theirs), {"one", "two", "refused"})


EXPORTED = """
[[listener]]
endpoint = "tcp:@port@:interface=127.0.0.1"
name = "clients"
[[listener]]
endpoint = "tcp:@port2@:interface=127.0.0.1"
name = "others"
[[listener]]
endpoint = "tcp:@port3@:interface=127.0.0.1"
plaintext = true
target = "@four@"
[[route]]
server_name = "broker-1.pulsar.test"
target = ["@one@ weight=3", "127.0.0.1:1 weight=0"]
[[route]]
server_name = "*.pulsar.test"
target = "@two@"
[[route]]
server_name = "*.eu.pulsar.test"
listener = "others"
target = "@three@"
[[route]]
server_name = 'b.eu.pulsar.test'
resolver = "refuse"
[[route]]
server_name = '~(?:broker|b)-[0-9]{1,2}\\.us\\.test'
target = "@four@"
[[route]]
server_name = '~(?P<x>.+)\\.us\\.test'
target = "@three@"
only_from = ["127.0.0.0/8"]
[[route]]
server_name = "closed.test"
target = "@one@"
only_from = ["10.0.0.0/8"]
[[route]]
server_name = "default"
target = "@one@"
[[route]]
server_name = ""
listener = "others"
target = "@two@"
[resolver.refuse]
type = "refuse"
@more@
"""

DEFAULT = """
[default]
target = "@other@"
[no_server_name]
target = "@four@"
[health]
eject = 10
[limits]
max_connections_per_client = 1000
"""

FORMED = """
[[listener]]
endpoint = "tcp:@port@:interface=127.0.0.1"
[[route]]
server_name = "*.at.test"
target = "127.0.0.{1}:@port9@"
[[route]]
server_name = '~([0-9]+)-(x)\\.test'
target = "127.0.0.{1}:@port9@"
only_from = ["127.0.0.0/8"]
[[route]]
server_name = "127.0.0.6"
target = "{server_name}:@port9@"
[policy]
allow_cidrs = ["127.0.0.0/8"]
allow_ports = [@port9@]
allow_names = ["127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6", "127.0.0.9"]
"""


class ExportTests(NginxCase):
    """Our configuration on this proxy, and its export on nginx."""

    def compare_export(self, text: str, ports: list[int], *words: str) -> str:
        """Ask both for variants of names. @return: the report of the export."""
        addresses: dict[str, Address] = {str(port): ("127.0.0.1", port) for port in ports}
        names = variants(*words)
        self.assertGreaterEqual(len(names), 200)
        toml = self.filled(text, ports)
        ours = run_ours(self, self.folder, toml)
        here = answers(addresses, normal_too(names))
        ours.finish(signal.SIGTERM)
        out, report = exported("nginx", self.folder / "sniproxy.toml")
        file = self.folder / "nginx.conf"
        file.write_text(f"daemon off;\nerror_log stderr notice;\npid {self.folder}/nginx.pid;\n{out}")
        command = ["nginx", "-e", "stderr", "-c", str(file)]
        checked = subprocess.run([*command, "-t"], capture_output=True, text=True)
        self.assertEqual(checked.returncode, 0, checked.stderr)
        child = Child(command, cwd=self.folder)
        self.addCleanup(child.stop)
        child.wait_for_text("start worker process ")
        self.assertEqual(unlike(here, answers(addresses, names)), [], out)
        return report

    def test_routes(self) -> None:
        """Names, wildcards, expressions, refusals and lists of clients, by listener."""
        words = ("broker-1.pulsar.test", "b.eu.pulsar.test", "broker-7.us.test", "closed.test", "default", "x.org")
        ports = free_ports(3)
        self.assertNotIn("!", self.compare_export(EXPORTED.replace("@more@", ""), ports, *words))

    def test_defaults(self) -> None:
        """A default and hellos without a name, which IP addresses as names do not get."""
        words = ("broker-1.pulsar.test", "b.eu.pulsar.test", "broker-7.us.test", "closed.test", "10.0.0.1", "x.org")
        ports = free_ports(3)
        self.assertNotIn("!", self.compare_export(EXPORTED.replace("@more@", DEFAULT), ports, *words))

    def test_targets_of_names(self) -> None:
        """Targets that the client's name forms."""
        ports = free_ports(2)
        for last in (3, 4, 5, 6):
            self.backends.add(f"at-{last}", f"127.0.0.{last}", ports[1])
        words = ("3.at.test", "4.at.test", "5-x.test", "6-x.test", "9.x")
        report = self.compare_export(FORMED.replace("@port9@", str(ports[1])), ports[:1], *words)
        self.assertIn("firewall rules", report)
