"""The C{kubernetes} resolver: answers from what it has read of the Kubernetes API, and follows each change."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from sniproxy.interfaces import IWritingResolver, Refused, Request, Resolution, Unavailable, WatchState
from sniproxy.resolvers.http.client import HTTPFailure
from sniproxy.resolvers.kubernetes.api import KubernetesAPI
from sniproxy.resolvers.kubernetes.options import OPTIONS as OPTIONS
from sniproxy.resolvers.kubernetes.options import ServiceOptions, read_cluster, read_mode
from sniproxy.resolvers.kubernetes.sources import GatewaySource, NameTable, ServiceSource, Source
from sniproxy.resolvers.options import bad_file
from sniproxy.resolvers.pulsar.waiters import Waiters
from sniproxy.util.bounded import BoundedMap
from sniproxy.util.reactor import IReactor

log = Logger()

REBUILD_DELAY_S = 0.05
"""Seconds after a change until the answers follow; further changes meanwhile are part of the same update."""

MAX_REBUILD_DELAY_S = 0.5
"""The most of these seconds, when updates take long: they are four times as many as the last update took."""

DEPARTED_S = 300.0
"""Seconds for which a name that has gone is unavailable, before it is refused.

A refusal sends an alert, after which some clients do not retry. A restarted pod is listed again before.
"""

MAX_DEPARTED = 10_000
"""Names that have gone."""

NOT_READ = "the Kubernetes API has not answered yet"


@implementer(IWritingResolver)
class KubernetesResolver:
    """Made by L{make}. @param keep: seconds to use the last objects while a watch fails."""

    def __init__(self, reactor: IReactor, source: Source, keep: float) -> None:
        self._reactor = reactor
        self._source = source
        self._keep = keep
        self._table: NameTable | None = None
        self._discarded_table: NameTable | None = None
        self._errors: tuple[str, ...] = ()
        self._hints: tuple[str, ...] = ()
        self._noted: set[str] = set()
        self._delay = REBUILD_DELAY_S
        self._departed: BoundedMap[str, bool] = BoundedMap(MAX_DEPARTED)
        self._waiters = Waiters()
        self._rebuilding: Any = None
        self._discarding: Any = None
        self._discarded = self._stopped = self._writes = False
        self._on_change: Callable[[], None] = lambda: None

    def start(self, changed: Callable[[], None]) -> None:
        self._writes = True
        self.start_reading(changed)

    def start_reading(self, changed: Callable[[], None]) -> None:
        self._on_change = changed
        self._source.start(self._schedule)

    def stop(self) -> Deferred[None]:
        self._stopped = True
        self._on_change = lambda: None
        self._rebuilding = _cancelled(self._rebuilding)
        self._discarding = _cancelled(self._discarding)
        self._waiters.release()
        return self._source.stop()

    def state(self) -> WatchState:
        error = "; ".join(self._errors[:3]) or None
        if self._table is None:
            return WatchState("nothing read yet" if not self._discarded else "nothing known", error or NOT_READ)
        hints = [*self._hints, self._source.trouble(), *self._table.problems[:3]]
        return WatchState(self._table.summary, error or "; ".join(filter(None, hints)) or None, self._table.described)

    def resolve(self, request: Request) -> Resolution | Deferred[Resolution]:
        if self._table is not None or self._errors or self._stopped:
            return self._answer(request)
        return Deferred.fromCoroutine(self._wait(request))

    async def _wait(self, request: Request) -> Resolution:
        """Wait until all objects are read, or cannot be read."""
        await self._waiters.wait()
        return self._answer(request)

    def _answer(self, request: Request) -> Resolution:
        if self._table is None:
            # A cached answer may be older than what was read last, and must not outlive it.
            gone = self._discarded_table is not None and not _leads(self._discarded_table, request.server_name)
            raise Unavailable("; ".join(self._errors) or NOT_READ, authoritative=gone)
        try:
            return self._table.resolution(request.server_name)
        except Refused:
            if self._errors:
                # The name may be new. But if it is an old one, it had gone when the objects were read.
                raise Unavailable("; ".join(self._errors), authoritative=True) from None
            self._departed.older(self._reactor.seconds() - DEPARTED_S)
            if request.server_name is not None and self._departed.get(request.server_name):
                why = f"{request.server_name} has gone and may come back"
                raise Unavailable(why, authoritative=True) from None
            raise

    def _schedule(self) -> None:
        """Update the answers soon."""
        if self._rebuilding is None and not self._stopped:
            self._rebuilding = self._reactor.callLater(self._delay, self._update)

    def _update(self) -> None:
        self._rebuilding = None
        watchers = self._source.watchers()
        self._errors = tuple(one.error for one in watchers if one.error is not None and not one.optional)
        self._hints = tuple(one.error for one in watchers if one.error is not None and one.optional)
        self._time_discard()
        # A new optional watch that fails does not stop the updates. The first table waits for it.
        running = self._table is not None
        synced = all(one.synced or (running and one.optional and one.error is not None) for one in watchers)
        if synced and not (self._discarded and self._errors):
            self._discarded = False
            started = self._reactor.seconds()
            table = self._source.table()
            took = self._reactor.seconds() - started
            self._delay = min(max(REBUILD_DELAY_S, 4 * took), MAX_REBUILD_DELAY_S)
            self._adopt(table)
        if self._table is not None or self._errors:
            self._waiters.release()

    def _adopt(self, table: NameTable) -> None:
        before, self._table, self._discarded_table = self._table, table, None
        for note in table.notes:
            if note not in self._noted and len(self._noted) < 1000:
                self._noted.add(note)
                log.info("Kubernetes: {note}", note=note)
        if before is None or table != before:
            log.info("Kubernetes: {summary}{changes}", summary=table.summary, changes=table.changes(before))
            for name in () if before is None else before.names():
                if not table.knows(name):
                    self._departed.put(name, True, self._reactor.seconds())
            self._on_change()
        if self._writes:
            self._source.write(table)

    def _time_discard(self) -> None:
        """Start or cancel the timer after which the objects that were read last are too old."""
        if not self._errors:
            self._discarding = _cancelled(self._discarding)
        elif self._discarding is None and self._table is not None:
            self._discarding = self._reactor.callLater(self._keep, self._discard)

    def _discard(self) -> None:
        self._discarding = None
        self._discarded_table, self._table, self._discarded = self._table, None, True
        log.error("no answer from the Kubernetes API for {keep:g} s, discarding what was read", keep=self._keep)
        self._on_change()


def make(options: Mapping[str, Any], reactor: IReactor, environ: Mapping[str, str] | None = None) -> KubernetesResolver:
    """@param environ: None: that of the process. @raise BadOption: an option or a file is invalid."""
    mode = read_mode(options)
    cluster = read_cluster(options, os.environ if environ is None else environ)
    try:
        api = KubernetesAPI(reactor, cluster.server, cluster.credentials, cluster.timeout)
    except HTTPFailure as error:
        raise bad_file(options, error) from error
    make_source = ServiceSource if isinstance(mode, ServiceOptions) else GatewaySource
    source: Source = make_source(reactor, api, mode, cluster.namespace, cluster.networks)  # type: ignore[arg-type]
    return KubernetesResolver(reactor, source, cluster.keep)


def _leads(table: NameTable, name: str | None) -> bool:
    """Whether a name leads to a target."""
    try:
        table.resolution(name)
    except (Refused, Unavailable):
        return False
    return True


def _cancelled(call: Any) -> Any:
    """Cancel a timer if it is active. @return: None, for the attribute that had it."""
    if call is not None and call.active():
        call.cancel()
    return None
