"""The pulsar resolver: the live brokers of a cluster, as its admin API has them.

It looks every few seconds: which brokers there are, what each advertises, and whether each is healthy. Names are
answered from what was seen last; a name that nobody had is worth another look, for its broker may have come since.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import attrs
from twisted.internet.defer import CancelledError, Deferred, DeferredSemaphore, gatherResults
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
from sniproxy.resolvers.http.client import Credentials
from sniproxy.resolvers.pulsar.admin import AdminClient, AdminFailure
from sniproxy.resolvers.pulsar.advertised import (
    BadBrokerData,
    BrokerListeners,
    broker_ids,
    from_configuration,
    from_template,
    web_address,
)
from sniproxy.resolvers.pulsar.brokers import LiveBroker, LiveBrokers
from sniproxy.resolvers.pulsar.options import BROKER_OPTIONS, check_port, read_listeners, read_service_names
from sniproxy.util.names import BadName, host_port, server_name

log = Logger()

MAX_CONCURRENT = 10
"""Brokers that are asked at the same time."""

REFRESH_INTERVAL_S = 60.0
"""Seconds after which a healthy broker is asked anew what it advertises; one that was not healthy, at each look."""

MIN_REFRESH_INTERVAL_S = 2.0
"""Seconds between the end of a look and another one for a name that nobody has: clients choose the names."""

OPTIONS = (
    Option(
        "url", Kind.TEXTS, "the admin API's URL, or several, asked in turn: http://broker:8080, https://broker:8443"
    ),
    Option("cluster", Kind.TEXT, "the cluster's name; unless given, the one of the broker that is asked", None),
    *BROKER_OPTIONS,
    Option("name", Kind.TEXT, "a broker's name where its listeners may not be read, of {host} and {label}", "{host}"),
    Option("web_port", Kind.INTEGER, "the admin API's port at each broker; unless given, the one in its id", None),
    Option("ask_brokers", Kind.FLAG, "each broker is asked for its listeners and health; if not: name and port", True),
    Option("every", Kind.NUMBER, "seconds between two looks", 10.0),
    Option("timeout", Kind.NUMBER, "seconds for each answer", 5.0),
    Option("keep", Kind.NUMBER, "seconds for which the last look counts while the cluster does not answer", 600.0),
    Option("trust", Kind.PATH, "PEM of the authorities of https; unless given, the system's", None),
    Option("token_file", Kind.PATH, "a file with a token, read again when it changes", None),
    Option("certificate", Kind.PATH, "PEM of a client's certificate and its key, read again when it changes", None),
)


@attrs.define
class _BrokerState:
    """@ivar read: the reactor's time when it said what it advertises. None: it never did, and the template stands."""

    broker: LiveBroker
    read: float | None


