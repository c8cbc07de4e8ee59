"""Exported listeners that terminate TLS, on HAProxy, nginx and Envoy: what each name reaches, and what is verified."""

from __future__ import annotations

import socket
import ssl
import subprocess
from pathlib import Path
from threading import Thread

import trustme
from twisted.trial.unittest import TestCase

from tests.peers import haproxyrun, needs
from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.peers.envoyserver import Envoy
from tests.peers.middleboxes import STREAM_MODULE
from tests.support.importing import exported, listens
from tests.support.sockets import TIMEOUT_S

REFUSED = "refused"
NAMES = (
    "a.pulsar.test", "A.Pulsar.TEST", "b.pulsar.test", "c.eu.pulsar.test", "no.pulsar.test", "x.test",
    "lies.pulsar.test", "other.example.com", "10.0.0.7", None,
)  # fmt: skip
"""The names of hellos: exact, in odd case, of wildcards, refused, unknown, an address, and none."""

TOML = """
[[listener]]
endpoint = "tcp:{first}:interface=127.0.0.1"
certificates = "{folder}/shown.pem"
upstream_trust = "{folder}/ca.pem"
[[listener]]
endpoint = "tcp:{second}:interface=127.0.0.1"
name = "certified"
certificates = "{folder}/shown.pem"
upstream_trust = "{folder}/ca.pem"
upstream_certificate = "{folder}/proxy.pem"
[[route]]
server_name = "a.pulsar.test"
target = "127.0.0.1:{one}"
[[route]]
server_name = "*.pulsar.test"
target = "127.0.0.1:{two}"
[[route]]
server_name = "*.eu.pulsar.test"
target = "127.0.0.1:{one}"
[[route]]
server_name = "lies.pulsar.test"
target = "127.0.0.1:{liar}"
[[route]]
server_name = "*.pulsar.test"
listener = "certified"
target = "127.0.0.1:{strict}"
[[route]]
server_name = "no.pulsar.test"
resolver = "no"
[resolver.no]
type = "refuse"
"""


