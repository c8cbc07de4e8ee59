"""The C{pulsar} resolver: live brokers of a cluster, from its admin API.

It refreshes every few seconds: the list of brokers, what each advertises, and the health of each. Names are answered
from the last refresh. An unknown name causes a refresh, because its broker may be new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlsplit

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, FirstError, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from sniproxy.interfaces import (
    BadOption,
    IWatchingResolver,
    Kind,
    Option,
    Refused,
    Request,
    Resolution,
    Unavailable,
    WatchState,
)
from sniproxy.resolvers.http.client import CERTIFICATE, TOKEN_FILE, TRUST, Credentials, HTTPFailure
from sniproxy.resolvers.options import bad_file, check_server_url
from sniproxy.resolvers.pulsar.admin import AdminClient
from sniproxy.resolvers.pulsar.advertised import (
    BadBrokerData,
    BrokerListeners,
    broker_ids,
    from_configuration,
    from_template,
    web_address,
)
from sniproxy.resolvers.pulsar.brokers import LiveBroker, LiveBrokers, keeping_note
from sniproxy.resolvers.pulsar.directory import BrokerDirectory
from sniproxy.resolvers.pulsar.options import BROKER_OPTIONS, check_port, read_listeners, read_service_names
from sniproxy.resolvers.pulsar.waiters import Waiters
from sniproxy.routing.brokernames import BrokerName, IBrokerDirectory
from sniproxy.util.names import host_port
from sniproxy.util.reactor import IReactor

log = Logger()

MAX_CONCURRENT = 10
"""Brokers that are queried at the same time."""

MIN_REFRESH_INTERVAL_S = 2.0
"""Seconds between the end of a refresh and one that an unknown name causes. Clients choose the names."""

OPTIONS = (
    Option("url", Kind.TEXTS, "URLs of the admin API, tried in order: http://broker:8080, https://broker:8443"),
    Option("cluster", Kind.TEXT, "name of the cluster; default: the cluster of the broker at url", None),
    *BROKER_OPTIONS,
    Option("name", Kind.TEXT, "name of a broker whose listeners cannot be read, from {host} and {label}", "{host}"),
    Option("web_port", Kind.INTEGER, "port of the admin API at each broker; default: the port in its id", None),
    Option("ask_brokers", Kind.FLAG, "query each broker for its listeners and health; false: use name and port", True),
    Option("every", Kind.NUMBER, "seconds between two refreshes", 10.0),
    Option("timeout", Kind.NUMBER, "seconds until a request times out", 5.0),
    Option("keep", Kind.NUMBER, "seconds to use the last known brokers while the cluster does not answer", 600.0),
    TRUST,
    TOKEN_FILE,
    CERTIFICATE,
)


@implementer(IWatchingResolver, IBrokerDirectory)
class PulsarResolver:
    """Made by L{make}, which checks the options."""

    def __init__(
        self,
        reactor: IReactorTime,
        admin: AdminClient,
        choice: BrokerListeners,
        service_names: tuple[str, ...],
        options: Mapping[str, Any],
    ) -> None:
        self._reactor = reactor
        self._admin = admin
        self._choice = choice
        self._service_names = service_names
        self._urls: list[str] = [url.rstrip("/") for url in options["url"]]
        cluster = options["cluster"]
        self._path = "/admin/v2/brokers" + ("" if cluster is None else f"/{quote(cluster, safe='')}")
        self._web_port: int | None = options["web_port"]
        self._query_brokers: bool = options["ask_brokers"]
        self._every: float = options["every"]
        self._keep: float = options["keep"]
        self._directory = BrokerDirectory(log)
        self._known: dict[str, LiveBroker] = {}
        self._listed_at = 0.0
        self._refreshed_at: float | None = None
        self._error: str | None = None
        self._faults: list[str] = []
        self._refresh: Deferred[None] | None = None
        self._waiters = Waiters()
        self._on_change: Callable[[], None] = lambda: None
        self._timer = LoopingCall(self._start_refresh)
        self._timer.clock = reactor

    def start(self, changed: Callable[[], None]) -> None:
        self._on_change = changed
        self._timer.start(self._every)

    def stop(self) -> Deferred[None]:
        self._on_change = lambda: None
        if self._timer.running:
            self._timer.stop()
        if self._refresh is not None:
            self._refresh.cancel()
        return self._admin.close()

    def state(self) -> WatchState:
        return self._directory.state(self._error or "; ".join(self._faults[:3]) or None)

    def names_of(self, host: str, port: int) -> Sequence[BrokerName]:
        return self._directory.names_of(host, port)

    def resolve(self, request: Request) -> Resolution | Deferred[Resolution]:
        if request.server_name is None:
            raise Refused("no broker for a ClientHello without a server name", float("inf"))
        if self._directory.knows(request.server_name) or not self._may_refresh():
            return self._answer(request)
        return Deferred.fromCoroutine(self._resolve_after_refresh(request))

    async def _resolve_after_refresh(self, request: Request) -> Resolution:
        waiter = self._waiters.wait()
        self._start_refresh()
        await waiter
        if self._error is not None and not self._directory.knows(request.server_name):
            raise Unavailable(self._error)
        return self._answer(request)

    def _answer(self, request: Request) -> Resolution:
        if self._directory.live is None:
            raise Unavailable(self._error or "the cluster has not answered yet")
        return self._directory.resolution(request.server_name, self._reactor.seconds(), MIN_REFRESH_INTERVAL_S)

    def _may_refresh(self) -> bool:
        return (
            self._refresh is not None
            or self._refreshed_at is None
            or self._reactor.seconds() - self._refreshed_at >= MIN_REFRESH_INTERVAL_S
        )

    def _start_refresh(self) -> None:
        """Start a refresh unless one is running."""
        if self._refresh is None:
            refresh = self._refresh = Deferred.fromCoroutine(self._refresh_once())
            refresh.addErrback(_ignore_cancelled)
            refresh.addErrback(lambda failure: log.failure("unexpected error while refreshing Pulsar brokers", failure))
            refresh.addBoth(self._refresh_done)

    def _refresh_done(self, _: object) -> None:
        self._refresh = None
        self._refreshed_at = self._reactor.seconds()
        self._waiters.release()

    async def _refresh_once(self) -> None:
        try:
            self._admin.reload_files()
            ids = await self._list()
        except HTTPFailure as error:
            self._failed(str(error))
            return
        self._faults = []
        trusted = self._trusted(ids)
        slots = DeferredSemaphore(MAX_CONCURRENT)
        queries = [slots.run(self._broker, web_id, trusted) for web_id in ids]
        known = [one for one in await gatherResults(queries, consumeErrors=True) if one is not None]
        self._known = {one.web_id: one for one in known}
        self._succeeded(LiveBrokers(self._service_names, known, len(ids) - len(known)))

    async def _list(self) -> list[str]:
        """The ids of live brokers, from the first URL that answers. The next refresh starts with that URL."""
        failures = []
        for url in list(self._urls):
            try:
                ids = broker_ids(await self._admin.get(url + self._path, self._trusted(self._known)))
            except (HTTPFailure, BadBrokerData) as error:
                failures.append(str(error) if isinstance(error, HTTPFailure) else f"{url}{self._path}: {error}")
                continue
            self._urls.remove(url)
            self._urls.insert(0, url)
            return ids
        raise HTTPFailure("; ".join(failures))

    async def _broker(self, web_id: str, trusted: set[str]) -> LiveBroker | None:
        """Query one broker. None: its name or address is unknown."""
        before = self._known.get(web_id)
        try:
            if not self._query_brokers:
                return from_template(web_id, self._choice)
            healthy = await self._healthy(web_id, trusted)
            if before is not None and not healthy:
                return attrs.evolve(before, healthy=False)
            # Read at each refresh, because a broker may have restarted with other listeners since the last one.
            return await self._read(web_id, trusted, healthy, before)
        except BadBrokerData as error:
            self._faults.append(str(error))
            return None

    async def _read(
        self, web_id: str, trusted: set[str], healthy: bool, before: LiveBroker | None
    ) -> LiveBroker | None:
        try:
            body = await self._admin.get(self._at(web_id, "/admin/v2/brokers/configuration/runtime"), trusted)
        except HTTPFailure as error:
            if before is not None:
                return attrs.evolve(before, healthy=healthy)
            if error.forbidden or error.status == 404:
                # Its configuration is not readable, so the name is from the option C{name}.
                return attrs.evolve(from_template(web_id, self._choice), healthy=healthy)
            self._faults.append(str(error))
            return None
        return attrs.evolve(from_configuration(web_id, body, self._choice), healthy=healthy)

    async def _healthy(self, web_id: str, trusted: set[str]) -> bool:
        try:
            await self._admin.get(self._at(web_id, "/admin/v2/brokers/health"), trusted)
        except HTTPFailure as error:
            if error.forbidden or error.status == 404:  # it answers without its health
                return True
            self._faults.append(str(error))
            return False
        return True

    def _at(self, web_id: str, path: str) -> str:
        host, port = web_address(web_id)
        scheme = urlsplit(self._urls[0]).scheme
        return f"{scheme}://{host_port(host, port if self._web_port is None else self._web_port)}{path}"

    def _trusted(self, ids: Any) -> set[str]:
        """The hosts that get the token: those of the option C{url} and those that the cluster lists as brokers."""
        return {urlsplit(url).hostname or "" for url in self._urls} | {web_address(web_id)[0] for web_id in ids}

    def _succeeded(self, live: LiveBrokers) -> None:
        if self._error is not None:
            log.info("Pulsar admin API {url} is available again", url=self._urls[0])
        self._error, self._listed_at = None, self._reactor.seconds()
        if self._directory.update(live, self._listed_at):
            self._on_change()

    def _failed(self, why: str) -> None:
        if self._error is None:
            keeping = keeping_note(self._directory.live, self._keep)
            log.error("cannot list Pulsar brokers: {why}{keeping}", why=why, keeping=keeping)
        self._error = why
        if self._directory.live is not None and self._reactor.seconds() - self._listed_at >= self._keep:
            log.error("no list of Pulsar brokers for {keep:g} s, discarding the last known brokers", keep=self._keep)
            self._directory.discard()
            self._on_change()


def _ignore_cancelled(failure: Any) -> Any:
    """Ignore the cancellation of a refresh, also that of one query of several."""
    inner = failure.value.subFailure if failure.check(FirstError) else failure
    return None if inner.check(CancelledError) else failure


URL_CURE = "write scheme, host and port of the admin API, as in https://broker-1.internal:8443"


def make(options: Mapping[str, Any], reactor: IReactor) -> PulsarResolver:
    """@raise BadOption: an option or a file is invalid."""
    for url in options["url"]:
        check_server_url("url", url, URL_CURE)
    if not options["url"]:
        raise BadOption("url", [], "name at least one URL of the admin API, as in http://broker-1.internal:8080")
    for key in ("every", "timeout"):
        if options[key] <= 0:
            raise BadOption(key, options[key], "write a number of seconds, more than 0")
    if options["keep"] < 0:
        raise BadOption("keep", options["keep"], "write a number of seconds, 0 or more")
    check_port("web_port", options["web_port"])
    choice = read_listeners(options, options["name"])
    names = read_service_names(options)
    credentials = Credentials(options["trust"], options["certificate"], options["token_file"])
    if credentials.certificate is not None and not all(url.startswith("https:") for url in options["url"]):
        raise BadOption(
            "certificate", credentials.certificate, "a client certificate needs https; write url = https://"
        )
    try:
        admin = AdminClient(reactor, credentials, options["timeout"], choice.dialled)
    except HTTPFailure as error:
        raise bad_file(options, error) from error
    return PulsarResolver(reactor, admin, choice, names, options)
