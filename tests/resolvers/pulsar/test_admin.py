"""Tests for sniproxy.resolvers.pulsar.admin."""

from __future__ import annotations

import os
from pathlib import Path

import trustme
from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import TestCase

from sniproxy.resolvers.http.client import Credentials, HTTPFailure
from sniproxy.resolvers.pulsar import admin
from sniproxy.resolvers.pulsar.admin import AdminClient
from tests.resolvers.adminserver import LIST, AdminServer, NetClock
from tests.support.reactor import as_reactor
from tests.support.tlsservers import ServerTLS, write_pem

HERE = ("localhost",)


class AdminTests(TestCase):
    """Requests over HTTP."""

    def setUp(self) -> None:
        self.clock = NetClock()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def admin(self, **credentials: str) -> AdminClient:
        admin = AdminClient(as_reactor(self.clock), Credentials(**credentials), 5.0)
        self.addCleanup(admin.close)
        return admin

    def token(self, text: str = "first.token") -> str:
        file = self.folder / "token"
        new = self.folder / "new"
        new.write_text(text)
        os.replace(new, file)
        return str(file)

    async def fails(self, admin: AdminClient, url: str) -> HTTPFailure:
        try:
            await admin.get(url, HERE)
        except HTTPFailure as error:
            return error
        raise AssertionError(f"{url} did not fail")

    async def test_answer(self) -> None:
        """A request returns the body; without a token no Authorization header is sent."""
        server = AdminServer(self)
        server.brokers("a.test:1")
        self.assertEqual(b'["a.test:1"]', await self.admin().get(server.url + LIST, HERE))
        self.assertEqual([None], server.tokens)

    async def test_token(self) -> None:
        """The token is sent to trusted hosts only; a new one is used when the file has it."""
        server = AdminServer(self)
        server.brokers()
        admin = self.admin(token=self.token())
        await admin.get(server.url + LIST, HERE)
        self.token("second.token\n")
        admin.reload_files()
        await admin.get(server.url + LIST, HERE)
        await admin.get(server.url + LIST, ("other.test",))
        self.assertEqual(["Bearer first.token", "Bearer second.token", None], server.tokens)

    async def test_bad_token(self) -> None:
        """An invalid token file raises HTTPFailure."""
        admin = self.admin(token=self.token())
        self.token("")
        self.assertIn("token_file", str(self.assertRaises(HTTPFailure, admin.reload_files)))

    async def test_status(self) -> None:
        """A status other than 200 is a failure; 401 and 403 have the cure."""
        server = AdminServer(self)
        for status, words in {
            401: "superuser's",
            403: "superuser's",
            404: "not found",
            500: "500; answer: a",
        }.items():
            server.answers[LIST] = (status, b"a\nb" * 500)
            error = await self.fails(self.admin(), server.url + LIST)
            self.assertIn(words, str(error))
            self.assertTrue(str(error).isprintable() and len(str(error)) < 500)
            self.assertEqual((status, status in (401, 403)), (error.status, error.forbidden))

    async def test_silence(self) -> None:
        """After the timeout the request fails and the connection is closed."""
        server = AdminServer(self)
        asking = Deferred.fromCoroutine(self.fails(self.admin(), server.url + LIST))
        await server.until(LIST)
        self.clock.advance(4.9)
        self.assertNoResult(asking)
        self.clock.advance(0.1)
        self.assertIn(f"{server.url}{LIST}: no answer within 5 s", str(await asking))

    async def test_cancelled(self) -> None:
        """A cancelled request raises CancelledError, not a failure."""
        server = AdminServer(self)
        asking = Deferred.fromCoroutine(self.admin().get(server.url + LIST, HERE))
        await server.until(LIST)
        asking.cancel()
        with self.assertRaises(CancelledError):
            await asking

    async def test_redirect(self) -> None:
        """A redirect is followed; the token is sent to trusted hosts only."""
        first, second = AdminServer(self), AdminServer(self)
        second.brokers()
        admin = self.admin(token=self.token())
        for host in ("localhost", "127.0.0.1"):
            first.locations[LIST] = f"http://{host}:{second.port}{LIST}"
            await admin.get(first.url + LIST, HERE)
        self.assertEqual(["Bearer first.token", None], second.tokens)

    async def test_bad_redirects(self) -> None:
        """A loop ends after MAX_REDIRECTS; invalid URLs and other schemes are not followed."""
        server = AdminServer(self)
        for there, words in {
            server.url + LIST: "more than 3 redirects",
            "http://a b/": "redirect to an invalid URL",
            "http://a:x/": "redirect to an invalid URL",
            "gopher://a/": "gopher",
        }.items():
            server.locations[LIST] = there
            self.assertIn(words, str(await self.fails(self.admin(), server.url + LIST)))

    async def test_less_secure(self) -> None:
        """A redirect from https to http is not followed."""
        authority = trustme.CA()
        server = AdminServer(self, ServerTLS(authority, "localhost"))
        server.locations[LIST] = f"http://localhost:{server.port}{LIST}"
        admin = self.admin(trust=str(write_pem(self.folder, "ca.pem", authority.cert_pem)))
        self.assertIn("redirect from https to http not followed", str(await self.fails(admin, server.url + LIST)))

    async def test_too_long(self) -> None:
        """Answers are bounded."""
        self.patch(admin, "MAX_BYTES", 1000)
        server = AdminServer(self)
        server.answers[LIST] = (200, b"x" * 1001)
        self.assertIn("more than 1000 bytes", str(await self.fails(self.admin(), server.url + LIST)))

    async def test_bad_files(self) -> None:
        """The error for an invalid file names the option."""
        file = self.folder / "empty.pem"
        file.touch()
        for key in ("trust", "certificate"):
            error = self.assertRaises(HTTPFailure, self.admin, **{key: str(file)})
            self.assertTrue(str(error).startswith(key), error)
