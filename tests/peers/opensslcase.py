"""A proxy between openssl's client and servers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.peers.case import ProxyTestCase
from tests.peers.children import Child
from tests.peers.material import BROKER_NAMES
from tests.peers.needs import require
from tests.peers.proxy import Proxy

REQUEST = "GET / HTTP/1.0\r\n\r\n"


class OpensslCase(ProxyTestCase):
    """An `openssl s_server` for each broker's name, with that broker's certificate, behind a proxy."""

    def setUp(self) -> None:
        """Skip the test without openssl."""
        require("openssl")
        super().setUp()

    def server(self, name: str, *arguments: str, cwd: Path | None = None) -> tuple[Child, str]:
        """Start an s_server with the certificate of that name. Returns it and its address."""
        pair = self.lab.material.brokers[name]
        identity = ["-cert", str(pair.certificate), "-key", str(pair.key)]
        server = Child(["openssl", "s_server", "-accept", "127.0.0.1:0", *identity, *arguments], cwd)
        self.addCleanup(server.stop)
        return server, server.wait_for_text("ACCEPT 127.0.0.1:").split()[1]

    def servers(self, *arguments: str) -> Proxy:
        """Start one s_server for each broker's name, and a proxy in front of them."""
        return self.proxy({name: [self.server(name, *arguments)[1]] for name in BROKER_NAMES})

    def client_command(self, proxy: Proxy, name: str, *arguments: str) -> list[str]:
        """An s_client with this server name, which continues only if the certificate matches it."""
        checked = ["-CAfile", str(self.lab.material.trust), "-verify_return_error", "-verify_hostname", name]
        place = ["-connect", f"127.0.0.1:{proxy.port}", "-servername", name]
        return ["openssl", "s_client", *place, *checked, *arguments]

    def request(self, proxy: Proxy, name: str, *arguments: str) -> str:
        """The output of an s_client that requests the page of a `-www` server."""
        return output(self.client_command(proxy, name, "-ign_eof", *arguments), REQUEST)


def output(command: Sequence[str], given: str = "") -> str:
    """The output of the command until it exits."""
    done = subprocess.run(
        command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=30
    )
    return done.stdout