@implementer(IWatchingResolver)
class PulsarResolver:
    """Made by L{make}; the arguments are the options, checked."""

    def __init__(
        self,
        reactor: Any,
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
        self._asks: bool = options["ask_brokers"]
        self._every: float = options["every"]
        self._keep: float = options["keep"]
        self._live: LiveBrokers | None = None
        self._known: dict[str, _BrokerState] = {}
        self._seen = 0.0
        self._ended: float | None = None
        self._error: str | None = None
        self._faults: list[str] = []
        self._look: Deferred[None] | None = None
        self._waiting: list[Deferred[None]] = []
        self._tell: Callable[[], None] = _ignore
        self._looping = LoopingCall(self._loop)
        self._looping.clock = reactor

    def start(self, changed: Callable[[], None]) -> None:
        self._tell = changed
        self._looping.start(self._every)

    def stop(self) -> Deferred[None]:
        self._tell = _ignore
        if self._looping.running:
            self._looping.stop()
        if self._look is not None:
            self._look.cancel()
        return self._admin.close()

    def state(self) -> WatchState:
        summary = "no brokers known" if self._live is None else self._live.summary()
        return WatchState(summary, self._error or "; ".join(self._faults[:3]) or None)

    def resolve(self, request: Request) -> Resolution | Deferred[Resolution]:
        if request.server_name is None:
            raise Refused("a hello without a server name leads to no broker", float("inf"))
        if self._live is not None and (self._live.targets(request.server_name) or not self._worth_a_look()):
            return self._live.resolution(request.server_name, None, MIN_REFRESH_INTERVAL_S)
        if not self._worth_a_look():
            raise Unavailable(self._error or "the cluster has not answered yet")
        return Deferred.fromCoroutine(self._after_a_look(request))

    async def _after_a_look(self, request: Request) -> Resolution:
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        self._loop()
        await waiter
        if self._live is None:
            raise Unavailable(self._error or "the cluster has not answered yet")
        if self._error is not None and not self._live.targets(request.server_name):
            raise Unavailable(self._error)
        return self._live.resolution(request.server_name, None, MIN_REFRESH_INTERVAL_S)

    def _worth_a_look(self) -> bool:
        return (
            self._look is not None
            or self._ended is None
            or self._reactor.seconds() - self._ended >= MIN_REFRESH_INTERVAL_S
        )

    def _loop(self) -> None:
        """Begin a look, unless there is one."""
        if self._look is None:
            look = self._look = Deferred.fromCoroutine(self._look_once())
            look.addErrback(lambda failure: None if failure.check(CancelledError) else failure)
            look.addErrback(lambda failure: log.failure("A look at Pulsar's brokers failed", failure))
            look.addBoth(self._looked)

    def _looked(self, _: object) -> None:
        self._look = None
        self._ended = self._reactor.seconds()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)

    async def _look_once(self) -> None:
        try:
            self._admin.read()
            ids = await self._list()
        except AdminFailure as error:
            self._failed(str(error))
            return
        self._faults = []
        trusted = self._trusted(ids)
        places = DeferredSemaphore(MAX_CONCURRENT)
        asking = [places.run(self._broker, web_id, trusted) for web_id in ids]
        known = [one for one in await gatherResults(asking, consumeErrors=True) if one is not None]
        self._known = {one.broker.web_id: one for one in known}
        self._succeeded(LiveBrokers(self._service_names, [one.broker for one in known], len(ids) - len(known)))

    async def _list(self) -> list[str]:
        """The live brokers' ids, from the first URL that has an answer, which is asked first the next time."""
        failures = []
        for url in list(self._urls):
            try:
                ids = broker_ids(await self._admin.get(url + self._path, self._trusted(self._known)))
            except (AdminFailure, BadBrokerData) as error:
                failures.append(str(error) if isinstance(error, AdminFailure) else f"{url}{self._path}: {error}")
                continue
            self._urls.remove(url)
            self._urls.insert(0, url)
            return ids
        raise AdminFailure("; ".join(failures))

    async def _broker(self, web_id: str, trusted: set[str]) -> _BrokerState | None:
        """What is known of a broker now; None: nothing that would lead to it."""
        before, now = self._known.get(web_id), self._reactor.seconds()
        try:
            if not self._asks:
                return _BrokerState(from_template(web_id, self._choice), None)
            healthy = await self._healthy(web_id, trusted)
            fresh = before is not None and before.read is not None and now - before.read < REFRESH_INTERVAL_S
            if before is not None and (not healthy or (fresh and before.broker.healthy)):
                return _BrokerState(attrs.evolve(before.broker, healthy=healthy), before.read)
            return await self._read(web_id, trusted, healthy, before)
        except BadBrokerData as error:
            self._faults.append(str(error))
            return None

    async def _read(
        self, web_id: str, trusted: set[str], healthy: bool, before: _BrokerState | None
    ) -> _BrokerState | None:
        try:
            body = await self._admin.get(self._at(web_id, "/admin/v2/brokers/configuration/runtime"), trusted)
        except AdminFailure as error:
            if before is not None:
                return _BrokerState(attrs.evolve(before.broker, healthy=healthy), before.read)
            if error.forbidden or error.status == 404:
                # What it advertises is not for us: the operator's template says it.
                return _BrokerState(attrs.evolve(from_template(web_id, self._choice), healthy=healthy), None)
            self._faults.append(str(error))
            return None
        broker = from_configuration(web_id, body, self._choice)
        return _BrokerState(attrs.evolve(broker, healthy=healthy), self._reactor.seconds())

    async def _healthy(self, web_id: str, trusted: set[str]) -> bool:
        try:
            await self._admin.get(self._at(web_id, "/admin/v2/brokers/health"), trusted)
        except AdminFailure as error:
            if error.forbidden or error.status == 404:  # it answers, and does not say
                return True
            self._faults.append(str(error))
            return False
        return True

    def _at(self, web_id: str, path: str) -> str:
        host, port = web_address(web_id)
        scheme = urlsplit(self._urls[0]).scheme
        return f"{scheme}://{host_port(host, port if self._web_port is None else self._web_port)}{path}"

    def _trusted(self, ids: Any) -> set[str]:
        """Hosts that get the token: the operator's, and those that the cluster calls its brokers."""
        return {urlsplit(url).hostname or "" for url in self._urls} | {web_address(web_id)[0] for web_id in ids}

    def _succeeded(self, live: LiveBrokers) -> None:
        if self._error is not None:
            log.info("the admin API of {cluster} answers again", cluster=self._urls[0])
        self._error, self._seen = None, self._reactor.seconds()
        before, self._live = self._live, live
        if before is None or live.differs(before):
            log.info("Pulsar's brokers: {summary}{changes}", summary=live.summary(), changes=live.changes(before))
            self._tell()

    def _failed(self, why: str) -> None:
        if self._error is None:
            stays = "" if self._live is None else f"; for {self._keep:g} s its brokers are taken for what they were"
            log.error("Pulsar's brokers cannot be listed: {why}{stays}", why=why, stays=stays)
        self._error = why
        if self._live is not None and self._reactor.seconds() - self._seen >= self._keep:
            log.error(
                "Pulsar's brokers have not been listed for {keep:g} s: what was known is given up", keep=self._keep
            )
            self._live = None
            self._tell()


