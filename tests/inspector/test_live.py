"""Tests for sniproxy.inspector.live."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.events import Connection
from sniproxy.inspector.advertised import AdvertisedBroker, address_of
from sniproxy.inspector.live import EventLog, Inspector
from sniproxy.logs.writer import MAX_WAITING_BYTES, WRITE_DELAY_S, CannotOpen
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.commands_pb2 import CommandLookupTopic, CommandPing, CommandPong
from sniproxy.pulsar.events import Event, Fields
from sniproxy.pulsar.filter import EventFilter
from sniproxy.routing.brokernames import BrokerName
from sniproxy.server import resolverset
from sniproxy.util.buffered import BufferAccount
from sniproxy.util.names import host_port
from tests.resolvers.cache.scripted import Directory
from tests.support.lookups import ASK, TOPIC, answer, plain_answer
from tests.support.proxies import Backend, Proxy
from tests.support.sockets import SocketTestCase, in_thread, read_exactly


def connection() -> Connection:
    return Connection("ab12-1", 1_700_000_000.0, "plain", "192.0.2.7:50123")


class InspectorTests(SynchronousTestCase):
    """Inspector: events, the ledger, and the check against the routes."""

    def setUp(self) -> None:
        self.events: list[Event] = []
        self.asked: list[tuple[str, str]] = []
        self.account = BufferAccount()
        self.inspector = Inspector(self.events.append, self.unrouted, self.account)

    def unrouted(self, broker: AdvertisedBroker, listener: str) -> str | None:
        host, _ = address_of(broker.url_tls) or address_of(broker.url) or ("", 0)
        self.asked.append((host, listener))
        return None if host == "broker-1.test" else f"no way to {host}"

    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def test_lookup(self) -> None:
        """A lookup is an event and an entry in the ledger; a later answer with another broker is a move."""
        tap = self.inspector.tap(connection())
        for broker in ("broker-1.test", "broker-1.test", "broker-2.test"):
            tap.client(ASK)
            tap.target(answer(broker))
        tap.end()
        self.assertEqual(3, self.names().count("lookup"))
        self.assertEqual(1, self.names().count("moved"))
        (entry,) = self.inspector.ledger.topics()
        self.assertEqual(TOPIC, entry.topic)

    def test_clusters(self) -> None:
        """The same topic in two clusters, told apart by what clients dialled, is two entries and no move."""
        east, west = connection(), connection()
        east.server_name, west.server_name = "east.test", "west.test"
        taps = {
            "broker-1.test": self.inspector.tap(east),
            "broker-2.test": self.inspector.tap(west),
            "broker-3.test": self.inspector.tap(connection(), "127.0.0.1:6650"),
        }
        for broker in (*taps, *taps):
            taps[broker].client(ASK)
            taps[broker].target(answer(broker))
        self.assertNotIn("moved", self.names())
        found = {entry.cluster: entry.broker_url for entry in self.inspector.ledger.topics()}
        wanted = zip(("east.test", "west.test", "127.0.0.1:6650"), taps, strict=True)
        self.assertEqual({place: f"pulsar://{broker}:6650" for place, broker in wanted}, found)

    def test_unrouted(self) -> None:
        """An advertised broker without a route is reported, with the listener that carried the answer."""
        tap = self.inspector.tap(connection())
        with capturedLogs() as logged:
            for broker in ("broker-1.test", "broker-7.test"):
                tap.client(ASK)
                tap.target(answer(broker))
        (event,) = [event for event in self.events if event.name == "unrouted"]
        self.assertEqual("no way to broker-7.test", event.fields["message"])
        self.assertEqual([("broker-1.test", "plain"), ("broker-7.test", "plain")], self.asked)
        self.assertEqual(1, len([e for e in logged if e.get("why") == "no way to broker-7.test"]))

    def test_unrouted_lookup_tap(self) -> None:
        """Answers to the bridge's own requests are checked, too."""
        self.inspector.lookup_tap(connection())("broker-1.test", ASK, answer("broker-7.test"))
        self.assertEqual(1, self.names().count("unrouted"))
        self.assertEqual([("broker-7.test", "plain")], self.asked)

    def test_unrouted_segments(self) -> None:
        """Brokers of segments and controllers are checked against the routes, too."""
        fields: Fields = {
            "segments": [
                {"segment_id": 1, "broker_url_tls": "pulsar+ssl://broker-8.test:6651"},
                {"broker_url_tls": None},
            ],
            "controller_broker_url": "pulsar://127.0.0.1:6650",
        }
        self.inspector.take_events([Event("any", 1.0, "ab12-1", fields)], "plain", "plain")
        told = [event.fields for event in self.events if event.name == "unrouted"]
        keys = ("broker_url", "broker_url_tls", "message")
        self.assertEqual(
            {
                ("pulsar://127.0.0.1:6650", None, "no way to 127.0.0.1"),
                (None, "pulsar+ssl://broker-8.test:6651", "no way to broker-8.test"),
            },
            {tuple(one[key] for key in keys) for one in told},
        )

    def test_no_data(self) -> None:
        """A connection that ends before any data, such as a refused one, gives no event."""
        self.inspector.tap(connection()).end()
        self.assertEqual([], self.events)

    def test_not_pulsar_bytes(self) -> None:
        """Undecodable bytes give a few events at most, then inspection stops; nothing is raised."""
        tap = self.inspector.tap(connection())
        for _ in range(3):
            tap.client(b"\xff" * 100)
            tap.target(b"\xff" * 100)
        tap.end()
        self.assertIn(self.names()[0], ("gap", "lost"))
        self.assertTrue(len(self.events) < 6, self.names())

    def test_held(self) -> None:
        """Memory for requests and an unfinished frame counts as buffered until the tunnel ends."""
        tap = self.inspector.tap(Connection("c-1", 0.0, "plain", "192.0.2.1:1"))
        tap.client(b"".join(write(CommandLookupTopic(topic="t", request_id=number)) for number in range(50)))
        self.assertGreaterEqual(self.account.bytes, 50 * 500)
        asked = self.account.bytes
        tap.client(write(CommandLookupTopic(topic="t" * 100_000, request_id=99))[:-1])
        self.assertGreaterEqual(self.account.bytes - asked, 100_000)
        tap.end()
        self.assertEqual(0, self.account.bytes)

    def test_max_buffered(self) -> None:
        """Beyond max_buffered, inspection of a tunnel that holds much ends with an event; others continue."""
        self.inspector.max_buffered = 90_000
        small, large = (self.inspector.tap(Connection(name, 0.0, "plain", "192.0.2.1:1")) for name in "ab")
        small.client(write(CommandLookupTopic(topic="t", request_id=1)))
        large.client(write(CommandLookupTopic(topic="t" * 100_000, request_id=9))[:-1])
        self.assertEqual(1, self.names().count("lost"))
        small.client(write(CommandLookupTopic(topic="t", request_id=2)))
        self.assertLess(self.account.bytes, 90_000)
        self.assertGreater(self.account.bytes, 0)
        small.end()
        large.end()
        self.assertEqual(
            (0, ["b"]), (self.account.bytes, [one.connection for one in self.events if one.name == "lost"])
        )

    def test_fault(self) -> None:
        """An error in the inspector is logged, and inspection of the tunnel stops."""
        self.inspector.take_events = self.fail_with  # type: ignore[method-assign]
        tap = self.inspector.tap(connection())
        tap.client(ASK)
        tap.target(answer("broker-1.test"))
        tap.target(answer("broker-1.test"))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_fault_at_the_end(self) -> None:
        """An error at the end of a tunnel is logged and not raised."""
        tap = self.inspector.tap(connection())
        tap.client(ASK)
        self.inspector.take_events = self.fail_with  # type: ignore[method-assign]
        tap.end()
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def fail_with(self, events: object, place: object, listener: object, service: object = None) -> None:
        raise ZeroDivisionError


