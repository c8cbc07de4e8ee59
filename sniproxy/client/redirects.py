"""Where a lookup goes on: from one broker's answer to the next question, or to the owner. Pure.

Pulsar's lookup: a broker that is asked for a topic's owner answers ``Connect`` with the owner's URL; or ``Redirect``
with the URL of a broker that knows more, which is asked in its turn, with the answer's ``authoritative``.
"""

from __future__ import annotations

import attrs

from sniproxy.client.failures import ClientError, FailureKind
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import error_name, text
from sniproxy.pulsar.serviceurl import BadServiceURL, parse_service_url
from sniproxy.util.names import host_port

MAX_REDIRECTS = 20
"""As in Pulsar's own clients (maxLookupRedirects)."""

Response = pb.CommandLookupTopicResponse


@attrs.frozen
class LookupRequest:
    """Ask the broker at this host and port."""

    host: str
    port: int
    authoritative: bool = False

    def __str__(self) -> str:
        return host_port(self.host, self.port)


@attrs.frozen
class Owner:
    """The broker that has the topic.

    @ivar url: as it was answered. @ivar through_service_url: whether only the service URL is dialled, and CONNECT
        names the owner (a Pulsar Proxy, or a standalone broker).
    """

    url: str
    host: str
    port: int
    through_service_url: bool = False

    def __str__(self) -> str:
        return host_port(self.host, self.port)


class Redirects:
    """One lookup's way.

    @ivar question: what is to be asked now.
    @ivar asked: how many have been asked before it.
    """

    def __init__(self, host: str, port: int, tls: bool, most: int = MAX_REDIRECTS) -> None:
        """@param host: of the service URL, and @param port: of it. @param tls: whether connections are TLS."""
        self.question = LookupRequest(host, port)
        self.asked = 0
        self._tls = tls
        self._most = most
        # The first answer may come from any broker behind the service's name: a redirect to a broker that has been
        # asked as authoritatively already would go round for ever.
        self._seen = {self.question}

    def answered(self, answer: Response) -> Owner | None:
        """Take the answer to `question`: the owner; or None, and `question` is the next one.

        @raise ClientError: there is no owner to be had this way.
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
                f"{self.question} redirects to {question}, which has been asked already",
                "each broker must advertise a name of its own, and the proxy lead each name to its own broker",
            )
        if self.asked >= self._most:
            raise ClientError(
                FailureKind.REDIRECTS,
                f"more than {self._most} redirects, the last one to {question}",
                "look at the brokers",
            )
        self._seen.add(question)
        self.question = question
        self.asked += 1
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
                "set a TLS port and advertised listeners on the brokers, and ask for the right listener"
                if self._tls
                else "use the pulsar+ssl:// service URL",
            )
        try:
            parsed = parse_service_url(url, f"the answer of {self.question}")
        except BadServiceURL as error:
            raise ClientError(
                FailureKind.NO_TLS_URL, str(error), "look at the broker's advertised listeners"
            ) from error
        if parsed.tls != self._tls:
            raise ClientError(
                FailureKind.NO_TLS_URL,
                f"the answer of {self.question}: {url} is no {scheme}:// URL",
                "look at the broker's advertised listeners",
            )
        return (url, *parsed.hosts[0])


_KINDS = {
    "AuthenticationError": (FailureKind.AUTHENTICATION, "check the token or the client's certificate, and their end"),
    "AuthorizationError": (FailureKind.AUTHORIZATION, "grant the client's role permission to the namespace"),
    "TopicNotFound": (FailureKind.NOT_FOUND, "check the topic's name, or create it"),
    "SubscriptionNotFound": (FailureKind.NOT_FOUND, "check the subscription's name"),
    "ServiceNotReady": (FailureKind.NOT_READY, "try again; when it stays, look at the brokers' logs"),
    "TooManyRequests": (FailureKind.NOT_READY, "try again later"),
    "MetadataError": (FailureKind.NOT_READY, "try again; when it stays, look at the brokers' logs"),
    "InvalidTopicName": (FailureKind.NOT_FOUND, "check the topic's name"),
}

_ABSENT = ("does not exist", "not found", "Policies not found")


def refusal(error: str | None, message: str | None, where: str) -> ClientError:
    """What a broker's error means.

    @param error: its name in ServerError. @param where: who said it, and to what.
    """
    kind, cure = _KINDS.get(error or "", (FailureKind.REFUSED, ""))
    said = message or ""
    # A namespace or tenant that is not there has no error code of its own.
    if kind not in (FailureKind.AUTHENTICATION, FailureKind.AUTHORIZATION) and any(word in said for word in _ABSENT):
        kind, cure = FailureKind.NOT_FOUND, "check tenant, namespace and topic, or create them"
    return ClientError(kind, f"{where}: {error or 'no error code'}{f': {said}' if said else ''}", cure)
