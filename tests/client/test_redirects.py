"""Tests for sniproxy.client.redirects."""

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.client.redirects import LookupRequest, Owner, Redirects, Response, refusal
from sniproxy.pulsar import commands_pb2 as pb


def said(kind: Any, url: str | None = None, tls: str | None = None, **more: Any) -> Response:
    return Response(request_id=1, response=kind, brokerServiceUrl=url, brokerServiceUrlTls=tls, **more)


class RedirectsTests(SynchronousTestCase):
    """Redirects: the redirects of one lookup."""

    def setUp(self) -> None:
        self.way = Redirects("vip.test", 6651, tls=True)

    def fails(self, answer: Response, kind: FailureKind, way: Redirects | None = None) -> str:
        failure = self.assertRaises(ClientError, (way or self.way).handle_answer, answer)
        self.assertEqual(failure.kind, kind)
        self.assertTrue(failure.cure)
        return str(failure.reason)

    def test_owner(self) -> None:
        """Connect names the owner."""
        self.assertEqual(self.way.question, LookupRequest("vip.test", 6651, False))
        answer = said(Response.Connect, "pulsar://b1.test:6650", "pulsar+ssl://b1.test:6651", authoritative=True)
        self.assertEqual(self.way.handle_answer(answer), Owner("pulsar+ssl://b1.test:6651", "b1.test", 6651))
        plain = Redirects("vip.test", 6650, tls=False)
        self.assertEqual(plain.handle_answer(answer), Owner("pulsar://b1.test:6650", "b1.test", 6650))

    def test_through_service_url(self) -> None:
        """An owner behind the service URL is marked."""
        answer = said(Response.Connect, tls="pulsar+ssl://b1.test:1", proxy_through_service_url=True)
        owner = self.way.handle_answer(answer)
        assert owner is not None
        self.assertEqual((owner.through_service_url, str(owner)), (True, "b1.test:1"))

    def test_redirects(self) -> None:
        """A redirect gives the next broker and flag; a redirect back with another flag is not a loop."""
        steps = (("b2.test", False), ("b1.test", False), ("b2.test", True))
        for number, (host, authoritative) in enumerate(steps, 1):
            url = f"pulsar+ssl://{host}:6651"
            self.assertIsNone(self.way.handle_answer(said(Response.Redirect, tls=url, authoritative=authoritative)))
            self.assertEqual(self.way.question, LookupRequest(host, 6651, authoritative))
            self.assertEqual(self.way.followed, number)

    def test_circle(self) -> None:
        """The same request a second time is a loop."""
        for host in ("b1.test", "b2.test"):
            self.way.handle_answer(said(Response.Redirect, tls=f"pulsar+ssl://{host}"))
        reason = self.fails(said(Response.Redirect, tls="pulsar+ssl://B1.test:6651"), FailureKind.REDIRECTS)
        self.assertEqual(reason, "redirect loop: b2.test:6651 redirects to b1.test:6651, which was already queried")

    def test_limit(self) -> None:
        """Twenty redirects are followed; one more is a failure."""
        for number in range(20):
            self.way.handle_answer(said(Response.Redirect, tls=f"pulsar+ssl://b{number}.test"))
        self.assertIn(
            "more than 20", self.fails(said(Response.Redirect, tls="pulsar+ssl://c.test"), FailureKind.REDIRECTS)
        )

    def test_no_url(self) -> None:
        """An answer without a URL, with another scheme or with an invalid URL is a failure."""
        reason = self.fails(said(Response.Connect, "pulsar://b1.test:6650"), FailureKind.NO_TLS_URL)
        self.assertEqual(reason, "the answer of vip.test:6651 has no pulsar+ssl:// URL, only pulsar://b1.test:6650")
        self.fails(said(Response.Connect), FailureKind.NO_TLS_URL)
        self.fails(said(Response.Redirect, tls="pulsar://b1.test:6650"), FailureKind.NO_TLS_URL)
        self.assertTrue(self.fails(said(Response.Connect, tls="\x1b[2J"), FailureKind.NO_TLS_URL).isprintable())
        plain = Redirects("vip.test", 6650, tls=False)
        self.fails(said(Response.Connect, tls="pulsar+ssl://b1.test:6651"), FailureKind.NO_TLS_URL, plain)

    def test_failed(self) -> None:
        """Failed, and an unknown response, are failures."""
        answer = said(Response.Failed, error=pb.ServiceNotReady, message="unloading\x00")
        self.assertIn("ServiceNotReady: unloading\\x00", self.fails(answer, FailureKind.NOT_READY))
        failure = self.assertRaises(ClientError, self.way.handle_answer, Response(request_id=1))
        self.assertEqual(failure.kind, FailureKind.REFUSED)


class RefusalTests(SynchronousTestCase):
    """refusal: the kinds of a broker's errors."""

    def test_kinds(self) -> None:
        """The error code decides; the text tells "not found" where the code is ambiguous."""
        for error, message, kind in (
            ("AuthenticationError", "Failed to authenticate", FailureKind.AUTHENTICATION),
            ("AuthorizationError", "namespace does not exist", FailureKind.AUTHORIZATION),
            ("TopicNotFound", None, FailureKind.NOT_FOUND),
            ("MetadataError", "Policies not found for a/b namespace", FailureKind.NOT_FOUND),
            ("MetadataError", "unloading", FailureKind.NOT_READY),
            ("UnknownError", "", FailureKind.REFUSED),
            (None, None, FailureKind.REFUSED),
        ):
            failure = refusal(error, message, "b1.test to LookupTopic")
            self.assertEqual(failure.kind, kind, (error, message))
            self.assertTrue(failure.reason.startswith("b1.test to LookupTopic: "))
