"""Tests for sniproxy.resolvers.http.resolver."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any, cast

import trustme
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface.verify import verifyObject

from sniproxy.config.parser import parse
from sniproxy.interfaces import BadOption, IServerNameResolver, Refused, Request, Resolution, Target, Unavailable
from sniproxy.resolvers import make_resolver, makers, options_of
from sniproxy.resolvers.http.resolver import MAX_CONCURRENT, HTTPResolver
from sniproxy.resolvers.options import check_options
from sniproxy.testing import ResolverContract, question
from tests.resolvers.adminserver import AdminServer
from tests.resolvers.http.answers import CONSUL, SLICES
from tests.resolvers.recipes import blocks, recipe
from tests.support.proxies import LISTENER
from tests.support.reactor import reactor
from tests.support.tlsservers import ServerTLS, write_pem

A = "/names/a.test"

ROUTE = '[[route]]\nserver_name = "*.test"\nresolver = "NAME"\n'
"""For a table of the manual without a route."""


class HTTPTestCase(TestCase):
    """A registry of names on loopback."""

    def setUp(self) -> None:
        self.server = AdminServer(self)
        self.says(A, {"targets": ["b.test:1"], "ttl": 7})

    def says(self, path: str, document: object, status: int = 200) -> None:
        self.server.answers[path] = (status, json.dumps(document).encode())

    def resolver(self, **options: Any) -> HTTPResolver:
        table = {"url": self.server.url + "/names/{server_name}", **options}
        return cast(HTTPResolver, make_resolver("http", table, reactor))

    def file(self, name: str, text: str) -> str:
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / name).write_text(text)
        return str(folder / name)

    async def answer(self, resolver: HTTPResolver, name: str | None = "a.test", *captures: str) -> Resolution:
        return await resolver.resolve(Request(name, (), "192.0.2.7:1", "public", captures, 4443))

    async def fails(self, kind: type[Exception], resolver: HTTPResolver, name: str | None = "a.test") -> str:
        try:
            await self.answer(resolver, name)
        except kind as error:
            return str(error)
        raise AssertionError(f"{name} has an answer")


class ContractTests(ResolverContract, HTTPTestCase):
    """The contract of all resolvers."""

    known = question("a.test")
    unknown = question("c.test")

    def setUp(self) -> None:
        super().setUp()
        self.says("/names/c.test", {}, 404)

    def make(self) -> Any:
        return self.resolver()

    def silence(self) -> Any:
        return self.resolver(url=self.server.url + "/silent/{server_name}")


class AnswerTests(HTTPTestCase):
    """Requests, and how answers are read."""

    async def test_targets(self) -> None:
        """An answer in our format gives targets with its ttl, or with that of the option."""
        resolver = self.resolver(ttl=3)
        self.assertTrue(verifyObject(IServerNameResolver, resolver))
        self.assertEqual(Resolution([Target("b.test", 1)], 7.0), await self.answer(resolver))
        self.says(A, {"targets": [{"host": "b.test", "port": 2, "weight": 3}]})
        self.assertEqual(Resolution([Target("b.test", 2, 3)], 3.0), await self.answer(resolver))
        self.assertEqual(([A, A], [None, None]), (self.server.uris, self.server.tokens))

    async def test_refused(self) -> None:
        """404 and an empty list refuse the name, with the answer's reason or a default one."""
        resolver = self.resolver()
        where = self.server.url + A
        for status, document, words in (
            (404, {"reason": "no such broker", "ttl": 60}, "no such broker"),
            (404, "x", f"{where}: 404, no such name"),
            (200, {"targets": [], "reason": "moved"}, "moved"),
            (200, {"targets": []}, f"{where}: no targets in the answer"),
        ):
            self.says(A, document, status)
            self.assertEqual(words, await self.fails(Refused, resolver))
        self.says(A, {"ttl": 60}, 404)
        with self.assertRaises(Refused) as caught:
            await self.answer(resolver)
        self.assertEqual(60.0, caught.exception.ttl)

    async def test_unavailable(self) -> None:
        """Other statuses, redirects and invalid answers are failures; the text has the URL and the cure."""
        resolver = self.resolver(url=self.server.url + "/names/{server_name}?key=secret")
        for status, body, words in (
            (500, b"a\nb" * 500, "500; answer: a"),
            (401, b"", "401, access denied; check token_file"),
            (403, b"no", "403, access denied; check token_file"),
            (204, b"", "204"),
            (200, b"<html>", "is not JSON"),
            (200, b"[]", 'no list "targets"'),
        ):
            self.server.answers[A] = (status, body)
            why = await self.fails(Unavailable, resolver)
            self.assertTrue(why.startswith(f"{self.server.url}{A}: "), why)
            self.assertIn(words, why)
            self.assertTrue(why.isprintable() and len(why) < 500 and "secret" not in why, why)
        self.server.locations[A] = "https://other.test/x?y=secret"
        self.assertIn("redirect to https://other.test/x not followed", await self.fails(Unavailable, resolver))
        await self.server.close()
        self.assertIn("cannot connect", await self.fails(Unavailable, resolver))

    async def test_places(self) -> None:
        """Placeholders get the values of the connection; without a value the name is refused without a request."""
        resolver = self.resolver(url=self.server.url + "/{1}?on={listener}&port={port}")
        self.says("/b", {"targets": ["b.test"]})
        await self.answer(resolver, "b.test", "b")
        self.assertEqual(["/b?on=public&port=4443"], self.server.uris)
        self.assertIn("no value for {1}", await self.fails(Refused, resolver))
        self.assertIn("no value for {server_name}", await self.fails(Refused, self.resolver(), None))
        self.assertEqual(1, len(self.server.uris))

    async def test_posted(self) -> None:
        """A body is sent by POST, and targets are read from another format."""
        resolver = self.resolver(
            url=self.server.url + "/range", body='{"key": "{server_name}"}', items="kvs", host="value", base64=True
        )
        self.says("/range", {"kvs": [{"value": "Yi50ZXN0Ojc="}]})
        self.assertEqual(Resolution([Target("b.test", 7)], 10.0), await self.answer(resolver))
        self.assertEqual([(b'{"key": "YS50ZXN0"}', "application/json")], self.server.bodies)
        self.says("/range", {"header": {}})
        self.assertIn("no targets in the answer", await self.fails(Refused, resolver))

    async def test_where(self) -> None:
        """Only items for the name count."""
        resolver = self.resolver(
            url=self.server.url + "/all", host=["ip", "name"], port="port", where=["on=true", "name={server_name}"]
        )
        self.says(
            "/all", [{"name": name, "port": 7, "on": name != "c.test"} for name in ("a.test", "b.test", "c.test")]
        )
        self.assertEqual((Target("a.test", 7),), (await self.answer(resolver)).targets)
        await self.fails(Refused, resolver, "c.test")

    async def test_token(self) -> None:
        """A token is sent as a bearer token or in the configured header; a new one is used when the file has it."""
        token = self.file("token", "first")
        await self.answer(self.resolver(token_file=token))
        resolver = self.resolver(token_file=token, header="X-Consul-Token")
        self.server.header = "x-consul-token"
        await self.answer(resolver)
        Path(token).write_text("second\n")
        await self.answer(resolver)
        self.assertEqual(["Bearer first", "first", "second"], self.server.tokens)
        Path(token).write_text("no token")
        why = await self.fails(Unavailable, resolver)
        self.assertIn("token_file", why)
        self.assertNotIn("no token", why.replace("no valid token", ""))

    async def test_tls(self) -> None:
        """https is verified with the CAs of trust; the client certificate is sent if the server asks for one."""
        authority = trustme.CA()
        self.server = AdminServer(self, ServerTLS(authority, "localhost", certified=True))
        self.says(A, {"targets": ["b.test:1"]})
        own = authority.issue_cert("client.test")
        folder = Path(self.file("none", "")).parent
        trust = str(write_pem(folder, "ca.pem", authority.cert_pem))
        certificate = str(write_pem(folder, "own.pem", *own.cert_chain_pems, own.private_key_pem))
        self.assertIn(
            "b.test:1", str((await self.answer(self.resolver(trust=trust, certificate=certificate))).targets[0])
        )
        await self.fails(Unavailable, self.resolver(trust=trust))
        self.assertIn("certificate", await self.fails(Unavailable, self.resolver(certificate=certificate)))

    async def test_at_once(self) -> None:
        """At most MAX_CONCURRENT requests run at once; others wait and may be cancelled."""
        resolver = self.resolver(url=self.server.url + "/silent")
        asked = [Deferred.fromCoroutine(self.answer(resolver)) for _ in range(MAX_CONCURRENT + 2)]
        while len(self.server.asked) < MAX_CONCURRENT:
            await deferLater(reactor, 0)
        last = asked.pop()
        last.cancel()
        self.failureResultOf(last, CancelledError)
        self.says("/silent", {"targets": ["b.test:1"]})
        first = asked.pop(0)
        first.cancel()
        await self.assertFailure(first, CancelledError)
        waited = asked.pop()
        self.assertEqual((Target("b.test", 1),), (await waited).targets)
        self.assertEqual(MAX_CONCURRENT + 1, len(self.server.asked))
        for one in asked:
            one.cancel()
        await gatherResults([one.addErrback(lambda failure: failure.trap(CancelledError)) for one in asked])


