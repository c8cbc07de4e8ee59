"""Client of the Kubernetes API: lists, watches and status patches, and errors with their cure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import randint
from typing import Any
from urllib.parse import quote, urlencode

import attrs
import msgspec
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from sniproxy.resolvers.http.client import Credentials, HTTPAnswer, HTTPClient, HTTPFailure, body_excerpt
from sniproxy.resolvers.kubernetes.store import GONE, Expired, LineSplitter, read_status
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded

MAX_PAGE_BYTES = 32 * 2**20
"""Bytes of one page of a list. A watch ends, and continues with a new request, after twice as many."""

PAGE_OBJECTS = 500
"""Objects of one page."""

WATCH_S = 30
"""Seconds after which the API server ends a watch, less up to a sixth by chance; the next one continues it.

The API server checks token and permissions only at the begin of a request, so a short watch finds a lost permission, a
new token and a dead connection soon. Watches that end at different times do not return all at once.
"""

WATCH_GRACE_S = 10.0
"""Seconds that a watch may take longer."""


class APIFailure(Exception):
    """A request failed. The text says why, with the cure. @ivar status: the HTTP status. None: there was no answer."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@attrs.frozen
class Resource:
    """One kind of objects and where they are.

    @ivar plural: as in C{endpointslices}. @ivar group: the API group. Empty: the core group.
    @ivar versions: the versions that we read, best first.
    @ivar namespace: None: all namespaces, or a kind without namespaces.
    @ivar selectors: the parameters C{labelSelector} and C{fieldSelector}.
    """

    plural: str
    group: str
    versions: tuple[str, ...]
    namespace: str | None = None
    selectors: Mapping[str, str] = attrs.field(factory=dict)

    def path(self, version: str) -> str:
        """The path of the collection in the API."""
        start = f"/apis/{self.group}/{version}" if self.group else f"/api/{version}"
        inside = "" if self.namespace is None else f"/namespaces/{quote(self.namespace, safe='')}"
        return f"{start}{inside}/{self.plural}"

    def __str__(self) -> str:
        """As in C{endpointslices.discovery.k8s.io in namespace pulsar}."""
        name = f"{self.plural}.{self.group}" if self.group else self.plural
        return f"{name} in {'all namespaces' if self.namespace is None else f'namespace {self.namespace}'}"


class KubernetesAPI:
    """Sends requests to the API server.

    @param url: its URL, without a path. @param timeout: seconds for each request except watches.
    """

    def __init__(self, reactor: IReactor, url: str, credentials: Credentials, timeout: float) -> None:
        """@raise HTTPFailure: a file cannot be read or is invalid."""
        self._reactor = reactor
        self._url = url
        self._timeout = timeout
        self._client = HTTPClient(reactor, credentials, timeout, MAX_PAGE_BYTES)

    def close(self) -> Deferred[None]:
        """Close idle connections. Callers cancel their own requests."""
        return self._client.close()

    async def list_page(self, resource: Resource, version: str, token: str) -> bytes:
        """One page of a list. @param token: of the page before. Empty: the first page.

        @raise APIFailure: there is no such page. @raise Expired: the list has changed; begin again.
        """
        parameters = {"limit": str(PAGE_OBJECTS), **({"continue": token} if token else {}), **resource.selectors}
        answer = await self._timed(self._send(resource.path(version), parameters), self._timeout)
        if answer.status == GONE:
            raise Expired("the list has expired")
        self._check(answer, "list", resource)
        return answer.body

    async def watch(
        self,
        resource: Resource,
        version: str,
        since: str,
        begun: Callable[[], None],
        event: Callable[[bytes], None],
    ) -> None:
        """Watch until the API server ends the watch, which it does at least each L{WATCH_S} seconds.

        @param since: the C{resourceVersion} of the last list or event.
        @param begun: called when the API server has accepted the watch. @param event: called with each event.
            An exception of it ends the watch, and is raised.
        @raise APIFailure: the watch was refused or cut. @raise Expired: list again.
        """
        seconds = randint(WATCH_S - WATCH_S // 6, WATCH_S)
        parameters = {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(seconds),
            **resource.selectors,
        }
        lines = LineSplitter()

        def receive(data: bytes) -> None:
            if not data:
                begun()
            for line in lines.split(data):
                event(line)

        sending = self._send(resource.path(version), parameters, receive=receive)
        answer = await self._timed(sending, seconds + WATCH_GRACE_S)
        if answer.status == GONE:
            raise Expired("the version has expired")
        self._check(answer, "watch", resource)

    async def patch_status(self, resource: Resource, version: str, key: tuple[str, str], patch: object) -> None:
        """Merge a patch (RFC 7386) into an object. @param key: its namespace and name. @raise APIFailure: it failed."""
        namespace, name = key
        there = attrs.evolve(resource, namespace=namespace)
        path = f"{there.path(version)}/{quote(name, safe='')}/status"
        sending = self._send(path, {}, msgspec.json.encode(patch))
        self._check(await self._timed(sending, self._timeout), "patch", attrs.evolve(there, plural=_status_of(there)))

    async def _send(
        self,
        path: str,
        parameters: Mapping[str, str],
        patch: bytes | None = None,
        receive: Callable[[bytes], None] | None = None,
    ) -> HTTPAnswer:
        url = self._url + path + (f"?{urlencode(parameters)}" if parameters else "")
        try:
            # Kubernetes replaces the token of a pod each hour.
            self._client.reload_files()
            headers = {"Accept": "application/json"}
            if self._client.token is not None:
                headers["Authorization"] = f"Bearer {self._client.token}"
            if patch is not None:
                headers["Content-Type"] = "application/merge-patch+json"
            return await self._client.request(url, headers, patch, b"PATCH", receive)
        except HTTPFailure as error:
            raise APIFailure(str(error)) from error

    async def _timed(self, sending: Any, seconds: float) -> HTTPAnswer:
        answer: Deferred[HTTPAnswer] = Deferred.fromCoroutine(sending)
        answer.addTimeout(seconds, self._reactor, lambda *_: Failure(_TimedOut()))
        try:
            return await answer
        except _TimedOut:
            raise APIFailure(f"{self._url}: no answer within {seconds:g} s") from None

    def _check(self, answer: HTTPAnswer, verb: str, resource: Resource) -> None:
        """@raise APIFailure: the answer is an error."""
        if 200 <= answer.status < 300:
            return
        what = f"{self._url}: cannot {verb} {resource}: {answer.status}"
        if answer.status == 401:
            raise APIFailure(f"{what}, the token or certificate is not valid", 401)
        if answer.status == 403:
            raise APIFailure(f"{what}, access denied; {grant(verb, resource)}", 403)
        if answer.status == 404 and verb != "patch":
            raise APIFailure(f"{what}, the cluster has no such resource in {_spelled(resource.versions)}", 404)
        message = read_status(answer.body).message
        raise APIFailure(what + (f", {bounded(message, 200)}" if message else body_excerpt(answer.body)), answer.status)


class _TimedOut(Exception):
    pass


def grant(verb: str, resource: Resource) -> str:
    """What an administrator must allow, as a sentence."""
    kind = "ClusterRole" if resource.namespace is None else "Role"
    verbs = "patch" if verb == "patch" else "list and watch"
    return f"allow {verbs} on {resource} by a {kind}"


def _status_of(resource: Resource) -> str:
    return f"{resource.plural}/status"


def _spelled(versions: Sequence[str]) -> str:
    return f"version {' or '.join(versions)}"
