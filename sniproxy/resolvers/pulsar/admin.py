"""Client of Pulsar's admin API: timeouts, redirects, and errors with their cure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from urllib.parse import urljoin, urlsplit

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.resolvers.http.client import Credentials, HTTPAnswer, HTTPClient, HTTPFailure, body_excerpt, display_url
from sniproxy.util.names import BadName, server_name
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded

MAX_BYTES = 4 * 2**20
"""Bytes of an answer. A broker's configuration has about 40 kB."""

MAX_REDIRECTS = 3


class AdminClient:
    """Sends requests to the admin API.

    @param timeout: seconds for each request, from the connect to the last byte of the answer.
    @param address: maps a host to the address to dial. Certificates are verified for the host itself.
    """

    def __init__(
        self, reactor: IReactor, credentials: Credentials, timeout: float, address: Callable[[str], str] = str
    ) -> None:
        """@raise HTTPFailure: a file cannot be read or is invalid."""
        self._reactor = reactor
        self._timeout = timeout
        self._client = HTTPClient(reactor, credentials, timeout, MAX_BYTES, address)

    def reload_files(self) -> None:
        """Reload the files if they have changed. @raise HTTPFailure: a file is invalid; the previous contents stay."""
        self._client.reload_files()

    async def get(self, url: str, trusted: Collection[str]) -> bytes:
        """Request a URL and follow redirects. @return: the body.

        @param trusted: the hosts that get the token. A redirect to another host is followed without it.
        @raise HTTPFailure: there is no answer within the timeout, or its status is not 200.
        """
        answer: Deferred[bytes] = Deferred.fromCoroutine(self._follow(url, trusted))
        answer.addTimeout(self._timeout, self._reactor, lambda *_: Failure(_TimedOut()))
        try:
            return await answer
        except _TimedOut:
            raise HTTPFailure(f"{display_url(url)}: no answer within {self._timeout:g} s") from None

    def close(self) -> Deferred[None]:
        """Close idle connections. Callers cancel their own requests."""
        return self._client.close()

    async def _follow(self, url: str, trusted: Collection[str]) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            headers = {"Accept": "application/json, text/plain"}
            if self._client.token is not None and urlsplit(url).hostname in trusted:
                headers["Authorization"] = f"Bearer {self._client.token}"
            answer = await self._client.request(url, headers)
            if answer.status == 200:
                return answer.body
            if answer.status not in (301, 302, 307, 308):
                raise HTTPFailure(f"{display_url(url)}: {_status(answer)}", answer.status)
            url = _next(url, answer)
        raise HTTPFailure(f"{display_url(url)}: more than {MAX_REDIRECTS} redirects")


class _TimedOut(Exception):
    pass


def _next(url: str, answer: HTTPAnswer) -> str:
    """The URL that a redirect leads to."""
    try:
        there: str = urljoin(url, answer.location)
        parts = urlsplit(there)
        server_name(parts.hostname or "")
        _ = parts.port
        there.encode("ascii")
    except (ValueError, BadName) as error:
        raise HTTPFailure(f"{display_url(url)}: redirect to an invalid URL") from error
    if parts.scheme not in ("https", urlsplit(url).scheme):
        raise HTTPFailure(f"{display_url(url)}: redirect from https to {bounded(parts.scheme)} not followed")
    return there


def _status(answer: HTTPAnswer) -> str:
    code = answer.status
    # Pulsar answers 401 to a role without permission, too.
    cure = {code: f"{code}, access denied; token_file or certificate must be a superuser's" for code in (401, 403)}
    cure[404] = "404, not found"
    return cure.get(code, str(code)) + body_excerpt(answer.body)