class MakeTests(SynchronousTestCase):
    """From the configuration's options."""

    def refused(self, **options: Any) -> tuple[str, str]:
        table = {"url": "https://a.test/{server_name}", **options}
        error = self.assertRaises(BadOption, make_resolver, "http", table, None)
        return error.key, f"{error.value} {error.cure}"

    def test_bad_options(self) -> None:
        """The error names the invalid option and the cure."""
        for key, words, options in (
            ("url", "write scheme", {"url": "a.test"}),
            ("url", "token_file", {"url": "http://me:hunter2@a.test/"}),
            ("url", "unknown placeholder {x}", {"url": "http://a.test/?key=hunter2&x={x}"}),
            ("body", "write JSON", {"body": "{"}),
            ("items", "write host, too", {"items": "a"}),
            ("where", "write host, too", {"where": "a=b"}),
            ("base64", "write host, too", {"base64": True}),
            ("host", "keys with dots", {"host": ["a", "b..c"]}),
            ("port", "1 to 65535", {"host": "a", "port": "0"}),
            ("port", "keys with dots", {"host": "a", "port": "b."}),
            ("weight", "keys with dots", {"host": "a", "weight": ""}),
            ("where", "path=value", {"host": "a", "where": "b"}),
            ("where", "unknown placeholder {x}", {"host": "a", "where": "b={x}"}),
            ("ttl", "0 or more", {"ttl": -1}),
            ("header", "and token_file", {"header": "X-Token"}),
            ("header", "name of a header", {"header": "a: b", "token_file": __file__}),
            ("token_file", "cannot read the file", {"token_file": "/nowhere/token"}),
            ("trust", "no PEM certificate", {"trust": __file__}),
            ("certificate", "https://", {"url": "http://a.test/", "certificate": __file__}),
        ):
            found, text = self.refused(**cast(dict[str, Any], options))
            self.assertEqual(key, found)
            self.assertIn(words, text)
            self.assertNotIn("hunter2", text)


