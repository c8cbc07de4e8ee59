"""Follows the redirects of a topic lookup to the owner. Pure.

A broker answers a lookup with ``Connect`` and the URL of the owner, or with ``Redirect`` and the URL of the broker to
ask next, with the ``authoritative`` flag of the answer.
"""

from __future__ import annotations

import attrs

from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, text
from sniproxy.pulsar.serviceurl import BadServiceURL, parse_service_url
from sniproxy.util.names import host_port

MAX_REDIRECTS = 20
"""The default of Pulsar clients (maxLookupRedirects)."""

Response = pb.CommandLookupTopicResponse


@attrs.frozen
class LookupRequest:
    """The broker to ask, and the flag to send."""

    host: str
    port: int
    authoritative: bool = False

    def __str__(self) -> str:
        return host_port(self.host, self.port)


@attrs.frozen
class Owner:
    """The broker that owns a topic.

    @ivar url: the URL in the answer. @ivar through_service_url: whether to dial the service URL and to name the owner
        in CONNECT (for a Pulsar Proxy or a standalone broker).
    """

    url: str
    host: str
    port: int
    through_service_url: bool = False

    def __str__(self) -> str:
        return host_port(self.host, self.port)


class Redirects:
    """The state of one lookup.

    @ivar question: the next request. @ivar followed: the number of redirects followed.
    """

    def __init__(self, host: str, port: int, tls: bool, most: int = MAX_REDIRECTS) -> None:
        """@param host: the host of the service URL. @param port: its port. @param tls: whether to use TLS."""
        self.question = LookupRequest(host, port)
        self.followed = 0
        self._tls = tls
        self._most = most
        # Any broker behind the service URL may answer first. A redirect to a broker that was already queried, with the
        # same flag, is a loop.
        self._seen = {self.question}

    def handle_answer(self, answer: Response) -> Owner | None:
        """Handle the answer to `question`. @return: the owner, or None after a redirect, which updates `question`.

        @raise ClientError: the lookup failed.
        """
        if not answer.HasField("response") or answer.response == Response.Failed:
            raise refusal(error_name(answer), text(answer, "message"), f"{self.question} to the lookup")
        url, host, port = self._url(answer)
        if answer.response == Response.Connect:
            return Owner(url, host, port, answer.proxy_through_service_url)
        question = LookupRequest(host, port, answer.authoritative)
        if question in self._seen:
            raise ClientError(
                FailureKind.REDIRECTS,
                f"redirect loop: {self.question} redirects to {question}, which was already queried",
                "give each broker its own advertised name, and route each name to its own broker",
            )
        if self.followed >= self._most:
            raise ClientError(
                FailureKind.REDIRECTS,
                f"more than {self._most} redirects, the last one to {question}",
                "check the advertised listeners of the brokers",
            )
        self._seen.add(question)
        self.question = question
        self.followed += 1
        return None

    def _url(self, answer: Response) -> tuple[str, str, int]:
        field = "brokerServiceUrlTls" if self._tls else "brokerServiceUrl"
        url = text(answer, field)
        scheme = "pulsar+ssl" if self._tls else "pulsar"
        if not url:
            other = text(answer, "brokerServiceUrl" if self._tls else "brokerServiceUrlTls")
            raise ClientError(
                FailureKind.NO_TLS_URL,
                f"the answer of {self.question} has no {scheme}:// URL" + (f", only {other}" if other else ""),
                "set a TLS port and advertised listeners on the brokers, and request the right listener"
                if self._tls
                else "use the pulsar+ssl:// service URL",
            )
        try:
            parsed = parse_service_url(url, f"the answer of {self.question}")
        except BadServiceURL as error:
            raise ClientError(
                FailureKind.NO_TLS_URL, str(error), "check the advertised listeners of the broker"
            ) from error
        if parsed.tls != self._tls:
            raise ClientError(
                FailureKind.NO_TLS_URL,
                f"the answer of {self.question}: {url} is not a {scheme}:// URL",
                "check the advertised listeners of the broker",
            )
        return (url, *parsed.hosts[0])


_KINDS = {
    "AuthenticationError": (FailureKind.AUTHENTICATION, "check the token or the client certificate, and their expiry"),
    "AuthorizationError": (FailureKind.AUTHORIZATION, "grant the role of the client permission on the namespace"),
    "TopicNotFound": (FailureKind.NOT_FOUND, "check the topic name, or create the topic"),
    "SubscriptionNotFound": (FailureKind.NOT_FOUND, "check the subscription name"),
    "ServiceNotReady": (FailureKind.NOT_READY, "try again; if the error persists, check the logs of the brokers"),
    "TooManyRequests": (FailureKind.NOT_READY, "try again later"),
    "MetadataError": (FailureKind.NOT_READY, "try again; if the error persists, check the logs of the brokers"),
    "InvalidTopicName": (FailureKind.NOT_FOUND, "check the topic name"),
}

_ABSENT = ("does not exist", "not found", "Policies not found")


def refusal(error: str | None, message: str | None, where: str) -> ClientError:
    """Explain an error of a broker.

    @param error: its name in ServerError. @param where: the broker and the request.
    """
    kind, cure = _KINDS.get(error or "", (FailureKind.REFUSED, ""))
    details = message or ""
    # A missing namespace or tenant has no error code of its own.
    if kind not in (FailureKind.AUTHENTICATION, FailureKind.AUTHORIZATION) and any(word in details for word in _ABSENT):
        kind, cure = FailureKind.NOT_FOUND, "check the tenant, namespace and topic, or create them"
    return ClientError(kind, f"{where}: {error or 'no error code'}{f': {details}' if details else ''}", cure)
