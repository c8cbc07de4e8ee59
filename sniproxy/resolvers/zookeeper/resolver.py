"""The C{zookeeper} resolver: live brokers of a cluster, from its metadata in ZooKeeper.

Each live broker has an ephemeral node there. The resolver watches the nodes and so learns at once of a new or dead
broker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from sniproxy.resolvers.options import bad_file
from sniproxy.resolvers.pulsar.advertised import MAX_BROKERS, BadBrokerData, BrokerListeners, from_node
from sniproxy.resolvers.pulsar.brokers import LiveBroker, LiveBrokers, keeping_note
from sniproxy.resolvers.pulsar.directory import BrokerDirectory
from sniproxy.resolvers.pulsar.options import BROKER_OPTIONS, read_listeners, read_service_names
from sniproxy.resolvers.pulsar.waiters import Waiters
from sniproxy.resolvers.zookeeper.access import BadAccess, ZooKeeperCredentials
from sniproxy.routing.brokernames import BrokerName, IBrokerDirectory
from sniproxy.tls.clientcontext import BadPem
from sniproxy.util.names import server_name
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded

log = Logger()

RETRY_INTERVAL_S = 5.0
"""Seconds before the nodes are read again after a failed read, while the session is connected."""

REFUSAL_TTL_S = 2.0
"""Seconds to cache a refusal, unless a change is seen before."""

FIRST_ANSWER_TIMEOUT_S = 10.0
"""Seconds that queries wait for the first answer of ZooKeeper. Each query also has a timeout of its own."""

BROKERS_PATH = "/loadbalance/brokers"

OPTIONS = (
    Option("servers", Kind.TEXTS, 'ZooKeeper servers, as in "zk-1:2181"; a path after the last one is the chroot'),
    *(one for one in BROKER_OPTIONS if one.name != "listener"),
    Option("listener", Kind.TEXT, "advertised listener that clients use; required if several have TLS", None),
    Option("keep", Kind.NUMBER, "seconds to use the last known brokers while ZooKeeper does not answer", 600.0),
    Option("digest_file", Kind.PATH, "file with user:password for digest authentication", None),
    Option("tls", Kind.FLAG, "use TLS", False),
    Option("trust", Kind.PATH, "PEM of the CAs trusted for TLS; default: the system's", None),
    Option("certificate", Kind.PATH, "PEM of a client certificate and its key, for TLS", None),
)


class ZooKeeperSession(Protocol):
    """A L{KazooSession<sniproxy.resolvers.zookeeper.session.KazooSession>}, or a fake of a test."""

    def start(self) -> None: ...
    def stop(self) -> Deferred[None]: ...
    def children(self, path: str) -> Deferred[list[str]]: ...
    def data(self, path: str) -> Deferred[bytes | None]: ...


Connect = Callable[[Callable[[], None], Callable[[str], None], Callable[[], None]], ZooKeeperSession]
"""Makes a session, not started, from its callbacks: connected, lost, changed."""


@implementer(IWatchingResolver, IBrokerDirectory)
class ZooKeeperResolver:
    """Made by L{make}. @param keep: seconds to use the last known brokers while ZooKeeper does not answer."""

    def __init__(
        self, reactor: IReactor, connect: Connect, choice: BrokerListeners, service_names: tuple[str, ...], keep: float
    ) -> None:
        self._reactor = reactor
        self._connect = connect
        self._choice = choice
        self._service_names = service_names
        self._keep = keep
        self._session: ZooKeeperSession | None = None
        self._connected = False
        self._directory = BrokerDirectory(log)
        self._error: str | None = "ZooKeeper has not answered yet"
        self._failing = False
        self._faults: list[str] = []
        self._reading: Deferred[None] | None = None
        self._read_again = False
        self._waiters = Waiters()
        self._retry_timer: Any = None
        self._discard_timer: Any = None
        self._on_change: Callable[[], None] = lambda: None

    def start(self, changed: Callable[[], None]) -> None:
        self._on_change = changed
        self._session = self._connect(self._on_connected, self._on_lost, self._read)
        self._retry_timer = self._reactor.callLater(
            FIRST_ANSWER_TIMEOUT_S, self._failed, f"no answer from ZooKeeper within {FIRST_ANSWER_TIMEOUT_S:g} s"
        )
        self._session.start()

    def stop(self) -> Deferred[None] | None:
        session, self._session = self._session, None
        self._on_change = lambda: None
        self._retry_timer = _cancelled(self._retry_timer)
        self._discard_timer = _cancelled(self._discard_timer)
        if self._reading is not None:
            self._reading.cancel()
        self._waiters.release()
        return None if session is None else session.stop()

    def state(self) -> WatchState:
        return self._directory.state(self._error or _few(self._faults) or None)

    def names_of(self, host: str, port: int) -> Sequence[BrokerName]:
        return self._directory.names_of(host, port)

    def resolve(self, request: Request) -> Resolution | Deferred[Resolution]:
        if self._directory.live is not None:
            return self._answer(request)
        if self._failing or self._session is None:
            raise Unavailable(self._error or "no brokers known")
        return Deferred.fromCoroutine(self._wait(request))

    async def _wait(self, request: Request) -> Resolution:
        """Wait for the first answer of ZooKeeper."""
        await self._waiters.wait()
        return self._answer(request)

    def _answer(self, request: Request) -> Resolution:
        if self._error is not None and not self._directory.knows(request.server_name):
            raise Unavailable(self._error)
        try:
            return self._directory.resolution(request.server_name, self._reactor.seconds(), REFUSAL_TTL_S)
        except Unavailable as error:
            why = f"{error}: {_few(self._faults)}" if self._faults else str(error)
            raise Unavailable(why, authoritative=error.authoritative) from error

    def _read(self) -> None:
        """Read all nodes. A call during a read causes one more read."""
        self._retry_timer = _cancelled(self._retry_timer)
        if self._reading is not None:
            self._read_again = True
            return
        self._read_again = False
        reading = self._reading = Deferred.fromCoroutine(self._read_once())
        reading.addErrback(lambda failure: None if failure.check(CancelledError) else failure)
        reading.addErrback(self._read_failed)
        reading.addBoth(self._read_done)

    def _read_done(self, _: object) -> None:
        self._reading = None
        if self._session is not None and self._read_again:
            self._read()

    def _read_failed(self, failure: Any) -> None:
        error = failure.value.subFailure.value if failure.check(FirstError) else failure.value
        self._failed(bounded(str(error) or type(error).__name__))
        if self._connected and self._session is not None and self._retry_timer is None:
            self._retry_timer = self._reactor.callLater(RETRY_INTERVAL_S, self._read)

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
            if body is None:  # the node was removed meanwhile, and the watch will report it
                continue
            try:
                brokers.append(from_node(web_id, body, self._choice))
            except BadBrokerData as error:
                faults.append(f"{bounded(web_id, 100)}: {error}")
        if not self._connected:  # the session was lost meanwhile, and the next one reads again
            return
        if faults and faults != self._faults:
            log.error("invalid broker nodes in ZooKeeper: {faults}", faults=_few(faults))
        self._faults = faults
        self._succeeded(LiveBrokers(self._service_names, brokers, len(faults)))

    def _succeeded(self, live: LiveBrokers) -> None:
        self._discard_timer = _cancelled(self._discard_timer)
        if self._failing:
            log.info("ZooKeeper is available again")
        self._error, self._failing = None, False
        if self._directory.update(live, self._reactor.seconds()):
            self._on_change()
        self._waiters.release()

    def _on_connected(self) -> None:
        self._connected = True
        self._read()

    def _on_lost(self, why: str) -> None:
        self._connected = False
        self._retry_timer = _cancelled(self._retry_timer)  # the next session reads again
        self._failed(why)

    def _failed(self, why: str) -> None:
        if not self._failing:
            keeping = keeping_note(self._directory.live, self._keep)
            log.error("cannot read Pulsar brokers from ZooKeeper: {why}{keeping}", why=why, keeping=keeping)
        self._error, self._failing = why, True
        if self._directory.live is not None and self._discard_timer is None and self._session is not None:
            self._discard_timer = self._reactor.callLater(self._keep, self._discard)
        self._waiters.release()

    def _discard(self) -> None:
        self._discard_timer = None
        self._directory.discard()
        log.error("no answer from ZooKeeper for {keep:g} s, discarding the last known brokers", keep=self._keep)
        self._on_change()


def make(options: Mapping[str, Any], reactor: IReactor) -> ZooKeeperResolver:
    """@raise BadOption: an option or a file is invalid."""
    # Imported here, so that --help-resolver works without kazoo.
    from kazoo.hosts import collect_hosts

    from sniproxy.resolvers.zookeeper.session import KazooSession

    servers = ",".join(options["servers"]).removeprefix("zk:")
    try:
        if not servers:
            raise ValueError("no servers")
        for host, _ in collect_hosts(servers)[0]:
            server_name(host)
    except ValueError as error:
        cure = f'{bounded(str(error))}; write host and port, as in "zk-1:2181"'
        raise BadOption("servers", options["servers"], cure) from error
    if options["keep"] < 0:
        raise BadOption("keep", options["keep"], "write a number of seconds, 0 or more")
    for key in ("trust", "certificate"):
        if options[key] is not None and not options["tls"]:
            raise BadOption(key, options[key], "this option needs TLS; write tls = true, too")
    access = ZooKeeperCredentials(options["tls"], options["trust"], options["certificate"], options["digest_file"])
    try:
        access.context()
        access.login()
    except (BadPem, BadAccess) as error:
        raise bad_file(options, error) from error

    def connect(
        connected: Callable[[], None], lost: Callable[[str], None], changed: Callable[[], None]
    ) -> KazooSession:
        return KazooSession(reactor, servers, access, connected, lost, changed)

    return ZooKeeperResolver(reactor, connect, read_listeners(options), read_service_names(options), options["keep"])


def _few(faults: list[str]) -> str:
    return "; ".join(faults[:3])


def _cancelled(call: Any) -> Any:
    """Cancel a timer if it is active. @return: None, for the attribute that had it."""
    if call is not None and call.active():
        call.cancel()
    return None
