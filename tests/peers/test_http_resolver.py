"""The http resolver with real servers: files on nginx, and keys in etcd through its JSON gateway."""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode
from urllib.request import Request, urlopen

from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.peers.material import BROKER_NAMES
from tests.peers.needs import require
from tests.peers.opensslcase import OpensslCase
from tests.peers.proxy import Connection, Proxy
from tests.resolvers.recipes import recipe

NGINX = """
user root;
daemon off;
pid {folder}/pid;
error_log stderr notice;
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{
        listen 127.0.0.1:{port};
        listen 127.0.0.1:{secure} ssl;
        ssl_certificate {certificate};
        ssl_certificate_key {key};
        root {folder}/files;
        location /secret/ {{
            if ($http_authorization != "Bearer {token}") {{ return 401; }}
        }}
    }}
}}
"""
FIRST, SECOND = BROKER_NAMES[:2]
TOKEN = "a.real.token"
HOLDS = 0.001
"""Seconds of a ttl that has passed at the next connection, so that the answer is stale."""


class HTTPResolverCase(OpensslCase):
    """Two TLS servers, and a proxy that queries their addresses."""

    def setUp(self) -> None:
        """Skip the test without openssl."""
        super().setUp()
        self.first, self.second = self.server(FIRST, "-www")[1], self.server(SECOND, "-www")[1]

    def asking(self, table: str) -> Proxy:
        """A proxy that resolves all names by HTTP."""
        self.seen = 0
        route = '[[route]]\nserver_name = "*.pulsar.test"\nresolver = "asked"\n'
        return self.proxy({}, more=f"{route}[resolver.asked]\n{table}")

    def connect(self, proxy: Proxy, name: str = FIRST) -> Connection:
        """Make a TLS connection through the proxy. Returns its record in the access log."""
        said = self.request(proxy, name)
        self.seen += 1
        line = proxy.connections(lambda log: len(log) >= self.seen)[self.seen - 1]
        self.assertEqual("Verified peername: " in said, line["result"] == "ok", said)
        return line


class NginxTests(HTTPResolverCase):
    """Files on a web server."""

    def setUp(self) -> None:
        """Skip the test without nginx."""
        require("nginx")
        super().setUp()
        self.folder = self.lab.new_folder()
        (self.folder / "files" / "secret").mkdir(parents=True)
        self.port, self.secure = free_ports(2)
        pair = self.lab.material.brokers[FIRST]
        places = {"folder": self.folder, "certificate": pair.certificate, "key": pair.key, "token": TOKEN}
        (self.folder / "nginx.conf").write_text(NGINX.format(port=self.port, secure=self.secure, **places))
        self.start()

    def start(self) -> None:
        """Start nginx."""
        self.nginx = Child(["nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")])
        self.addCleanup(self.nginx.stop)
        self.nginx.wait_for_text("start worker process ")

    def write(self, path: str, document: object) -> None:
        """Write the next version of a file, atomically."""
        new = self.folder / "new"
        new.write_text(json.dumps(document))
        os.replace(new, self.folder / "files" / path)

    def test_changes(self) -> None:
        """A name leads to the address in its file; without a file it gets an alert."""
        proxy = self.asking(f'type = "http"\nurl = "http://127.0.0.1:{self.port}/{{server_name}}.json"\n')
        self.write(f"{FIRST}.json", {"targets": [self.first], "ttl": 0})
        self.assertEqual(self.first, self.connect(proxy)["target"])
        moved = self.server(FIRST, "-www")[1]
        self.write(f"{FIRST}.json", {"targets": [moved], "ttl": 0})
        self.assertEqual(moved, self.connect(proxy)["target"])
        os.unlink(self.folder / "files" / f"{FIRST}.json")
        line = self.connect(proxy)
        self.assertEqual(("no_route", "unrecognized_name"), (line["result"], line["alert"]))
        self.assertIn(f"/{FIRST}.json: 404, no such name", line["reason"])

    def test_stopped(self) -> None:
        """While the server is down stale answers are used, and other names get a plain close."""
        proxy = self.asking(f'type = "http"\nurl = "http://127.0.0.1:{self.port}/{{server_name}}.json"\n')
        self.write(f"{FIRST}.json", {"targets": [self.first], "ttl": HOLDS})
        self.write(f"{SECOND}.json", {"targets": [self.second], "ttl": HOLDS})
        self.assertEqual("ok", self.connect(proxy)["result"])
        self.nginx.stop()
        self.assertEqual("ok", self.connect(proxy)["result"])
        line = self.connect(proxy, SECOND)
        self.assertEqual(("resolver_failed", None), (line["result"], line["alert"]))
        self.assertIn("cannot connect", line["reason"])
        self.start()
        while line["result"] != "ok":  # what failed is not asked again for a second
            line = self.connect(proxy, SECOND)
        self.assertEqual(self.second, line["target"])

    def test_recipe(self) -> None:
        """One file with all names over https, with a token; without the token the server's status is reported."""
        targets = [{"name": FIRST, "target": self.first}, {"name": SECOND, "target": self.second}]
        self.write("secret/brokers.json", targets)
        table = recipe("map").replace("https://files.internal", f"https://localhost:{self.secure}/secret")
        token = self.folder / "token"
        token.write_text(TOKEN)
        trusting = f'{table}\ntrust = "{self.lab.material.trust}"\nttl = 0\n'
        proxy = self.asking(f'{trusting}token_file = "{token}"\n')
        for name, target in ((FIRST, self.first), (SECOND, self.second)):
            self.assertEqual(target, self.connect(proxy, name)["target"])
        self.assertEqual("no_route", self.connect(proxy, "broker-9.pulsar.test")["result"])
        line = self.connect(self.asking(trusting))
        self.assertEqual("resolver_failed", line["result"])
        self.assertIn("401, access denied", line["reason"])
        self.assertNotIn(TOKEN, json.dumps(line))


