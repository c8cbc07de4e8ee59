"""openssl and curl through the proxy, which does not touch their TLS."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.peers.material import BROKER_NAMES
from tests.peers.needs import require
from tests.peers.opensslcase import OpensslCase, output


class OpensslTests(OpensslCase):
    """s_client to s_server."""

    def test_certificate_is_the_servers(self) -> None:
        """Each name leads to its own server, whose certificate the client gets."""
        proxy = self.servers("-www")
        for name in BROKER_NAMES:
            said = self.request(proxy, name, "-showcerts")
            self.assertIn("Verify return code: 0 (ok)", said)
            file = self.lab.material.brokers[name].certificate
            self.assertEqual(first_certificate(said), first_certificate(file.read_text()))
        self.assertEqual(proxy.names(*BROKER_NAMES), list(BROKER_NAMES))

    def test_name_without_route(self) -> None:
        """A name without a route gets the alert of RFC 6066."""
        proxy = self.servers("-www")
        said = self.request(proxy, "broker-3.pulsar.test")
        self.assertIn("unrecognized name", said)
        (refused,) = proxy.connections()
        self.assertEqual((refused["result"], refused["alert"]), ("no_route", "unrecognized_name"))

    def test_server_that_is_down(self) -> None:
        """The connection is closed without an alert."""
        (port,) = free_ports(1)
        proxy = self.proxy({BROKER_NAMES[0]: [f"127.0.0.1:{port}"]})
        said = self.request(proxy, BROKER_NAMES[0])
        self.assertIn("unexpected eof while reading", said)
        self.assertNotIn("alert", said)
        (failed,) = proxy.connections()
        self.assertEqual((failed["result"], failed["alert"]), ("connect_failed", None))

    def check_resumption(self, version: str) -> None:
        """Assert that the next connection resumes a session."""
        proxy = self.servers("-www")
        session = self.lab.new_folder() / "session"
        said = self.request(proxy, BROKER_NAMES[0], version, "-sess_out", str(session))
        self.assertIn("New, TLSv1", said)
        self.assertIn("Reused, TLSv1", self.request(proxy, BROKER_NAMES[0], version, "-sess_in", str(session)))
        self.assertEqual(len(proxy.names(BROKER_NAMES[0], BROKER_NAMES[0])), 2)

    def test_resumption_tls12(self) -> None:
        """With a session ticket of TLS 1.2."""
        self.check_resumption("-tls1_2")

    def test_resumption_tls13(self) -> None:
        """With a pre-shared key of TLS 1.3."""
        self.check_resumption("-tls1_3")

    def test_early_data(self) -> None:
        """Early data of TLS 1.3 arrive as early data."""
        name = BROKER_NAMES[0]
        server, place = self.server(name, "-early_data", "-tls1_3")
        proxy = self.proxy({name: [place]})
        folder = self.lab.new_folder()
        session, early = folder / "session", folder / "early"
        early.write_text("before the handshake was done\n")
        # What the server says comes after the tickets that make a session.
        server.write("welcome\n")
        self.converse(self.client_command(proxy, name, "-sess_out", str(session)), "welcome")
        again = self.client_command(proxy, name, "-sess_in", str(session), "-early_data", str(early))
        self.converse(again, "Early data was accepted")
        server.wait_for_text("before the handshake was done")
        self.assertIn("Early data received:", server.lines)
        self.assertEqual(proxy.names(name, name), [name, name])

    def converse(self, command: Sequence[str], awaited: str) -> None:
        """Run an s_client until it has printed the expected text."""
        client = Child(command)
        self.addCleanup(client.stop)
        client.wait_for_text(awaited)
        client.write("Q\n")
        client.wait()


class CurlTests(OpensslCase):
    """curl with a given address for a name, and verification."""

    def setUp(self) -> None:
        """Skip the test without curl."""
        require("curl")
        super().setUp()

    def page(self, url: str, *arguments: str) -> str:
        """The output of curl. Asserts that the page of s_server has the server name."""
        return output(["curl", "--silent", "--show-error", "--cacert", str(self.lab.material.trust), *arguments, url])

    def test_connect_to(self) -> None:
        """With --connect-to."""
        proxy = self.servers("-www")
        name = BROKER_NAMES[1]
        page = self.page(f"https://{name}/", "--connect-to", f"{name}:443:127.0.0.1:{proxy.port}")
        self.assertIn("Secure Renegotiation IS", page)
        self.assertEqual(proxy.names(name), [name])

    def test_resolve(self) -> None:
        """With --resolve."""
        proxy = self.servers("-www")
        name = BROKER_NAMES[0]
        page = self.page(f"https://{name}:{proxy.port}/", "--resolve", f"{name}:{proxy.port}:127.0.0.1")
        self.assertIn("Secure Renegotiation IS", page)
        self.assertEqual(proxy.names(name), [name])

    def test_large_file(self) -> None:
        """A file of 5 MB arrives unchanged."""
        folder = self.lab.new_folder()
        content = bytes(range(256)) * 20_000
        (folder / "file").write_bytes(content)
        got = folder / "got"
        name = BROKER_NAMES[0]
        _, target = self.server(name, "-WWW", cwd=folder)
        proxy = self.proxy({name: [target]})
        place = f"{name}:443:127.0.0.1:{proxy.port}"
        said = self.page(f"https://{name}/file", "--http0.9", "--connect-to", place, "--output", str(got))
        self.assertTrue(got.exists(), said)
        self.assertEqual(got.read_bytes(), content)


def first_certificate(text: str) -> bytes:
    """The first PEM certificate in the text, as DER."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    return ssl.PEM_cert_to_DER_cert(begin + text.split(begin, 1)[1].split(end, 1)[0] + end)