class RecipeTests(HTTPTestCase):
    """The recipes of the manual. tests.peers runs those for etcd and files against real servers."""

    def recipe(self, name: str) -> HTTPResolver:
        """A resolver of the manual that queries the test server."""
        table = tomllib.loads(recipe(name))
        self.assertEqual("http", table.pop("type"))
        table["url"] = re.sub(r"^https?://[^/]+", self.server.url, table["url"])
        table.pop("trust", None)
        if "token_file" in table:
            table["token_file"] = self.file("token", "a.token")
        return cast(HTTPResolver, make_resolver("http", table, reactor))

    def test_read(self) -> None:
        """All configurations of the manual are valid."""
        for block in blocks():
            configuration = parse(LISTENER + _with_route(block), "manual.toml")
            for route in configuration.routes:
                (maker,) = (maker for maker in makers() if maker.name == route.resolver.kind)
                self.assertTrue(check_options(route.resolver.options, options_of(maker) or (), "/etc"))

    async def test_consul(self) -> None:
        """The healthy instances of the service, with their weights; without an instance the name is refused."""
        resolver = self.recipe("consul")
        self.server.header = "x-consul-token"
        path = "/v1/health/service/broker-1"
        self.says(path, CONSUL)
        answer = await self.answer(resolver, "broker-1.pulsar.example.com", "broker-1")
        self.assertEqual((Target("10.1.10.1", 6651, 10), Target("10.1.20.2", 6661)), answer.targets)
        self.assertEqual(([f"{path}?passing=true"], ["a.token"]), (self.server.uris, self.server.tokens))
        self.says(path, [])
        with self.assertRaises(Refused):
            await self.answer(resolver, "broker-1.pulsar.example.com", "broker-1")

    async def test_kubernetes(self) -> None:
        """The ready endpoints for the service; a pod for its own name, ready or not."""
        path = "/apis/discovery.k8s.io/v1/namespaces/pulsar/endpointslices"
        self.says(path, SLICES)
        answer = await self.answer(self.recipe("ready"), "pulsar.example.com")
        self.assertEqual((Target("10.1.2.3", 6651), Target("10.1.2.5", 6651)), answer.targets)
        pod = self.recipe("pod")
        answer = await self.answer(pod, "broker-1.pulsar.example.com", "broker-1")
        self.assertEqual((Target("10.1.2.4", 6651),), answer.targets)
        with self.assertRaises(Refused):
            await self.answer(pod, "broker-7.pulsar.example.com", "broker-7")
        self.assertEqual({f"{path}?labelSelector=kubernetes.io/service-name%3Dbroker"}, set(self.server.uris))
        self.assertEqual({"Bearer a.token"}, set(self.server.tokens))


def _with_route(block: str) -> str:
    """Add a route for a resolver that has none in the manual."""
    if "[[route]]" in block:
        return block
    (name,) = re.findall(r"^\[resolver\.(.*)\]$", block, re.MULTILINE)
    return ROUTE.replace("NAME", name) + block
