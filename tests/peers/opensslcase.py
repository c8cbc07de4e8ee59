"""A proxy between openssl's client and server."""

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
        """Skips where there is no openssl."""
        require("openssl")
        super().setUp()

    def server(self, name: str, *arguments: str, cwd: Path | None = None) -> tuple[Child, str]:
        """A running s_server with the certificate of that name, and where it listens."""
        pair = self.lab.material.brokers[name]
        identity = ["-cert", str(pair.certificate), "-key", str(pair.key)]
        server = Child(["openssl", "s_server", "-accept", "127.0.0.1:0", *identity, *arguments], cwd)
        self.addCleanup(server.stop)
        return server, server.wait_for_text("ACCEPT 127.0.0.1:").split()[1]

    def servers(self, *arguments: str) -> Proxy:
        """A proxy in front of one s_server for each broker's name."""
        return self.proxy({name: [self.server(name, *arguments)[1]] for name in BROKER_NAMES})

    def client_command(self, proxy: Proxy, name: str, *arguments: str) -> list[str]:
        """An s_client that asks for the name, and goes on only if the certificate is for it."""
        checked = ["-CAfile", str(self.lab.material.trust), "-verify_return_error", "-verify_hostname", name]
        place = ["-connect", f"127.0.0.1:{proxy.port}", "-servername", name]
        return ["openssl", "s_client", *place, *checked, *arguments]

    def request(self, proxy: Proxy, name: str, *arguments: str) -> str:
        """What an s_client says that asks a `-www` server for its page."""
        return output(self.client_command(proxy, name, "-ign_eof", *arguments), REQUEST)


def output(command: Sequence[str], given: str = "") -> str:
    """All that the command prints until it ends by itself."""
    done = subprocess.run(
        command, input=given, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=30
    )
    return done.stdout
