"""The proxy of the soak test."""

from __future__ import annotations

import socket
from collections.abc import Callable
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from bench import relays
from bench.soakproxy import Proxy
from bench.targets import Target, client_hello

NAME = "first.bench.test"


class ProxyTests(SynchronousTestCase):
    """Start, figures and stop."""

    def folder(self) -> Path:
        folder = Path(self.mktemp())
        folder.mkdir()
        return folder.absolute()

    def test_routes(self) -> None:
        """Names have routes to their ports, the access log has the tunnel, and it stops on request."""
        hello = client_hello(NAME)
        target = Target("first", len(hello))
        self.addCleanup(target.stop)
        proxy = Proxy(self.folder(), {"other.bench.test": 1, NAME: target.port}, None)
        self.addCleanup(proxy.stop)
        with socket.create_connection(("127.0.0.1", proxy.port), timeout=60) as sock:
            sock.sendall(hello)
            self.assertEqual(sock.recv(9), b"!")
        self.assertGreater(proxy.descriptors, 3)
        self.assertGreater(proxy.memory, 1)
        proxy.terminate()
        proxy.wait()
        self.assertIn(NAME, proxy.log.read_text())

    def test_does_not_start(self) -> None:
        """A failed start is reported with the reason."""
        error = self.assertRaises(SystemExit, Proxy, self.folder(), {}, "no relay")
        self.assertIn("the proxy did not start:\n", str(error))
        self.assertIn("no relay", str(error))

    def test_another(self) -> None:
        """Another relay is an error only if one was asked for by name."""
        self.patch(relays, "refused", lambda log, wanted: f"not {wanted}")
        self.patch(Proxy, "_write", _without_relay(Proxy._write))
        self.assertEqual(str(self.assertRaises(SystemExit, Proxy, self.folder(), {NAME: 1}, "engine")), "not engine")
        Proxy(self.folder(), {NAME: 1}, "auto").stop()


def _without_relay(write: Callable[[Proxy], None]) -> Callable[[Proxy], None]:
    """The configuration without a relay: the program may lack the engine."""

    def written(proxy: Proxy) -> None:
        proxy._relay = None
        write(proxy)

    return written
