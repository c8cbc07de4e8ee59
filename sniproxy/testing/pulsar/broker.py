"""One broker of an embedded cluster: what its clients did, and its faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet import protocol
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IAddress, IReactorTime

from sniproxy.pulsar.topicname import full_name, is_topic
from sniproxy.testing.pulsar.commandlog import CommandLog, Condition, ReceivedCommand
from sniproxy.testing.pulsar.connection import KEEP_ALIVE_S, BrokerContext, EmbeddedConnection
from sniproxy.testing.pulsar.faults import SENT_BY_BROKERS, Action, BrokerFault, BrokerFaults, error_number
from sniproxy.testing.pulsar.state import ClusterState
from sniproxy.testing.pulsar.threads import Runner, in_reactor

#: Connections of a broker. More are reset.
MAX_CONNECTIONS = 1000

#: Seconds that `EmbeddedBroker.wait_for` waits by default.
WAIT_TIMEOUT_S = 30.0


@frozen
class BrokerEvent:
    """A command that a broker received or sent: the name of the broker, the command, and the topic or client."""

    broker: str
    command: str
    subject: str


class _Factory(protocol.ServerFactory):
    noisy = False

    def __init__(self, broker: EmbeddedBroker) -> None:
        self._broker = broker

    def buildProtocol(self, addr: IAddress | None) -> EmbeddedConnection | None:
        return self._broker.build_connection(f"{addr.host}:{addr.port}" if isinstance(addr, IPv4Address) else str(addr))


class EmbeddedBroker:
    """One broker of a `PulsarCluster`, which makes it.

    ``name``: its host name. ``url``: the URL that lookups return for it; empty before the cluster has started.

    A command is written as in the protocol, such as ``"SEND_RECEIPT"``. A fault happens where the broker sends the
    command, or where it receives a command that only clients send. ``times``: how often it happens; None or 0: each
    time. ``skip``: how many commands pass first: ``skip=2, times=1`` hits the third. ``topic``: only commands about it
    or a partition of it; its name may be short, as ``orders`` for ``persistent://public/default/orders``. Faults add
    up, and the oldest that fits happens. A wrong value raises ValueError.
    """

    def __init__(
        self,
        name: str,
        cluster: ClusterState,
        clock: IReactorTime,
        on_event: Callable[[BrokerEvent], None] | None = None,
        log: CommandLog | None = None,
        runner: Runner | None = None,
        keep_alive_s: float = KEEP_ALIVE_S,
    ) -> None:
        self.name = name
        self.runner = runner or Runner()
        #: For a listening port.
        self.factory = _Factory(self)
        self._cluster = cluster
        self._on_event = on_event
        self._log = CommandLog(log)
        self._faults = BrokerFaults()
        self._stopped_reading = False
        self._connections: set[EmbeddedConnection] = set()
        self._context = BrokerContext(
            name, cluster, clock, self._log, self._faults, self._report, self._connections, keep_alive_s
        )

    @property
    def url(self) -> str:
        """The URL that lookups return for it; empty before the cluster has started."""
        return self._cluster.urls.get(self.name, "")

    @property
    @in_reactor
    def connections(self) -> list[EmbeddedConnection]:
        """The open connections."""
        return list(self._connections)

    @property
    @in_reactor
    def commands(self) -> list[ReceivedCommand]:
        """The commands that the broker has received, oldest first; at most the last 10,000."""
        return self._log.all()

    @in_reactor
    def forget_commands(self) -> None:
        """Begin `commands` again, for instance before what a test is about."""
        self._log.forget()

    def saw(
        self, command: str, count: int = 1, where: Callable[[ReceivedCommand], bool] | None = None
    ) -> Deferred[list[ReceivedCommand]]:
        """Wait until `commands` has this many of a type. For tests that run in the cluster's reactor.

        ``where``: counts only commands for which it is true. @return: fires with those commands.
        """
        return self._log.saw(command, count, where)

    def wait_for(
        self, command: str, count: int = 1, where: Condition | None = None, timeout_s: float = WAIT_TIMEOUT_S
    ) -> list[ReceivedCommand]:
        """The same for tests without a reactor: block. @raise TimeoutError: they did not come in time."""
        return wait_for(self.runner, self._log, self.name, command, count, where, timeout_s)

    @in_reactor
    def refuse(
        self,
        command: str,
        error: str,
        message: str = "refused by the test",
        *,
        times: int | None = None,
        skip: int = 0,
        topic: str | None = None,
    ) -> None:
        """Refuse a command of clients with a ``ServerError``, such as ``"ServiceNotReady"``. CONNECT also closes."""
        if command in SENT_BY_BROKERS:
            raise ValueError(f"{command} is a command of brokers: refuse one of clients, such as LOOKUP")
        number = error_number(error)
        self._faults.add(BrokerFault(command, Action.REFUSE, topic, skip, times, error=number, message=message))

    def refuse_lookups(
        self, error: str = "ServiceNotReady", *, times: int | None = None, topic: str | None = None
    ) -> None:
        """Refuse LOOKUP."""
        self.refuse("LOOKUP", error, times=times, topic=topic)

    @in_reactor
    def delay(
        self, command: str, seconds: float, *, times: int | None = None, skip: int = 0, topic: str | None = None
    ) -> None:
        """Delay sending a command, or handling a client's, by ``seconds``, at most a day. Later ones overtake it."""
        self._faults.add(BrokerFault(command, Action.DELAY, topic, skip, times, seconds=seconds))

    @in_reactor
    def drop(self, command: str, *, times: int | None = None, skip: int = 0, topic: str | None = None) -> None:
        """Do not send a command, or ignore one of clients. ``"PONG"``: PINGs have no answer."""
        self._faults.add(BrokerFault(command, Action.DROP, topic, skip, times))

    @in_reactor
    def reset_at(
        self, command: str, *, times: int | None = 1, skip: int = 0, topic: str | None = None, half: bool = False
    ) -> None:
        """Reset the connection in place of sending or handling a command. ``half``: send a FIN instead."""
        action = Action.HALF_CLOSE if half else Action.RESET
        self._faults.add(BrokerFault(command, action, topic, skip, times))

    @in_reactor
    def reset(self, connection: EmbeddedConnection | None = None) -> None:
        """Reset a connection (TCP RST) now. None: all."""
        for each in self._chosen(connection):
            each.end()

    @in_reactor
    def half_close(self, connection: EmbeddedConnection | None = None) -> None:
        """Send a FIN now, and nothing after it; the broker still handles the client's commands. None: all."""
        for each in self._chosen(connection):
            each.half_close()

    @in_reactor
    def stop_reading(self, stopped: bool = True) -> None:
        """Read nothing from any client, present or future, as a broker that hangs. False: read again."""
        self._stopped_reading = stopped
        for each in self._connections:
            each.stop_reading(stopped)

    @in_reactor
    def challenge(self, connection: EmbeddedConnection | None = None) -> None:
        """Ask clients for new credentials (AUTH_CHALLENGE), as when a token expires. None: all."""
        for each in self._chosen(connection):
            each.challenge()

    @in_reactor
    def close_producers(self, topic: str, url: str | None = None) -> None:
        """Close the producers of a topic by CLOSE_PRODUCER. ``url``: the assigned broker (PIP-307); None: without."""
        wanted = full_name(topic)
        for connection in list(self._connections):
            for name, producer in list(connection.session.producers.values()):
                if is_topic(wanted, name):
                    producer.close(url)

    @in_reactor
    def close_consumers(self, topic: str, url: str | None = None) -> None:
        """The same for consumers."""
        wanted = full_name(topic)
        for connection in list(self._connections):
            for name, _, consumer in list(connection.session.consumers.values()):
                if is_topic(wanted, name):
                    consumer.close(url)

    @in_reactor
    def migrate(self, topic: str, url: str) -> None:
        """Say to the producers and consumers of a topic that it is in another cluster (PIP-188), and close them."""
        wanted = full_name(topic)
        for connection in list(self._connections):
            owned: list[tuple[Any, ...]] = [*connection.session.producers.values()]
            for name, *_, attached in [*owned, *connection.session.consumers.values()]:
                if is_topic(wanted, name):
                    attached.migrate(url)

    @in_reactor
    def clear_faults(self) -> None:
        """Remove all faults that happen at commands, and read again."""
        self._faults.clear()
        self.stop_reading(False)

    def stop(self) -> Deferred[list[None]]:
        """Reset all connections. @return: fires when they are closed."""
        ends = []
        for connection in list(self._connections):
            ends.append(connection.ended)
            connection.end()
        return gatherResults(ends)

    def build_connection(self, client: str) -> EmbeddedConnection | None:
        """The protocol of a new connection. None: there are too many."""
        if len(self._connections) >= MAX_CONNECTIONS:
            return None
        connection = EmbeddedConnection(self._context, client)
        if self._stopped_reading:
            connection.stop_reading()
        return connection

    def _chosen(self, connection: EmbeddedConnection | None) -> list[EmbeddedConnection]:
        return [each for each in self._connections if connection in (None, each)]

    def _report(self, command: str, subject: str) -> None:
        if self._on_event is not None:
            self._on_event(BrokerEvent(self.name, command, subject))


def wait_for(
    runner: Runner,
    log: CommandLog,
    place: str,
    command: str,
    count: int,
    where: Condition | None,
    timeout_s: float,
) -> list[ReceivedCommand]:
    """Block until a log has this many commands of a type. @raise TimeoutError: with what the log has."""
    try:
        return runner.wait(lambda: log.saw(command, count, where), timeout_s)
    except TimeoutError:
        seen = ", ".join(dict.fromkeys(each.type for each in runner.run(log.all))) or "no command"
        found = len(runner.run(lambda: log.find(command, where)))
        raise TimeoutError(f"{place} saw {found} of {count} {command} in {timeout_s:g} s; it saw {seen}") from None
