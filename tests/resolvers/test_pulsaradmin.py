"""Tests for sniproxy.resolvers.pulsaradmin."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from sniproxy.resolvers import pulsaradmin
from sniproxy.resolvers.pulsaradmin import Admin, AdminFailure, Credentials
from tests.resolvers.adminserver import LIST, AdminServer, NetClock
from tests.tlsservers import ServerTLS, write_pem

HERE = ("localhost",)


class AdminTests(TestCase):
    """Asking over HTTP."""

    def setUp(self) -> None:
        self.clock = NetClock()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def admin(self, **credentials: str) -> Admin:
        admin = Admin(self.clock, Credentials(**credentials), 5.0)
        self.addCleanup(admin.close)
        return admin

    def token(self, text: str = "first.token") -> str:
        file = self.folder / "token"
        new = self.folder / "new"
        new.write_text(text)
        os.replace(new, file)
        return str(file)

    async def fails(self, admin: Admin, url: str) -> AdminFailure:
        try:
            await admin.get(url, HERE)
        except AdminFailure as error:
            return error
        raise AssertionError(f"{url} did not fail")

    async def test_answer(self) -> None:
        """The body of an answer; without a token nobody is told one."""
        server = AdminServer(self)
        server.brokers("a.test:1")
        self.assertEqual(b'["a.test:1"]', await self.admin().get(server.url + LIST, HERE))
        self.assertEqual([None], server.tokens)

    async def test_token(self) -> None:
        """The token of the file goes along, and a new one from when it is there; only to those who may have it."""
        server = AdminServer(self)
        server.brokers()
        admin = self.admin(token=self.token())
        await admin.get(server.url + LIST, HERE)
        self.token("second.token\n")
        admin.read()
        await admin.get(server.url + LIST, HERE)
        await admin.get(server.url + LIST, ("other.test",))
        self.assertEqual(["Bearer first.token", "Bearer second.token", None], server.tokens)

    async def test_bad_token(self) -> None:
        """A file that holds no token changes nothing, and what is in it is not told."""
        admin = self.admin(token=self.token())
        for text in ("", "two words", "two\nlines", "späť"):
            path = self.token(text)
            error = self.assertRaises(AdminFailure, admin.read)
            self.assertIn("token_file", str(error))
            self.assertNotIn("two", str(error).replace(path, ""))
        os.unlink(self.folder / "token")
        self.assertIn("cannot be read", str(self.assertRaises(AdminFailure, admin.read)))
        self.assertEqual("first.token", admin._token)

    async def test_status(self) -> None:
        """Another status than 200 is a failure, with the cure where who we are is the reason."""
        server = AdminServer(self)
        for status, words in {
            401: "super-user's",
            403: "super-user's",
            404: "no such",
            500: "500; it says: a",
        }.items():
            server.answers[LIST] = (status, b"a\nb" * 500)
            error = await self.fails(self.admin(), server.url + LIST)
            self.assertIn(words, str(error))
            self.assertTrue(str(error).isprintable() and len(str(error)) < 500)
            self.assertEqual((status, status in (401, 403)), (error.status, error.forbidden))

    async def test_silence(self) -> None:
        """A server that says nothing is waited for as long as was asked, and the connection is then closed."""
        server = AdminServer(self)
        asking = Deferred.fromCoroutine(self.fails(self.admin(), server.url + LIST))
        await server.until(LIST)
        self.clock.advance(4.9)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        self.assertIn(f"{server.url}{LIST}: no answer within 5 s", str(await asking))

    async def test_cancelled(self) -> None:
        """Who no longer wants to know is not told of a failure."""
        server = AdminServer(self)
        asking = Deferred.fromCoroutine(self.admin().get(server.url + LIST, HERE))
        await server.until(LIST)
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking

    async def test_nobody_there(self) -> None:
        """A port where nobody listens, and a host that is none, are told as such."""
        server = AdminServer(self)
        await server.close()
        self.assertIn("cannot connect", str(await self.fails(self.admin(), server.url + LIST)))

    async def test_too_long(self) -> None:
        """An answer has bounds."""
        self.patch(pulsaradmin, "MOST_BYTES", 1000)
        server = AdminServer(self)
        server.answers[LIST] = (200, b"x" * 1001)
        self.assertIn("more than 1000 bytes", str(await self.fails(self.admin(), server.url + LIST)))

    async def test_redirect(self) -> None:
        """A redirect is followed, with the token only to hosts that may have it."""
        first, second = AdminServer(self), AdminServer(self)
        second.brokers()
        admin = self.admin(token=self.token())
        for host in ("localhost", "127.0.0.1"):
            first.locations[LIST] = f"http://{host}:{second.port}{LIST}"
            await admin.get(first.url + LIST, HERE)
        self.assertEqual(["Bearer first.token", None], second.tokens)

    async def test_bad_redirects(self) -> None:
        """A circle ends, and what is no URL, or another scheme's, is not followed."""
        server = AdminServer(self)
        for there, words in {
            server.url + LIST: "more than 3 redirects",
            "http://a b/": "no URL",
            "http://a:x/": "no URL",
            "gopher://a/": "gopher",
        }.items():
            server.locations[LIST] = there
            self.assertIn(words, str(await self.fails(self.admin(), server.url + LIST)))

    def secure(self, **more: Any) -> tuple[AdminServer, trustme.CA]:
        authority = trustme.CA()
        return AdminServer(self, ServerTLS(authority, "localhost", **more)), authority

    async def test_tls(self) -> None:
        """With https the certificate must be trusted, and be for the host that is asked."""
        server, authority = self.secure()
        server.brokers()
        trust = str(write_pem(self.folder, "ca.pem", authority.cert_pem))
        admin = self.admin(trust=trust)
        self.assertEqual(b"[]", await admin.get(server.url + LIST, HERE))
        self.assertIn("certificate", str(await self.fails(self.admin(), server.url + LIST)).lower())
        by_address = f"https://127.0.0.1:{server.port}{LIST}"
        self.assertIn("VerificationError", str(await self.fails(admin, by_address)))
        server.locations[LIST] = f"http://localhost:{server.port}{LIST}"
        self.assertIn("redirects from https to http", str(await self.fails(admin, server.url + LIST)))

    async def test_dialled_elsewhere(self) -> None:
        """A host that is reached by another address is verified by its own name."""
        authority = trustme.CA()
        server = AdminServer(self, ServerTLS(authority, "broker-1.internal"))
        server.brokers()
        trust = str(write_pem(self.folder, "ca.pem", authority.cert_pem))
        admin = Admin(self.clock, Credentials(trust=trust), 5.0, {"broker-1.internal": "127.0.0.1"}.__getitem__)
        self.addCleanup(admin.close)
        self.assertEqual(b"[]", await admin.get(f"https://broker-1.internal:{server.port}{LIST}", HERE))

    async def test_certificate(self) -> None:
        """A server that wants a certificate gets ours; a new one from when it is there."""
        server, authority = self.secure(certified=True)
        server.brokers()
        trust = str(write_pem(self.folder, "ca.pem", authority.cert_pem))
        other, good = trustme.CA().issue_cert("client.test"), authority.issue_cert("client.test")
        own = str(write_pem(self.folder, "own.pem", *other.cert_chain_pems, other.private_key_pem))
        admin = self.admin(trust=trust, certificate=own)
        await self.fails(admin, server.url + LIST)
        write_pem(self.folder, "own.pem", *good.cert_chain_pems, good.private_key_pem)
        admin.read()
        self.assertEqual(b"[]", await admin.get(server.url + LIST, HERE))

    async def test_bad_files(self) -> None:
        """A file without what it should hold is refused by the name of its option."""
        file = self.folder / "empty.pem"
        file.touch()
        for key in ("trust", "certificate"):
            error = self.assertRaises(AdminFailure, self.admin, **{key: str(file)})
            self.assertTrue(str(error).startswith(key), error)