def make(options: Mapping[str, Any], reactor: Any) -> PulsarResolver:
    """@raise BadOption: an option does not fit, or a file cannot be used."""
    for url in options["url"]:
        _check_url(url)
    if not options["url"]:
        raise BadOption("url", [], "name at least one URL of the admin API, as in http://broker-1.internal:8080")
    for key in ("every", "timeout"):
        if options[key] <= 0:
            raise BadOption(key, options[key], "it is a number of seconds, more than 0")
    if options["keep"] < 0:
        raise BadOption("keep", options["keep"], "it is a number of seconds, 0 or more")
    check_port("web_port", options["web_port"])
    choice = read_listeners(options, options["name"])
    names = read_service_names(options)
    credentials = Credentials(options["trust"], options["certificate"], options["token_file"])
    if credentials.certificate is not None and not all(url.startswith("https:") for url in options["url"]):
        raise BadOption("certificate", credentials.certificate, "a certificate is shown in https; write url = https://")
    try:
        admin = AdminClient(reactor, credentials, options["timeout"], choice.dialled)
    except AdminFailure as error:
        key = next((key for key in ("trust", "certificate", "token_file") if str(error).startswith(key)), "url")
        raise BadOption(key, options[key], str(error)) from error
    return PulsarResolver(reactor, admin, choice, names, options)


def _check_url(url: str) -> None:
    shown = url if "@" not in url else "..."
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.path in ("", "/") and url.isascii()
        server_name(parts.hostname or "")
        _ = parts.port
    except (ValueError, BadName):
        good = False
    if not good or "@" in url or "?" in url or "#" in url:
        raise BadOption(
            "url", shown, "write scheme, host and port of the admin API, as in https://broker-1.internal:8443"
        )


def _ignore() -> None:
    """Nobody wants to know yet, or any more."""
