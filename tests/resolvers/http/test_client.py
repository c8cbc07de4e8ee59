"""Tests for sniproxy.resolvers.http.client."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase

from sniproxy.resolvers.http.client import Credentials, HTTPAnswer, HTTPClient, HTTPFailure, body_excerpt, display_url
from tests.resolvers.adminserver import AdminServer, NetClock
from tests.support.reactor import as_reactor, reactor
from tests.support.tlsservers import ServerTLS, write_pem

ASKED = "/asked"


class HTTPClientTests(TestCase):
    """Requests over HTTP."""

    def setUp(self) -> None:
        self.clock = NetClock()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def client(
        self, max_body_bytes: int = 1000, persistent: bool = True, address: Any = str, **files: str
    ) -> HTTPClient:
        client = HTTPClient(as_reactor(self.clock), Credentials(**files), 5.0, max_body_bytes, address, persistent)
        self.addCleanup(client.close)
        return client

    def server(self, tls: Any = None) -> AdminServer:
        server = AdminServer(self, tls)
        server.answers[ASKED] = (200, b"yes")
        return server

    def token(self, text: str = "first.token") -> str:
        file, new = self.folder / "token", self.folder / "new"
        new.write_text(text)
        os.replace(new, file)
        return str(file)

    async def fails(self, client: HTTPClient, url: str) -> str:
        try:
            await client.request(url, {})
        except HTTPFailure as error:
            return str(error)
        raise AssertionError(f"{url} did not fail")

    async def test_streamed(self) -> None:
        """A receiver gets the body of a 200 answer as it arrives, but no other; its exception is raised."""
        server, client = self.server(), self.client()
        server.answers["/no"] = (503, b"no")
        parts: list[bytes] = []
        self.assertEqual(HTTPAnswer(200, b""), await client.request(server.url + ASKED, {}, receive=parts.append))
        self.assertEqual([b"", b"yes"], parts)
        self.assertEqual(HTTPAnswer(503, b"no"), await client.request(server.url + "/no", {}, receive=parts.append))

        def fail(data: bytes) -> None:
            raise KeyError("why")

        failing: Deferred[HTTPAnswer] = Deferred.fromCoroutine(client.request(server.url + ASKED, {}, receive=fail))
        await self.assertFailure(failing, KeyError)

    async def test_answer(self) -> None:
        """Status, body and Location of an answer, and headers of a request, are unchanged."""
        server, client = self.server(), self.client()
        server.answers["/no"] = (503, b"no")
        server.locations["/moved"] = "http://elsewhere.test/?a"
        self.assertEqual(HTTPAnswer(200, b"yes"), await client.request(server.url + ASKED, {"Authorization": "x y"}))
        self.assertEqual(HTTPAnswer(503, b"no"), await client.request(server.url + "/no", {}))
        self.assertEqual(
            HTTPAnswer(307, b"", "http://elsewhere.test/?a"), await client.request(server.url + "/moved", {})
        )
        self.assertEqual(["x y", None, None], server.tokens)

    async def test_post(self) -> None:
        """A body is sent by POST."""
        server = self.server()
        await self.client(persistent=False).request(server.url + ASKED, {"Content-Type": "text/x"}, b"body")
        self.assertEqual([(b"body", "text/x")], server.bodies)

    async def test_connections(self) -> None:
        """Connections are kept for the next request only if persistent."""
        for persistent, count in ((True, 1), (False, 2)):
            server, client = self.server(), self.client(persistent=persistent)
            for _ in range(2):
                await client.request(server.url + ASKED, {})
            self.assertEqual(count, len(server.connections))

    async def test_token(self) -> None:
        """A new token is used when the file has it; an invalid one changes nothing and is not shown."""
        client = self.client(token=self.token())
        self.assertEqual("first.token", client.token)
        self.token("second.token\n")
        client.reload_files()
        self.assertEqual("second.token", client.token)
        for text in ("", "two words", "two\nlines", "sp\u00e4t"):
            path = self.token(text)
            error = self.assertRaises(HTTPFailure, client.reload_files)
            self.assertIn("token_file", str(error))
            self.assertNotIn("two", str(error).replace(path, ""))
        os.unlink(self.folder / "token")
        self.assertIn("cannot read the file", str(self.assertRaises(HTTPFailure, client.reload_files)))
        self.assertEqual("second.token", client.token)

    async def test_cancelled(self) -> None:
        """A cancelled request raises CancelledError, not a failure."""
        server = self.server()
        asking = Deferred.fromCoroutine(self.client().request(server.url + "/silent", {}))
        await server.until("/silent")
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking

    async def test_nobody_there(self) -> None:
        """A refused connection is reported without the query, which may have a secret."""
        server = self.server()
        await server.close()
        why = await self.fails(self.client(), f"{server.url}{ASKED}?key=secret")
        self.assertTrue(why.startswith(f"{server.url}{ASKED}: cannot connect: "), why)

    async def test_too_long(self) -> None:
        """Answers are bounded."""
        server = self.server()
        server.answers[ASKED] = (200, b"x" * 1001)
        self.assertIn(f"{ASKED}: answer has more than 1000 bytes", await self.fails(self.client(), server.url + ASKED))
        server.answers[ASKED] = (200, b"x" * 1000)
        self.assertEqual(1000, len((await self.client().request(server.url + ASKED, {})).body))

    def secure(self, name: str = "localhost", **more: Any) -> tuple[AdminServer, trustme.CA, str]:
        authority = trustme.CA()
        server = self.server(ServerTLS(authority, name, **more))
        return server, authority, str(write_pem(self.folder, "ca.pem", authority.cert_pem))

    async def test_endless_headers(self) -> None:
        """A connection with endless headers is aborted, and the text says why."""
        ended: Deferred[None] = Deferred()

        class Endless(Protocol):
            def dataReceived(self, data: bytes) -> None:
                assert self.transport is not None
                self.transport.write(b"HTTP/1.1 200 OK\r\n")
                for _ in range(20):
                    self.transport.write((b"X-More: " + b"m" * 1000 + b"\r\n") * 10)

            def connectionLost(self, reason: Failure = connectionDone) -> None:
                ended.callback(None)

        listen: Any = reactor.listenTCP
        port = listen(0, Factory.forProtocol(Endless), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        why = await self.fails(self.client(), f"http://127.0.0.1:{port.getHost().port}/")
        self.assertIn("too long", why)
        await ended

    async def test_tls(self) -> None:
        """With https the certificate must be trusted and match the host."""
        server, _, trust = self.secure()
        client = self.client(trust=trust)
        self.assertEqual(b"yes", (await client.request(server.url + ASKED, {})).body)
        self.assertIn("certificate", (await self.fails(self.client(), server.url + ASKED)).lower())
        self.assertIn("VerificationError", await self.fails(client, f"https://127.0.0.1:{server.port}{ASKED}"))

    async def test_trust_without_root(self) -> None:
        """An intermediate CA may be trusted by itself; another CA is refused."""
        root = trustme.CA()
        below = root.create_child_ca()
        server = self.server(ServerTLS(below, "localhost"))
        for trust, trusted in ((below.cert_pem, True), (trustme.CA().cert_pem, False)):
            client = self.client(trust=str(write_pem(self.folder, f"{trusted}.pem", trust)))
            if trusted:
                self.assertEqual(b"yes", (await client.request(server.url + ASKED, {})).body)
            else:
                why = await self.fails(client, server.url + ASKED)
                self.assertIn(
                    "its certificate is not trusted (certificate verify failed); add its authority to trust", why
                )

    async def test_dialled_elsewhere(self) -> None:
        """A host that is dialled at another address is verified by its own name."""
        server, _, trust = self.secure("broker-1.internal")
        client = self.client(address={"broker-1.internal": "127.0.0.1"}.__getitem__, trust=trust)
        self.assertEqual(b"yes", (await client.request(f"https://broker-1.internal:{server.port}{ASKED}", {})).body)

    async def test_certificate(self) -> None:
        """The client certificate is sent; a new one is used when the file has it."""
        server, authority, trust = self.secure(certified=True)
        other, good = trustme.CA().issue_cert("client.test"), authority.issue_cert("client.test")
        own = str(write_pem(self.folder, "own.pem", *other.cert_chain_pems, other.private_key_pem))
        client = self.client(trust=trust, certificate=own)
        await self.fails(client, server.url + ASKED)
        write_pem(self.folder, "own.pem", *good.cert_chain_pems, good.private_key_pem)
        client.reload_files()
        self.assertEqual(b"yes", (await client.request(server.url + ASKED, {})).body)

    async def test_bad_files(self) -> None:
        """The error for an invalid file names the option."""
        file = self.folder / "empty.pem"
        file.touch()
        for key in ("trust", "certificate"):
            error = self.assertRaises(HTTPFailure, self.client, **{key: str(file)})
            self.assertTrue(str(error).startswith(key), error)

    async def test_texts(self) -> None:
        """Text from a server is bounded and printable."""
        self.assertEqual("http://a.test/b", display_url("http://a.test/b?c=d"))
        self.assertEqual("", body_excerpt(b" \n"))
        text = body_excerpt(b"a\n\xff" * 500)
        self.assertTrue(text.startswith("; answer: a") and text.isprintable() and len(text) < 150, text)
