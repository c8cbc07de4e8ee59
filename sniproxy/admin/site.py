"""The HTTP server of the admin endpoint. GET and HEAD show state; POST with a token changes it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from msgspec.structs import asdict
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from sniproxy.admin.documents import serialize, status_document, tunnels
from sniproxy.admin.faults import FAULT_ACTIONS, change_faults, faults_document
from sniproxy.admin.flows import flows_steps
from sniproxy.admin.guardedsite import JSON, TEXT, Body, GuardedSite, not_found
from sniproxy.admin.history import STEP_S, STEPS
from sniproxy.admin.livecounts import LiveCounts
from sniproxy.admin.metrics import CONTENT_TYPE, Metrics
from sniproxy.admin.query import ErrorAnswer, addresses_of, number_of, optional_text_of, rate_of, text_of, values_of
from sniproxy.admin.recentrefusals import RecentRefusals
from sniproxy.admin.recording import RECORD, record
from sniproxy.admin.rejections import Rejections
from sniproxy.admin.sampler import Sampler
from sniproxy.admin.slices import Steps
from sniproxy.admin.sources import CLOSED, StatusSource, UnknownDrainTarget
from sniproxy.admin.topics import Topics, nothing_inspected
from sniproxy.admin.tunnellist import SORTS, tunnel_list_steps
from sniproxy.admin.who import who_steps
from sniproxy.util.text import printable

MAX_LISTED = 1000
"""Maximum of entries of a list in C{/status}, and the default in C{/topics}; C{?limit=} changes it."""

MAX_WORKER_TUNNELS = 10_000
"""Maximum of C{limit} in C{/tunnels} for a supervisor, which merges the lists of workers and shows a part of them."""

DEFAULT_TUNNELS = 100
"""Default of C{limit} in C{/tunnels}."""

DRAIN_KINDS = ("target", "route")
"""What can be drained. The supervisor sends it to a worker with the exact name."""

MAX_TOPICS = 10_000
"""Maximum of entries of a list in C{/topics}: the size of the ledger."""


class AdminSite(GuardedSite):
    """The HTTP server of one process, about that process.

    @param status: the proxy. @param metrics: the Prometheus metrics. @param refusals: the connections refused recently.
    @param topics: the JSON of C{/topics}; None if nothing is inspected.
    @param hosts: valid Host headers besides the addresses of the endpoint and C{localhost}.
    @param now: returns seconds since 1970.
    @param instance: the number of this worker; None without workers.
    @param holds: called with the change in the number of descriptors that its connections use.
    @param rejections: counts and logs refused requests and connections.
    """

    def __init__(
        self,
        reactor: IReactorTime,
        status: StatusSource,
        metrics: Metrics,
        refusals: RecentRefusals,
        topics: Topics | None = None,
        hosts: Collection[str] = (),
        now: Callable[[], float] = time.time,
        instance: int | None = None,
        holds: Callable[[int], None] = lambda _: None,
        rejections: Rejections | None = None,
    ) -> None:
        GuardedSite.__init__(self, reactor, hosts, holds, rejections)
        self.metrics = metrics
        self.refusals = refusals
        self.topics = topics
        self.proxy = status
        self.sampler = Sampler(reactor, status, metrics, self.slices, now)
        self._now = now
        self._instance = instance

    def answer(self, request: Request, path: str) -> tuple[str, Body]:
        """Answer a GET request."""
        if path == "/ready":
            return TEXT, self.ready(optional_text_of(request, b"listener"))
        if path == "/metrics":
            return CONTENT_TYPE, self.metrics.text_steps()
        if path == "/status":
            return JSON, self.status_steps(number_of(request, b"limit"), number_of(request, b"tunnels"))
        if path == "/tunnels":
            sort = optional_text_of(request, b"sort", SORTS) or "newest"
            wanted = optional_text_of(request, b"filter") or ""
            return JSON, self.tunnels_steps(wanted, sort, number_of(request, b"limit"), number_of(request, b"offset"))
        if path == "/history":
            return JSON, self.history_steps(number_of(request, b"seconds"))
        if path == "/topics":
            return JSON, self.topics_steps(number_of(request, b"fold"), number_of(request, b"limit"))
        if path == "/flows":
            return JSON, self.flows_steps()
        if path == "/who":
            return JSON, self.who_steps(addresses_of(request, b"address"))
        if path == "/faults":
            return JSON, _dumped(faults_document(self.proxy, self._now()))
        raise not_found()

    def act(self, request: Request, path: str) -> tuple[str, Body]:
        """Drain, cancel a drain, upgrade the program, record, or add or remove faults."""
        if path == "/upgrade":
            return self.begin_upgrade(request, self.proxy.upgrade)
        if path == RECORD:
            return record(request, self.proxy)
        if path in FAULT_ACTIONS:
            return JSON, _dumped(change_faults(self.proxy, path, values_of(request)))
        name = text_of(request, b"name")
        try:
            if path == "/drain":
                kind = None if self._instance is None else optional_text_of(request, b"kind", DRAIN_KINDS)
                return JSON, _dumped(asdict(self.proxy.drain(name, rate_of(request), kind)))
            return JSON, _dumped(asdict(self.proxy.undrain(name)))
        except UnknownDrainTarget as error:
            raise ErrorAnswer(404, str(error)) from error

    def ready(self, listener: str | None = None) -> bytes:
        """The answer for load balancers, about the proxy or one of its listeners.

        @raise ErrorAnswer: 503 while the proxy drains, or while the listener is closed; 404: there is none.
        """
        if not self.proxy.ready:
            raise ErrorAnswer(503, "draining")
        if listener is not None:
            closed = {one.name: one.closed for one in self.proxy.status().listeners}.get(listener)
            if closed is None:
                raise ErrorAnswer(404, f"no listener is named {printable(listener)}")
            if closed:
                raise ErrorAnswer(503, f"closed: {CLOSED}")
        return b"ready\n"

    def status_steps(self, limit: int | None, tunnel_limit: int | None = None) -> Steps[bytes]:
        """Build the JSON of C{/status} in steps.

        @param limit: maximum of entries of a list, up to L{MAX_LISTED}, the default.
        @param tunnel_limit: maximum of tunnels, if it is less.
        """
        limit = MAX_LISTED if limit is None else min(limit, MAX_LISTED)
        tunnel_limit = limit if tunnel_limit is None else min(limit, tunnel_limit)
        yield from self.metrics.refresh_steps()
        current_settings = self.proxy.current_settings(limit)
        yield
        targets, target_count = yield from self.proxy.targets_steps(limit)
        routes, route_count = yield from self.proxy.routes_steps(limit)
        status, live, now = self.proxy.status(), self.proxy.live(), self._now()
        totals, refusals = self.metrics.totals(), self.refusals.latest()
        refused, tally = self.metrics.refused_by_result(), self.metrics.tally
        counts = LiveCounts(tally, self.sampler.rates, targets, target_count, routes, route_count, refused)
        yield
        document = status_document(status, (), totals, refusals, now, limit, self._instance, current_settings, counts)
        return (yield from _json_steps({**document, "live": len(live), "tunnels": tunnels(live, now, tunnel_limit)}))

    def tunnels_steps(self, wanted: str, sort: str, limit: int | None, offset: int | None) -> Steps[bytes]:
        """Build the JSON of C{/tunnels} in steps; see L{tunnel_list_steps}.

        @param limit: maximum of connections, up to L{MAX_LISTED}, in a worker L{MAX_WORKER_TUNNELS}; default:
            L{DEFAULT_TUNNELS}.
        """
        most = MAX_LISTED if self._instance is None else MAX_WORKER_TUNNELS
        limit = DEFAULT_TUNNELS if limit is None else min(limit, most)
        live, now = self.proxy.live(), self._now()
        matched, found = yield from tunnel_list_steps(live, now, wanted, sort, limit, offset or 0)
        document = {"time": now, "instance": self._instance, "live": len(live), "matched": matched, "tunnels": found}
        return (yield from _json_steps(document))

    def history_steps(self, seconds: int | None) -> Steps[bytes]:
        """Build the JSON of C{/history} in steps. @param seconds: how far back. None: all that is kept."""
        history = self.sampler.history
        document = yield from history.document_steps(STEP_S * STEPS if seconds is None else seconds)
        return (yield from _json_steps({"time": self._now(), "instance": self._instance, **document}))

    def topics_steps(self, fold: int | None, limit: int | None) -> Steps[bytes]:
        """Build the JSON of C{/topics} in steps.

        @param fold: 1 to merge the partitions of a topic.
        @param limit: maximum of entries of a list, up to L{MAX_TOPICS}; default: L{MAX_LISTED}.
        """
        limit = MAX_LISTED if limit is None else min(limit, MAX_TOPICS)
        if self.topics is None:
            return (yield from _json_steps(nothing_inspected(self._now())))
        document = yield from self.topics.document_steps(self._now(), bool(fold), limit)
        return (yield from _json_steps(document))

    def flows_steps(self) -> Steps[bytes]:
        """Build the JSON of C{/flows} in steps."""
        document = yield from flows_steps(self.proxy.live(), self._now())
        return (yield from _json_steps(document))

    def who_steps(self, addresses: Sequence[str]) -> Steps[bytes]:
        """Build the JSON of C{/who} in steps. @param addresses: C{host:port}, in the shortest form."""
        live, now = self.proxy.live(), self._now()
        found: list[dict[str, Any]] = []
        for part in who_steps(live, addresses, now):
            found += part
            yield
        return (yield from _json_steps({"time": now, "instance": self._instance, "tunnels": found}))

    def startFactory(self) -> None:
        super().startFactory()
        self.sampler.start()

    def stopFactory(self) -> None:
        self.sampler.stop()
        super().stopFactory()


def _json_steps(document: dict[str, Any]) -> Steps[bytes]:
    """Serialize a document in steps."""
    pieces = []
    for piece in serialize(document):
        pieces.append(piece)
        yield
    return b"".join([*pieces, b"\n"])


def _dumped(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode() + b"\n"
