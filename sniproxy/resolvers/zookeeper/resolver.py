"""The zookeeper resolver: the live brokers of a cluster, as its metadata in ZooKeeper have them.

Each broker that is alive has a node there, which goes with its session. The nodes are watched: a broker that comes or
goes is known at once, without asking.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, FirstError, gatherResults
from twisted.logger import Logger
from zope.interface import implementer

from sniproxy.interfaces import (
    BadOption,
    IWatchingResolver,
    Kind,
    Option,
    Request,
    Resolution,
    Unavailable,
    WatchState,
)
from sniproxy.resolvers.pulsar.advertised import MAX_BROKERS, BadBrokerData, BrokerListeners, from_node
from sniproxy.resolvers.pulsar.brokers import LiveBroker, LiveBrokers
from sniproxy.resolvers.pulsar.options import BROKER_OPTIONS, read_listeners, read_service_names
from sniproxy.resolvers.zookeeper.access import BadAccess, ZooKeeperCredentials
from sniproxy.tls.clientcontext import BadPem
from sniproxy.util.names import server_name
from sniproxy.util.text import bounded

log = Logger()

RETRY_INTERVAL_S = 5.0
"""Seconds before what could not be read is read again, while the session stands."""

REFUSAL_TTL_S = 2.0
"""Seconds for which a refusal holds, if nothing is seen to change before."""

FIRST_ANSWER_TIMEOUT_S = 10.0
"""Seconds for the first word; after them nobody waits for it any more. Questions have deadlines of their own."""

BROKERS_PATH = "/loadbalance/brokers"

OPTIONS = (
    Option("servers", Kind.TEXTS, 'ZooKeeper\'s servers, as in "zk-1:2181"; a path behind the last is the chroot'),
    *(one for one in BROKER_OPTIONS if one.name != "listener"),
    Option("listener", Kind.TEXT, "the advertised listener that clients use; needed where several have TLS", None),
    Option("keep", Kind.NUMBER, "seconds for which what was seen counts while ZooKeeper does not answer", 600.0),
    Option("digest_file", Kind.PATH, "a file with user:password, for the scheme digest", None),
    Option("tls", Kind.FLAG, "whether ZooKeeper's port has TLS", False),
    Option("trust", Kind.PATH, "PEM of the authorities of TLS; unless given, the system's", None),
    Option("certificate", Kind.PATH, "PEM of a client's certificate and its key, for TLS", None),
)


class ZooKeeperSession(Protocol):
    """What is asked of a session with ZooKeeper."""

    def start(self) -> None: ...
    def stop(self) -> Deferred[None]: ...
    def children(self, path: str) -> Deferred[list[str]]: ...
    def data(self, path: str) -> Deferred[bytes | None]: ...


Connect = Callable[[Callable[[], None], Callable[[str], None], Callable[[], None]], ZooKeeperSession]
"""Makes a session that is not started, of what it calls when it stands, when it does not, and when nodes change."""


@implementer(IWatchingResolver)
class ZooKeeperResolver:
    """@param keep: seconds for which what was seen counts while ZooKeeper does not answer."""

    def __init__(
        self, reactor: Any, connect: Connect, choice: BrokerListeners, service_names: tuple[str, ...], keep: float
    ) -> None:
        self._reactor = reactor
        self._connect = connect
        self._choice = choice
        self._service_names = service_names
        self._keep = keep
        self._session: ZooKeeperSession | None = None
        self._stands = False
        self._live: LiveBrokers | None = None
        self._error: str | None = "ZooKeeper has not answered yet"
        self._told_error = False
        self._faults: list[str] = []
        self._reading: Deferred[None] | None = None
        self._read_on = False
        self._waiting: list[Deferred[None]] = []
        self._again: Any = None
        self._giving_up: Any = None
        self._tell: Callable[[], None] = _ignore

    def start(self, changed: Callable[[], None]) -> None:
        self._tell = changed
        self._session = self._connect(self._came, self._lost, self._read)
        self._again = self._reactor.callLater(
            FIRST_ANSWER_TIMEOUT_S, self._failed, f"ZooKeeper has not answered within {FIRST_ANSWER_TIMEOUT_S:g} s"
        )
        self._session.start()

    def stop(self) -> Deferred[None] | None:
        session, self._session = self._session, None
        self._tell = _ignore
        self._again = _cancelled(self._again)
        self._giving_up = _cancelled(self._giving_up)
        if self._reading is not None:
            self._reading.cancel()
        self._let_go()
        return None if session is None else session.stop()

    def state(self) -> WatchState:
        summary = "no brokers known" if self._live is None else self._live.summary()
        return WatchState(summary, self._error or _few(self._faults) or None)

    def resolve(self, request: Request) -> Resolution | Deferred[Resolution]:
        if self._live is not None:
            return self._answer(request)
        if self._told_error or self._session is None:
            raise Unavailable(self._error or "nothing is known")
        return Deferred.fromCoroutine(self._wait(request))

    async def _wait(self, request: Request) -> Resolution:
        """For the first word of ZooKeeper's."""
        waiter: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(waiter)
        await waiter
        return self._answer(request)

    def _answer(self, request: Request) -> Resolution:
        if self._live is None:
            raise Unavailable(self._error or "nothing is known")
        if self._error is not None and not self._live.targets(request.server_name):
            raise Unavailable(self._error)
        try:
            return self._live.resolution(request.server_name, None, REFUSAL_TTL_S)
        except Unavailable as error:
            raise Unavailable(f"{error}: {_few(self._faults)}" if self._faults else str(error)) from error

    def _read(self) -> None:
        """Read all nodes; once more, when this is asked for meanwhile."""
        self._again = _cancelled(self._again)
        if self._reading is not None:
            self._read_on = True
            return
        self._read_on = False
        reading = self._reading = Deferred.fromCoroutine(self._read_once())
        reading.addErrback(lambda failure: None if failure.check(CancelledError) else failure)
        reading.addErrback(self._not_read)
        reading.addBoth(self._have_read)

    def _have_read(self, _: object) -> None:
        self._reading = None
        if self._session is not None and self._read_on:
            self._read()

    def _not_read(self, failure: Any) -> None:
        error = failure.value.subFailure.value if failure.check(FirstError) else failure.value
        self._failed(bounded(str(error) or type(error).__name__))
        if self._stands and self._session is not None and self._again is None:
            self._again = self._reactor.callLater(RETRY_INTERVAL_S, self._read)

    async def _read_once(self) -> None:
        session = self._session
        if session is None:
            return
        ids = sorted(await session.children(BROKERS_PATH))
        if len(ids) > MAX_BROKERS:
            raise Unavailable(f"{BROKERS_PATH} has more than {MAX_BROKERS} nodes")
        bodies = await gatherResults([session.data(f"{BROKERS_PATH}/{web_id}") for web_id in ids], consumeErrors=True)
        brokers: list[LiveBroker] = []
        faults = []
        for web_id, body in zip(ids, bodies, strict=True):
            if body is None:  # gone meanwhile, of which there will be word
                continue
            try:
                brokers.append(from_node(web_id, body, self._choice))
            except BadBrokerData as error:
                faults.append(f"{bounded(web_id, 100)}: {error}")
        if not self._stands:  # answers from before it was lost; the next session begins with reading
            return
        if faults and faults != self._faults:
            log.error("Pulsar's brokers: {faults}", faults=_few(faults))
        self._faults = faults
        self._succeeded(LiveBrokers(self._service_names, brokers, len(faults)))

    def _succeeded(self, live: LiveBrokers) -> None:
        self._giving_up = _cancelled(self._giving_up)
        if self._told_error:
            log.info("ZooKeeper answers again")
        self._error, self._told_error = None, False
        before, self._live = self._live, live
        if before is None or live.differs(before):
            log.info("Pulsar's brokers: {summary}{changes}", summary=live.summary(), changes=live.changes(before))
            self._tell()
        self._let_go()

    def _came(self) -> None:
        self._stands = True
        self._read()

    def _lost(self, why: str) -> None:
        self._stands = False
        self._again = _cancelled(self._again)  # the next session begins with reading
        self._failed(why)

    def _failed(self, why: str) -> None:
        if not self._told_error:
            stays = "" if self._live is None else f"; for {self._keep:g} s its brokers are taken for what they were"
            log.error("Pulsar's brokers cannot be read: {why}{stays}", why=why, stays=stays)
        self._error, self._told_error = why, True
        if self._live is not None and self._giving_up is None and self._session is not None:
            self._giving_up = self._reactor.callLater(self._keep, self._give_up)
        self._let_go()

    def _give_up(self) -> None:
        self._giving_up = self._live = None
        log.error("ZooKeeper has not answered for {keep:g} s: what was known is given up", keep=self._keep)
        self._tell()

    def _let_go(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            waiter.callback(None)


def make(options: Mapping[str, Any], reactor: Any) -> ZooKeeperResolver:
    """@raise BadOption: an option does not fit, or a file cannot be used."""
    # Only here, so that its options can be shown where kazoo is not installed.
    from kazoo.hosts import collect_hosts

    from sniproxy.resolvers.zookeeper.session import Session

    servers = ",".join(options["servers"]).removeprefix("zk:")
    try:
        if not servers:
            raise ValueError("there is none")
        for host, _ in collect_hosts(servers)[0]:
            server_name(host)
    except ValueError as error:
        cure = f'{bounded(str(error))}; write host and port, as in "zk-1:2181"'
        raise BadOption("servers", options["servers"], cure) from error
    if options["keep"] < 0:
        raise BadOption("keep", options["keep"], "it is a number of seconds, 0 or more")
    for key in ("trust", "certificate"):
        if options[key] is not None and not options["tls"]:
            raise BadOption(key, options[key], "it is for TLS; write tls = true, too")
    access = ZooKeeperCredentials(options["tls"], options["trust"], options["certificate"], options["digest_file"])
    try:
        access.context()
        access.login()
    except (BadPem, BadAccess) as error:
        key = next(key for key in ("trust", "certificate", "digest_file") if str(error).startswith(key))
        raise BadOption(key, options[key], str(error)) from error

    def connect(came: Callable[[], None], went: Callable[[str], None], changed: Callable[[], None]) -> Session:
        return Session(reactor, servers, access, came, went, changed)

    return ZooKeeperResolver(reactor, connect, read_listeners(options), read_service_names(options), options["keep"])


def _few(faults: list[str]) -> str:
    return "; ".join(faults[:3])


def _cancelled(call: Any) -> Any:
    """Cancel what was put off, if it still is. @return: None, to stand in its place."""
    if call is not None and call.active():
        call.cancel()
    return None


def _ignore() -> None:
    """Nobody wants to know yet, or any more."""
