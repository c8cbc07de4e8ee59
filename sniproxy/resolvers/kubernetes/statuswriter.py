"""Writes the status of TLSRoutes, one request at a time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from sniproxy.resolvers.kubernetes.api import APIFailure, KubernetesAPI
from sniproxy.resolvers.kubernetes.conditions import status_patch
from sniproxy.resolvers.kubernetes.gatewayobjects import TLSRoute
from sniproxy.resolvers.kubernetes.tlsroutes import ParentResult
from sniproxy.resolvers.kubernetes.watch import Watcher
from sniproxy.util.reactor import IReactor

log = Logger()

RETRY_S = 5.0
"""Seconds before a status that could not be written is tried again."""

CONFLICT = 409
"""The route has changed since it was read; its watch will say how."""

Key = tuple[str, str]


class StatusWriter:
    """Writes the statuses of a table that are not right.

    @param routes: the watch that reads the routes. @param controller: our controllerName.
    @ivar error: why the last status could not be written. None: it was, or there was none.
    """

    def __init__(self, reactor: IReactor, api: KubernetesAPI, routes: Watcher[TLSRoute], controller: str) -> None:
        self.error: str | None = None
        self._reactor = reactor
        self._api = api
        self._routes = routes
        self._controller = controller
        self._results: Mapping[Key, list[ParentResult]] = {}
        # The routes whose status was right, with the results for which it was.
        self._right: dict[Key, tuple[TLSRoute, list[ParentResult]]] = {}
        self._writing: Deferred[None] | None = None
        self._again = self._stopped = False
        self._retry: Any = None

    def write(self, results: Mapping[Key, list[ParentResult]]) -> None:
        """Write what is not right. @param results: of all routes that refer to our Gateway."""
        self._results = results
        if self._writing is not None:
            self._again = True
            return
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        writing = self._writing = Deferred.fromCoroutine(self._write_all())
        writing.addErrback(lambda failure: None if failure.check(CancelledError) else failure)
        writing.addErrback(lambda failure: log.failure("unexpected error while writing the status of routes", failure))
        writing.addBoth(self._done)

    def stop(self) -> None:
        """Cancel what is being written."""
        self._again, self._stopped = False, True
        if self._retry is not None and self._retry.active():
            self._retry.cancel()
        if self._writing is not None:
            self._writing.cancel()

    async def _write_all(self) -> None:
        error = None
        for key in self._right.keys() - self._routes.store.objects.keys():
            del self._right[key]
        for key in sorted(self._routes.store.objects):
            route = self._routes.store.objects.get(key)
            if route is None:  # it was removed meanwhile
                continue
            results = self._results.get(key, [])
            known, right = self._right.get(key, (None, []))
            if known is route and right == results:
                continue
            now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            patch = status_patch(route, results, self._controller, now)
            if patch is None:
                self._right[key] = route, results
                continue
            try:
                await self._api.patch_status(self._routes.resource, self._routes.version, key, patch)
            except APIFailure as failure:
                if failure.status in (404, CONFLICT):
                    continue
                error = str(failure)
                if failure.status in (None, 401, 403):
                    break  # the others would fail, too
        if error is not None and error != self.error:
            log.error("cannot write the status of a TLSRoute: {why}", why=error)
        self.error = error

    def _done(self, _: object) -> None:
        self._writing = None
        if self._again:
            self._again = False
            self.write(self._results)
        elif self.error is not None and not self._stopped:
            self._retry = self._reactor.callLater(RETRY_S, lambda: self.write(self._results))