class EventLogTests(SynchronousTestCase):
    """EventLog: writes events to a file or the program's log."""

    EVENT = Event("unrouted", 1_700_000_000.0, "ab12-1", {"message": "why"})

    def test_file(self) -> None:
        """A file gets one JSON object a line, also after a rotation."""
        path, clock = Path(self.mktemp()), Clock()
        log = EventLog(clock, str(path))
        log(self.EVENT)
        clock.advance(WRITE_DELAY_S)
        path.rename(f"{path}.1")
        log.reopen()
        log(self.EVENT)
        log.close()
        for file in (path, Path(f"{path}.1")):
            told = json.loads(file.read_text())
            self.assertEqual(("unrouted", "ab12-1", "why"), (told["event"], told["connection"], told["message"]))

    def test_filter(self) -> None:
        """Only events that the filter selects are written."""
        path = Path(self.mktemp())
        log = EventLog(Clock(), str(path))
        log.event_filter = EventFilter(["orders"], ["LOOKUP"])
        for topic, name in (("a/b/orders", "lookup"), ("a/b/others", "lookup"), ("a/b/orders", "producer")):
            log(Event(name, 1.0, "c", {"topic": topic}))
        log.close()
        (line,) = path.read_text().splitlines()
        self.assertIn('"lookup"', line)

    def test_own_log(self) -> None:
        """Without a file, the program's log gets a readable line."""
        with capturedLogs() as logged:
            log = EventLog(Clock(), None)
            log(self.EVENT)
            log.reopen()
            log.close()
        self.assertIn("why", str(logged[0].get("line")))

    def test_cannot_be_opened(self) -> None:
        """A file that cannot be opened raises CannotOpen, which names the event log."""
        with self.assertRaisesRegex(CannotOpen, "event log /nonexistent/x"):
            EventLog(Clock(), "/nonexistent/x")

    def test_lost(self) -> None:
        """Dropped lines are counted, and the program's log names the event log."""
        clock = Clock()
        with capturedLogs() as logged:
            log = EventLog(clock, "/dev/full")
            for _ in range(10):
                log(Event("unrouted", 1.0, "c", {"message": "m" * (MAX_WAITING_BYTES // 8)}))
            clock.advance(WRITE_DELAY_S)
            self.assertGreater(log.lost, 0)
            log.close()
        self.assertEqual(10, log.lost)
        self.assertIn("event log", formatEvent(logged[0]))


class ServiceTests(SocketTestCase):
    """The inspector in a running proxy."""

    def proxy(self, backend: Backend, more: str = "") -> tuple[Proxy, Path]:
        path = Path(self.mktemp())
        text = (
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "plain"\nplaintext = true\n'
            f'inspect = "pulsar"\ntarget = "{backend.address}"\n[inspect_log]\npath = "{path.absolute()}"\n{more}'
        )
        return Proxy(self, text), path

    async def talk(self, backend: Backend, proxy: Proxy, pieces: list[tuple[bytes, bytes]]) -> None:
        """Send requests and answers through the proxy, which must not change a byte."""
        with proxy.connect("plain") as client, await in_thread(backend.accept) as broker:
            await self.pass_on(client, broker, pieces)
        await proxy.ended()
        await proxy.service.stopService()

    async def pass_on(self, client: socket.socket, broker: socket.socket, pieces: list[tuple[bytes, bytes]]) -> None:
        for question, reply in pieces:
            client.sendall(question)
            self.assertEqual(question, await in_thread(read_exactly, broker, len(question)))
            broker.sendall(reply)
            self.assertEqual(reply, await in_thread(read_exactly, client, len(reply)))

    def told(self, path: Path) -> list[dict[str, Any]]:
        return [json.loads(line) for line in path.read_text().splitlines()]

    async def test_lookup(self) -> None:
        """A lookup through a plaintext listener is a line in the event log."""
        backend = Backend(self)
        proxy, path = self.proxy(backend)
        await self.talk(backend, proxy, [(ASK, answer("broker-1.test"))])
        (lookup,) = [event for event in self.told(path) if event["event"] == "lookup"]
        self.assertEqual(
            (TOPIC, "connect", "pulsar://broker-1.test:6650", "pulsar+ssl://broker-1.test:6651", True),
            tuple(lookup[key] for key in ("topic", "response", "broker_url", "broker_url_tls", "authoritative")),
        )
        self.assertEqual(proxy.records[0].id, lookup["connection"])
        # Without a TLS listener no client would be refused.
        self.assertEqual([], [event for event in self.told(path) if event["event"] == "unrouted"])

    async def test_choice(self) -> None:
        """Selected events are written, including commands of a named type; the ledger has all topics."""
        backend = Backend(self)
        proxy, path = self.proxy(backend, 'commands = ["PING"]\n')
        await self.talk(backend, proxy, [(ASK, answer("broker-1.test")), (write(CommandPing()), write(CommandPong()))])
        (event,) = self.told(path)
        self.assertEqual(("command", "PING", "client"), (event["event"], event["command"], event["side"]))
        inspector = proxy.service._observers.inspector
        assert inspector is not None
        self.assertEqual(1, len(inspector.ledger))

    async def test_one_cluster(self) -> None:
        """A lookup through another plaintext listener that a broker advertised belongs to the same cluster."""
        backend = Backend(self)
        more = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "other"\nplaintext = true\n'
        proxy, path = self.proxy(backend, f'{more}inspect = "pulsar"\ntarget = "{backend.address}"\n')
        there = host_port(*proxy.service.addresses["other"])
        for number, (listener, broker) in enumerate((("plain", there), ("other", "10.0.0.7:6650"))):
            with proxy.connect(listener) as client, await in_thread(backend.accept) as target:
                client.sendall(ASK)
                await in_thread(read_exactly, target, len(ASK))
                said = plain_answer(f"pulsar://{broker}")
                target.sendall(said)
                await in_thread(read_exactly, client, len(said))
            await proxy.ended(number)
        await proxy.service.stopService()
        (moved,) = [event for event in self.told(path) if event["event"] == "moved"]
        self.assertEqual((f"pulsar://{there}", "pulsar://10.0.0.7:6650"), (moved["from_url"], moved["to_url"]))

    async def test_unrouted(self) -> None:
        """With a TLS listener, a broker without a route is reported; one with a route or a default is not."""
        tls = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "tls"\n'
        route = '[[route]]\nserver_name = "broker-1.test"\ntarget = "127.0.0.1:9"\n'
        for more, unrouted in ((tls + route, 1), (tls + '[default]\ntarget = "127.0.0.1:9"\n', 0)):
            backend = Backend(self)
            proxy, path = self.proxy(backend, more)
            await self.talk(backend, proxy, [(ASK, answer("broker-1.test")), (ASK, answer("broker-7.test"))])
            self.assertEqual(unrouted, len([e for e in self.told(path) if e["event"] == "unrouted"]))

    async def test_unrouted_known_name(self) -> None:
        """An answer without a TLS URL is compared by the TLS name that a resolver knows of the broker."""
        directory = Directory()
        directory.names = {("10.0.0.7", 6650): (BrokerName("broker-7.test", "external", True),)}
        self.patch(resolverset, "make_resolver", lambda *_: directory)
        backend = Backend(self)
        tls = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "tls"\n'
        route = '[[route]]\nserver_name = "vip.test"\nresolver = "brokers"\n[resolver.brokers]\ntype = "t"\n'
        proxy, path = self.proxy(backend, tls + route)
        await self.talk(backend, proxy, [(ASK, plain_answer(f"pulsar://10.0.0.{end}:6650")) for end in (7, 8)])
        (unrouted,) = [event for event in self.told(path) if event["event"] == "unrouted"]
        self.assertEqual(("pulsar://10.0.0.7:6650", None), (unrouted["broker_url"], unrouted["broker_url_tls"]))
        self.assertIn("broker-7.test is advertised by listener external", unrouted["message"])

    async def test_unrouted_after_reload(self) -> None:
        """After a reload, brokers still without a route are reported again. /status lists them."""
        backend = Backend(self)
        tls = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "tls"\n'
        proxy, path = self.proxy(backend, tls)
        pieces = [(ASK, answer("broker-7.test"))] * 2
        with proxy.connect("plain") as client, await in_thread(backend.accept) as broker:
            await self.pass_on(client, broker, pieces)
            (warning,) = set(proxy.service.view.status().warnings) - set(proxy.service.warnings)
            self.assertIn("broker-7.test is advertised", warning)
            self.assertIsNone(proxy.service.reload(lambda: proxy.service.configuration))
            self.assertEqual(list(proxy.service.warnings), proxy.service.view.status().warnings)
            await self.pass_on(client, broker, pieces)
        await proxy.ended()
        await proxy.service.stopService()
        self.assertEqual(2, len([e for e in self.told(path) if e["event"] == "unrouted"]))

    async def test_not_pulsar(self) -> None:
        """Bytes that are not Pulsar pass unchanged."""
        backend = Backend(self)
        proxy, path = self.proxy(backend)
        await self.talk(backend, proxy, [(b"\xff" * 1000, b"\xfe" * 1000), (b"more", b"and more")])
        self.assertIn(self.told(path)[0]["event"], ("gap", "lost"))
