"""Keeps the objects of one kind up to date: a list, then watches from the last version, and a list again after 410."""

from __future__ import annotations

from collections.abc import Callable
from random import uniform
from typing import Generic, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from sniproxy.resolvers.kubernetes.api import APIFailure, KubernetesAPI, Resource
from sniproxy.resolvers.kubernetes.store import GONE, BadData, Expired, ObjectStore, WatchError, read_page
from sniproxy.util.reactor import IReactor

log = Logger()

MIN_PAUSE_S = 0.1
MAX_PAUSE_S = 0.5
"""Seconds between two requests after a failure; the pause doubles with each failure, less up to a half by chance.

With the delay of an update, what changed while the API server was away, or a permission missing, is followed within a
second of its return.
"""

MAX_ERROR_PAUSE_S = 5.0
"""The same after an answer with an error, such as that of an overloaded server, or one that cannot be used, and if 410
follows 410; not after a refusal, which is cheap."""

MIN_WATCH_S = 1.0
"""Seconds that a watch lasts at least if it is no failure."""

MISSING_PAUSE_S = 30.0
"""Seconds before an optional kind that the cluster does not have is tried again."""

RELIST_FAILURES = 3
"""Failures in a row, answers with an error, after which the next request is a list; and again after as many."""

MAX_PAGES = 200
"""Pages of one list."""

OK = 200
"""The status of an answer whose data cannot be used."""

T = TypeVar("T")


class Watcher(Generic[T]):
    """Lists and watches one kind until it is stopped.

    @param kind: the type of the objects.
    @param changed: called after the objects have changed, or L{error} has.
    @param optional: whether the cluster may lack this kind, or forbid it; it counts as an empty list then.
    @ivar store: the objects. @ivar version: the API version that the cluster has, of C{resource.versions}.
    @ivar synced: whether there has been a list.
    @ivar error: why the last request failed. None: it succeeded, or is the first one.
    @ivar lists: the number of lists. 0 with C{synced}: the cluster lacks or forbids this kind.
    """

    def __init__(
        self,
        reactor: IReactor,
        api: KubernetesAPI,
        resource: Resource,
        kind: type[T],
        changed: Callable[[], None],
        optional: bool = False,
    ) -> None:
        self.resource = resource
        self.store: ObjectStore[T] = ObjectStore(kind)
        self.version = resource.versions[0]
        self.synced = False
        self.error: str | None = None
        self.lists = 0
        self._reactor = reactor
        self._api = api
        self._changed = changed
        self.optional = optional
        self._failures = 0
        self._expirations = 0
        self._lists_before = 0
        self._max_pause = MAX_PAUSE_S
        self._begun = self._absent = False
        self._running: Deferred[None] | None = None

    def start(self) -> None:
        """Start to list and watch."""
        running = self._running = Deferred.fromCoroutine(self._run())
        running.addErrback(lambda failure: None if failure.check(CancelledError) else failure)
        running.addErrback(self._broken)

    def _broken(self, failure: Failure) -> None:
        """A fault of ours."""
        log.failure("unexpected error in a Kubernetes watch", failure)
        self.error = f"{self.resource}: the watch has ended by an unexpected error; see the log"
        self._changed()

    def stop(self) -> None:
        """Cancel the request in flight. No callback is called afterwards."""
        self._changed = lambda: None
        if self._running is not None:
            self._running.cancel()

    async def _run(self) -> None:
        while True:
            self._begun = self._absent = False
            self._max_pause = MAX_PAUSE_S
            try:
                if not self.store.version:
                    await self._list()
                await self._watch()
            except Expired:
                self._expired()
            except APIFailure as error:
                self._failed(error, self._begun and error.status is None)
            except (BadData, WatchError) as error:
                self.store.version = ""
                self._failed(APIFailure(f"{self.resource}: {error}", OK))
            await deferLater(self._reactor, self._pause())

    async def _watch(self) -> None:
        started = self._reactor.seconds()
        try:
            await self._api.watch(self.resource, self.version, self.store.version, self._on_begun, self._on_event)
        finally:
            lasted = self._reactor.seconds() - started >= MIN_WATCH_S
            if self._begun and lasted:
                self._expirations = 0
        # A server that ends each watch at once gets a pause, too.
        self._failures = 0 if lasted else self._failures + 1

    async def _list(self) -> None:
        pages: list[bytes] = []
        token = ""
        while True:
            body = await self._first_page() if not token else await self._next_page(token)
            pages.append(body)
            token = read_page(body).metadata.continue_ or ""
            if not token:
                break
            if len(pages) >= MAX_PAGES:
                raise BadData(f"the list has more than {MAX_PAGES} pages")
        self.store.replace(pages)
        self.lists += 1
        self.synced = True
        self._succeeded()
        self._changed()

    async def _first_page(self) -> bytes:
        """The first page, of the best version that the cluster has."""
        *newer, oldest = self.resource.versions
        for version in newer:
            self.version = version
            try:
                return await self._next_page("")
            except APIFailure as error:
                if error.status != 404:
                    raise
        self.version = oldest
        return await self._next_page("")

    async def _next_page(self, token: str) -> bytes:
        return await self._api.list_page(self.resource, self.version, token)

    def _on_begun(self) -> None:
        if not self._begun:
            self._begun = True
            if self.error is not None:
                self._succeeded()
                self._changed()

    def _on_event(self, line: bytes) -> None:
        if self.store.apply(line):
            self._failures = self._expirations = 0
            self._changed()

    def _succeeded(self) -> None:
        if self.error is not None:
            log.info("watching {resource} again", resource=str(self.resource))
        self.error = None

    def _expired(self) -> None:
        """List again. One 410 is usual; several are an error if no list has been complete in between."""
        self.store.version = ""
        self._expirations += 1
        again = self._expirations > 1
        incomplete, self._lists_before = again and self.lists == self._lists_before, self.lists
        if incomplete:
            why = "410 again before a list was complete; the API server forgets versions faster than it lists them"
            self._failed(APIFailure(f"{self.resource}: {why}", GONE))
            return
        self._failures += 1
        if again:
            self._max_pause = MAX_ERROR_PAUSE_S

    def _failed(self, error: APIFailure, cut: bool = False) -> None:
        """@param cut: whether a watch had begun and then lost its connection."""
        self._failures += 1
        self._max_pause = MAX_PAUSE_S if error.status in (None, 401, 403) else MAX_ERROR_PAUSE_S
        if self.optional and error.status == 404:
            self._missing()
            return
        if self.optional and error.status == 403 and not self.synced:
            self.synced = True
        if self._failures % RELIST_FAILURES == 0 and error.status not in (None, 401, 403, 429):
            self.store.version = ""  # for example a version from before a restored backup
        if cut and self._failures == 1:
            return  # the next watch continues it
        if self.error != str(error):
            log.error("cannot watch Kubernetes objects: {why}", why=str(error))
            self.error = str(error)
            self._changed()

    def _missing(self) -> None:
        """The cluster does not have this kind."""
        self._absent = True
        if not self.synced or self.store.objects or self.error is not None:
            self.store.objects.clear()
            self.synced, self.error = True, None
            self._changed()

    def _pause(self) -> float:
        if self._absent:
            return MISSING_PAUSE_S
        if not self._failures:
            return 0.0
        longest = min(self._max_pause, MIN_PAUSE_S * 2 ** min(self._failures - 1, 10))
        return uniform(longest / 2, longest)