class EtcdTests(HTTPResolverCase):
    """Keys in etcd."""

    def setUp(self) -> None:
        """Skip the test without etcd."""
        require("etcd")
        super().setUp()
        folder = self.lab.new_folder()
        client, peer = (f"http://127.0.0.1:{port}" for port in free_ports(2))
        self.url, self.folder = client, folder
        self.token = ""
        urls = ["--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer]
        urls += ["--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}"]
        etcd = Child(["etcd", "--data-dir", str(folder / "data"), "--logger", "zap", *urls])
        self.addCleanup(etcd.stop)
        etcd.wait_for_text("serving client traffic", 60)

    def call(self, path: str, **more: object) -> dict[str, str]:
        """Send a request to etcd. Returns the answer."""
        headers = {"Authorization": self.token} if self.token else {}
        with urlopen(Request(self.url + path, json.dumps(more).encode(), headers), timeout=20) as answer:
            found: dict[str, str] = json.load(answer)
            return found

    def put(self, name: str, number: int, target: str) -> None:
        self.call("/v3/kv/put", key=_base64(f"sniproxy/{name}/{number}"), value=_base64(target))

    def table(self, token: bool = False) -> str:
        """The recipe for this server, without unneeded lines."""
        text = recipe("etcd").replace("https://etcd.internal:2379", self.url)
        text = re.sub("^trust = .*\n?", "", text, flags=re.MULTILINE)
        if not token:
            text = re.sub("^(token_file|header) = .*\n?", "", text, flags=re.MULTILINE)
        return text.replace("etcd-token", str(self.folder / "token")) + "\nttl = 0\n"

    def test_keys(self) -> None:
        """A name leads to the values of its keys, in turn; without keys it is refused; similar keys are ignored."""
        proxy = self.asking(self.table())
        self.put(FIRST, 1, self.first)
        self.put(f"{FIRST}0", 1, self.second)
        self.assertEqual(self.first, self.connect(proxy)["target"])
        line = self.connect(proxy, "broker-9.pulsar.test")
        self.assertEqual(("no_route", "unrecognized_name"), (line["result"], line["alert"]))
        self.put(SECOND, 1, self.second)
        again = self.server(SECOND, "-www")[1]
        self.put(SECOND, 2, again)
        self.assertEqual({self.second, again}, {self.connect(proxy, SECOND)["target"] for _ in range(2)})
        self.call("/v3/kv/deleterange", key=_base64(f"sniproxy/{FIRST}/1"))
        self.assertEqual("no_route", self.connect(proxy)["result"])

    def test_token(self) -> None:
        """If etcd requires authentication, the token is sent."""
        self.put(FIRST, 1, self.first)
        self.call("/v3/auth/user/add", name="root", password="p")
        self.call("/v3/auth/role/add", name="root")
        self.call("/v3/auth/user/grant", user="root", role="root")
        self.call("/v3/auth/enable")
        token = self.folder / "token"
        token.write_text("no.token")
        proxy = self.asking(self.table(token=True))
        self.assertEqual("resolver_failed", self.connect(proxy)["result"])
        token.write_text(self.call("/v3/auth/authenticate", name="root", password="p")["token"])
        line = self.connect(proxy)
        while line["result"] != "ok":  # what failed is not asked again for a second
            line = self.connect(proxy)
        self.assertEqual(self.first, line["target"])


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()