class TerminationTests(TestCase):
    """The same names through this proxy and through the program to which its configuration was exported.

    The brokers C{one} and C{two} have certificates for the names that lead to them, C{liar} has none for its name, and
    C{strict} wants the proxy's own certificate.
    """

    timeout = 120.0

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir(mode=0o755)
        self.authority = trustme.CA()
        self.authority.cert_pem.write_to_path(str(self.folder / "ca.pem"))
        self.pem("shown", "*.pulsar.test", "*.eu.pulsar.test", "x.test", "10.0.0.7")
        self.pem("proxy", "proxy.test")
        self.ports = {
            "one": self.broker("one", "a.pulsar.test", "*.eu.pulsar.test"),
            "two": self.broker("two", "*.pulsar.test"),
            "liar": self.broker("liar", "another.test"),
            "strict": self.broker("strict", "*.pulsar.test", strict=True),
        }

    def pem(self, name: str, *names: str) -> Path:
        """A file with a certificate, its chain and its key."""
        path = self.folder / f"{name}.pem"
        self.authority.issue_cert(*names).private_key_and_cert_chain_pem.write_to_path(str(path))
        return path

    def broker(self, said: str, *names: str, strict: bool = False) -> int:
        """A server that says its name and the hello's. @param strict: it wants a certificate. @return: its port."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.pem(said, *names))
        if strict:
            context.verify_mode = ssl.CERT_REQUIRED
            self.authority.configure_trust(context)
        asked: dict[ssl.SSLObject, str] = {}
        context.sni_callback = lambda sock, name, _: asked.__setitem__(sock, name or "nothing")
        listening = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(listening.close)
        self.addCleanup(listening.shutdown, socket.SHUT_RDWR)

        def serve(plain: socket.socket) -> None:
            plain.settimeout(TIMEOUT_S)
            try:
                with plain, context.wrap_socket(plain, server_side=True) as secure:
                    name = asked.pop(secure, "nothing")  # type: ignore[call-overload]
                    secure.recv(1)
                    secure.sendall(f"{said} for {name}\n".encode())
                    secure.unwrap()
            except OSError:
                pass

        def accept() -> None:
            while True:
                try:
                    plain, _ = listening.accept()
                except OSError:
                    return
                Thread(target=serve, args=(plain,), daemon=True).start()

        Thread(target=accept, daemon=True).start()
        port: int = listening.getsockname()[1]
        return port

    def said(self, port: int, name: str | None) -> str:
        """What the broker says that a client reaches; L{REFUSED}, however it is refused.

        The client verifies its peer, because a proxy with one certificate only may show it to clients of other names.
        """
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        context.check_hostname = name is not None
        try:
            with (
                socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as plain,
                context.wrap_socket(plain, server_hostname=name) as secure,
            ):
                secure.sendall(b"x")
                return secure.recv(1000).decode() or REFUSED
        except TimeoutError:
            raise
        except OSError:
            return REFUSED

    def all_said(self, ports: list[int]) -> dict[str, list[str]]:
        return {str(name): [self.said(port, name) for port in ports] for name in NAMES}

    def toml(self) -> tuple[str, list[int]]:
        ports = free_ports(2)
        return TOML.format(first=ports[0], second=ports[1], folder=self.folder, **self.ports), ports

    def ours(self) -> dict[str, list[str]]:
        """What names reach here."""
        toml, ports = self.toml()
        haproxyrun.start_ours(self, toml, {}, self.folder / "ours.toml")
        return self.all_said(ports)

    def export(self, to: str) -> tuple[str, list[int]]:
        """@return: the text, and the ports of its listeners."""
        toml, ports = self.toml()
        path = self.folder / "sniproxy.toml"
        path.write_text(toml)
        text, report = exported(to, path)
        self.assertNotIn("! ", report)
        return text, ports

    def check(self, theirs: dict[str, list[str]]) -> None:
        """Compare, and look at what is expected at all."""
        ours = self.ours()
        self.assertEqual(["one for a.pulsar.test\n", "one for a.pulsar.test\n"], ours["a.pulsar.test"])
        self.assertEqual(["two for b.pulsar.test\n", "strict for b.pulsar.test\n"], ours["b.pulsar.test"])
        self.assertEqual(["one for c.eu.pulsar.test\n"] * 2, ours["c.eu.pulsar.test"])
        for name in ("no.pulsar.test", "x.test", "lies.pulsar.test", "other.example.com", "10.0.0.7", "None"):
            self.assertEqual([REFUSED, REFUSED], ours[name], name)
        self.assertEqual(ours, theirs)

    def test_haproxy(self) -> None:
        """HAProxy routes and verifies alike."""
        needs.require("haproxy")
        text, ports = self.export("haproxy")
        folder = haproxyrun.folder(self)
        path = folder / "haproxy.cfg"
        path.write_text(text)
        self.assertEqual("", haproxyrun.check(path), text)
        haproxyrun.start_haproxy(self, path)
        self.check(self.all_said(ports))

    def test_nginx(self) -> None:
        """nginx routes and verifies alike."""
        needs.require("nginx")
        if not STREAM_MODULE.exists():
            needs.unavailable("no stream module of nginx here: apt-get install -y libnginx-mod-stream")
        text, ports = self.export("nginx")
        path = self.folder / "nginx.conf"
        text = text.replace("include /etc/nginx/modules-enabled/*.conf;", f"load_module {STREAM_MODULE};")
        path.write_text(f"daemon off;\nerror_log stderr notice;\npid {self.folder}/nginx.pid;\n{text}")
        done = subprocess.run(
            ["nginx", "-t", "-e", "stderr", "-c", str(path)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            check=False,
        )
        self.assertEqual(0, done.returncode, done.stderr + text)
        child = Child(["nginx", "-p", str(self.folder), "-e", "stderr", "-c", str(path)], cwd=self.folder)
        self.addCleanup(child.stop)
        child.wait_for_text("start worker process ")
        self.assertTrue(all(listens(("127.0.0.1", port)) for port in ports))
        # nginx passes the name on as the client writes it; names have no case.
        self.check({name: [text.lower() for text in texts] for name, texts in self.all_said(ports).items()})

    def test_envoy(self) -> None:
        """Envoy routes and verifies alike."""
        text, ports = self.export("envoy")
        Envoy(self, text, ports)
        self.check(self.all_said(ports))
