"""Client of Pulsar's admin API: timeouts, redirects, and errors with their cure."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from urllib.parse import urljoin, urlsplit

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.resolvers.http.client import Credentials, HTTPAnswer, HTTPClient, HTTPFailure, body_excerpt, display_url
from sniproxy.util.names import BadName, server_name
from sniproxy.util.text import bounded

MAX_BYTES = 4 * 2**20
"""Bytes of an answer. A broker's configuration has about 40 kB."""

MAX_REDIRECTS = 3


class AdminFailure(Exception):
    """A request failed. The text has the URL or the file, and the reason.

    @ivar status: the HTTP status. None: there was no answer.
    """

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status

    @property
    def forbidden(self) -> bool:
        """Whether the credentials are the reason: status 401 or 403."""
        return self.status in (401, 403)


class AdminClient:
    """Sends requests to the admin API.

    @param timeout: seconds for each request, from the connect to the last byte of the answer.
    @param address: maps a host to the address to dial. Certificates are verified for the host itself.
    """

    def __init__(
        self, reactor: Any, credentials: Credentials, timeout: float, address: Callable[[str], str] = str
    ) -> None:
        """@raise AdminFailure: a file cannot be read or is invalid."""
        self._reactor = reactor
        self._timeout = timeout
        try:
            self._client = HTTPClient(reactor, credentials, timeout, MAX_BYTES, address)
        except HTTPFailure as error:
            raise AdminFailure(str(error)) from error

    def read(self) -> None:
        """Reload the files if they have changed. @raise AdminFailure: a file is invalid; the previous contents stay."""
        try:
            self._client.read()
        except HTTPFailure as error:
            raise AdminFailure(str(error)) from error

    async def get(self, url: str, trusted: Collection[str]) -> bytes:
        """Request a URL and follow redirects. @return: the body.

        @param trusted: the hosts that get the token. A redirect to another host is followed without it.
        @raise AdminFailure: there is no answer within the timeout, or its status is not 200.
        """
        answer: Deferred[bytes] = Deferred.fromCoroutine(self._follow(url, trusted))
        answer.addTimeout(self._timeout, self._reactor, lambda *_: Failure(_TimedOut()))
        try:
            return await answer
        except HTTPFailure as error:
            raise AdminFailure(str(error)) from error
        except _TimedOut:
            raise AdminFailure(f"{display_url(url)}: no answer within {self._timeout:g} s") from None

    def close(self) -> Deferred[None]:
        """Close idle connections. Callers cancel their own requests."""
        return self._client.close()

    async def _follow(self, url: str, trusted: Collection[str]) -> bytes:
        for _ in range(MAX_REDIRECTS + 1):
            headers = {"Accept": "application/json, text/plain"}
            if self._client.token is not None and urlsplit(url).hostname in trusted:
                headers["Authorization"] = f"Bearer {self._client.token}"
            answer = await self._client.ask(url, headers)
            if answer.status == 200:
                return answer.body
            if answer.status not in (301, 302, 307, 308):
                raise AdminFailure(f"{display_url(url)}: {_status(answer)}", answer.status)
            url = _next(url, answer)
        raise AdminFailure(f"{display_url(url)}: more than {MAX_REDIRECTS} redirects")


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
        raise AdminFailure(f"{display_url(url)}: redirect to an invalid URL") from error
    if parts.scheme not in ("https", urlsplit(url).scheme):
        raise AdminFailure(f"{display_url(url)}: redirect from https to {bounded(parts.scheme)} not followed")
    return there


def _status(answer: HTTPAnswer) -> str:
    code = answer.status
    # Pulsar answers 401 to a role without permission, too.
    cure = {code: f"{code}, access denied; token_file or certificate must be a superuser's" for code in (401, 403)}
    cure[404] = "404, not found"
    return cure.get(code, str(code)) + body_excerpt(answer.body)
