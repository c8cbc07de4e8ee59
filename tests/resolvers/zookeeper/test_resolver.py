"""Tests for sniproxy.resolvers.zookeeper.resolver; tests.peers.test_zookeeper has a real ZooKeeper."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from sniproxy.interfaces import BadOption, IWatchingResolver, Refused, Resolution, Unavailable, WatchState
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.pulsar.advertised import BrokerListeners
from sniproxy.resolvers.pulsar.directory import DEPARTED_S
from sniproxy.resolvers.zookeeper.resolver import (
    BROKERS_PATH,
    FIRST_ANSWER_TIMEOUT_S,
    RETRY_INTERVAL_S,
    ZooKeeperResolver,
)
from sniproxy.routing.brokernames import BrokerName, IBrokerDirectory
from tests.resolvers.cache.scripted import request
from tests.support import programs
from tests.support.reactor import as_reactor


def node(name: str) -> bytes:
    """The data of a broker's node."""
    url = f"pulsar+ssl://{name}:6651"
    return json.dumps({"advertisedListeners": {"external": {"brokerServiceUrlTls": url}}}).encode()


class Scripted:
    """A fake session. @ivar asked: the paths that were read, with their pending answers."""

    def __init__(self, *callbacks: Callable[..., None]) -> None:
        self.connected, self.lost, self.changed = callbacks
        self.asked: list[tuple[str, Deferred[Any]]] = []
        self.started = 0
        self.stopped: Deferred[None] = Deferred()

    def start(self) -> None:
        self.started += 1

    def stop(self) -> Deferred[None]:
        return self.stopped

    def children(self, path: str) -> Deferred[Any]:
        later: Deferred[Any] = Deferred()
        self.asked.append((path, later))
        return later

    data = children

    def say(self, answer: object) -> None:
        """Answer the oldest read."""
        self.asked.pop(0)[1].callback(answer)

    def brokers(self, **names: str) -> None:
        """Answer all reads: these brokers have nodes."""
        nodes = {f"{key}.internal:8080": node(name) for key, name in names.items()}
        assert self.asked[0][0] == BROKERS_PATH
        self.say(list(nodes))
        while self.asked and self.asked[0][0] != BROKERS_PATH:
            self.say(nodes[self.asked[0][0].removeprefix(f"{BROKERS_PATH}/")])


class ZooKeeperTests(SynchronousTestCase):
    """Brokers from their nodes."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.changes = 0
        self.resolver = ZooKeeperResolver(as_reactor(self.clock), self.connect, BrokerListeners(), ("vip.test",), 60.0)

    def connect(self, *callbacks: Callable[..., None]) -> Scripted:
        self.session = Scripted(*callbacks)
        return self.session

    def start_only(self) -> None:
        def count() -> None:
            self.changes += 1

        self.resolver.start(count)

    def start(self, **names: str) -> None:
        """Start, connect and read these brokers."""
        self.start_only()
        self.session.connected()
        if names:
            self.session.brokers(**names)

    def answer(self, name: str) -> list[tuple[str, int]]:
        answer = self.resolver.resolve(request(name))
        if not isinstance(answer, Resolution):
            answer = self.successResultOf(answer)
        return [(target.host, target.port) for target in answer.targets]

    def fails(self, kind: type[Exception], name: str) -> str:
        return str(self.assertRaises(kind, self.resolver.resolve, request(name)))

    def test_names(self) -> None:
        """The service name leads to all brokers, each advertised name to its broker; other names are refused."""
        self.assertTrue(verifyObject(IWatchingResolver, self.resolver))
        self.start(one="broker-1.test", two="broker-2.test")
        self.assertEqual([("one.internal", 6651), ("two.internal", 6651)], self.answer("vip.test"))
        self.assertEqual([("two.internal", 6651)], self.answer("broker-2.test"))
        self.assertIn("known: broker-1.test, broker-2.test", self.fails(Refused, "broker-3.test"))
        self.assertEqual((WatchState("2 brokers"), 1), (self.resolver.state(), self.changes))

    def test_all_names(self) -> None:
        """The broker's own address leads to it, too, and any of its URLs finds all names."""
        self.start(one="broker-1.test")
        self.assertEqual([("one.internal", 6651)], self.answer("one.internal"))
        self.assertTrue(verifyObject(IBrokerDirectory, self.resolver))
        names = [BrokerName("broker-1.test", "external", True), BrokerName("one.internal", "", False)]
        self.assertEqual(names, self.resolver.names_of("broker-1.test", 6651))

    def test_first_answer(self) -> None:
        """A query before the first answer waits for it."""
        self.start()
        first, second = self.resolver.resolve(request("vip.test")), self.resolver.resolve(request("b.test"))
        assert isinstance(first, Deferred) and isinstance(second, Deferred)
        second.addErrback(lambda _: None).cancel()
        self.session.brokers(one="broker-1.test")
        self.assertTrue(self.successResultOf(first).targets)

    def test_first_failure(self) -> None:
        """The first failed connect fails waiting queries."""
        self.start()
        waiting = self.resolver.resolve(request("vip.test"))
        self.session.lost("zk-1:2181: refused")
        assert isinstance(waiting, Deferred)
        self.failureResultOf(waiting, Unavailable)
        self.assertIn("zk-1:2181: refused", self.fails(Unavailable, "vip.test"))

    def test_silence(self) -> None:
        """Without any answer, queries fail after FIRST_ANSWER_TIMEOUT_S."""
        self.start_only()
        waiting = self.resolver.resolve(request("vip.test"))
        self.clock.advance(FIRST_ANSWER_TIMEOUT_S)
        assert isinstance(waiting, Deferred)
        self.failureResultOf(waiting, Unavailable)
        self.assertIn("no answer from ZooKeeper within 10 s", self.fails(Unavailable, "vip.test"))
        self.session.connected()
        self.session.brokers(one="broker-1.test")
        self.assertTrue(self.answer("vip.test"))

    def test_changes(self) -> None:
        """A change causes a read, a change during a read one more; only differences are reported."""
        self.start(one="broker-1.test")
        self.session.changed()
        self.session.changed()
        self.session.brokers(one="broker-1.test", two="broker-2.test")
        self.assertEqual((2, [("two.internal", 6651)]), (self.changes, self.answer("broker-2.test")))
        self.session.brokers(two="broker-2.test")
        self.assertEqual((3, []), (self.changes, self.session.asked))
        self.assertEqual([("one.internal", 6651)], self.answer("broker-1.test"))
        self.clock.advance(DEPARTED_S + 1)
        self.assertIn("no live broker", self.fails(Refused, "broker-1.test"))
        self.session.changed()
        self.session.brokers(two="broker-2.test")
        self.assertEqual(3, self.changes)

    def test_empty(self) -> None:
        """A cluster without brokers is an answer; a session that was lost is none."""
        self.start()
        self.session.say([])
        error = self.assertRaises(Unavailable, self.resolver.resolve, request("vip.test"))
        self.assertEqual(("no live broker", True), (str(error), error.authoritative))
        self.session.lost("zk-1:2181: refused")
        error = self.assertRaises(Unavailable, self.resolver.resolve, request("vip.test"))
        self.assertFalse(error.authoritative)

    def test_gone_meanwhile(self) -> None:
        """A node that is removed during a read is left out."""
        self.start()
        self.session.say(["one.internal:8080", "two.internal:8080"])
        self.session.say(node("broker-1.test"))
        self.session.say(None)
        self.assertEqual(WatchState("1 broker"), self.resolver.state())

    def test_bad_nodes(self) -> None:
        """An invalid node sets the error; unknown names are unavailable meanwhile, not refused."""
        self.start()
        self.session.say(["a\nb", "one.internal:8080"])
        self.session.say(b"{}")
        self.session.say(node("broker-1.test"))
        state = self.resolver.state()
        self.assertEqual("1 broker, 1 with unknown names", state.summary)
        self.assertTrue(state.error and state.error.isprintable(), state.error)
        self.assertTrue(self.answer("broker-1.test"))
        self.assertIn("is not allowed in a server name", self.fails(Unavailable, "broker-2.test"))

    def test_lost(self) -> None:
        """Without a session the last known brokers are used; the next session reads again."""
        self.start(one="broker-1.test")
        self.session.lost("zk-1:2181: refused")
        self.session.lost("zk-1:2181: refused")
        self.assertEqual([("one.internal", 6651)], self.answer("broker-1.test"))
        self.assertIn("zk-1:2181: refused", self.fails(Unavailable, "broker-2.test"))
        self.assertIn("zk-1:2181: refused", self.resolver.state().error or "")
        self.clock.advance(59.0)
        self.session.connected()
        self.session.brokers(one="broker-1.test")
        self.clock.advance(60.0)
        self.assertEqual((WatchState("1 broker"), 1), (self.resolver.state(), self.changes))

    def test_discarded(self) -> None:
        """After `keep` seconds the last known brokers are discarded; the next session reads them again."""
        self.start(one="broker-1.test")
        self.session.lost("zk-1:2181: refused")
        self.clock.advance(60.0)
        self.assertEqual(2, self.changes)
        self.fails(Unavailable, "broker-1.test")
        self.session.connected()
        self.session.brokers(one="broker-1.test")
        self.assertEqual((3, [("one.internal", 6651)]), (self.changes, self.answer("broker-1.test")))

    def test_cannot_read(self) -> None:
        """A failed read of the list or of a node is retried after RETRY_INTERVAL_S."""
        self.start(one="broker-1.test")
        self.session.changed()
        self.session.asked.pop()[1].errback(RuntimeError("NoAuthError"))
        self.assertEqual("NoAuthError", self.resolver.state().error)
        self.clock.advance(RETRY_INTERVAL_S)
        self.session.say(["one.internal:8080"])
        self.session.asked.pop()[1].errback(RuntimeError("ConnectionLoss"))
        self.assertEqual("ConnectionLoss", self.resolver.state().error)
        self.clock.advance(RETRY_INTERVAL_S)
        self.session.brokers(one="broker-1.test")
        self.assertEqual((WatchState("1 broker"), 1), (self.resolver.state(), self.changes))
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_lost_while_reading(self) -> None:
        """A read that fails with the session is repeated by the next session, not before."""
        for session_first in (True, False):
            self.setUp()
            self.start(one="broker-1.test")
            self.session.changed()
            reading = self.session.asked.pop()[1]
            if session_first:
                self.session.lost("gone")
            reading.errback(RuntimeError("ConnectionLoss"))
            if not session_first:
                self.session.lost("gone")
            self.clock.advance(RETRY_INTERVAL_S)
            self.assertEqual([], self.session.asked)
            self.session.connected()
            self.session.brokers(two="broker-2.test")
            self.assertEqual([("two.internal", 6651)], self.answer("broker-2.test"))

    def test_late_answer(self) -> None:
        """An answer that arrives after the session was lost is ignored."""
        self.start(one="broker-1.test")
        self.session.changed()
        self.session.lost("gone")
        self.session.brokers(one="broker-1.test")
        self.assertEqual("gone", self.resolver.state().error)
        self.clock.advance(60.0)
        self.fails(Unavailable, "broker-1.test")
        self.session.connected()
        self.session.brokers(one="broker-1.test")
        self.assertEqual(WatchState("1 broker"), self.resolver.state())

    def test_stop(self) -> None:
        """A stop stops the session and cancels all timers; no change is reported."""
        self.start(one="broker-1.test")
        self.session.lost("zk-1:2181: refused")
        self.session.changed()
        stopping = self.resolver.stop()
        assert stopping is not None
        self.assertNoResult(stopping)
        self.session.stopped.callback(None)
        self.successResultOf(stopping)
        self.assertEqual(([], 1), (self.clock.getDelayedCalls(), self.changes))

    def test_stop_before_the_first_answer(self) -> None:
        """A stop fails queries that wait for the first answer."""
        self.start()
        waiting = self.resolver.resolve(request("vip.test"))
        self.resolver.stop()
        assert isinstance(waiting, Deferred)
        self.failureResultOf(waiting, Unavailable)


class MakeTests(SynchronousTestCase):
    """From the configuration's options."""

    def test_make(self) -> None:
        """make does not connect; the zk: prefix of Pulsar is accepted."""
        for servers in ("zk-1:2181,zk-2/pulsar", "zk:zk-1:2181", ["zk-1:2181", "[::1]:2181"]):
            made = make_resolver("zookeeper", {"servers": servers}, Clock())
            assert isinstance(made, ZooKeeperResolver)
            self.assertIsNone(made.stop())

    def test_bad(self) -> None:
        """The error names the invalid option."""
        bad: dict[str, tuple[object, ...]] = {
            "servers": ([], "", "zk:", "a,,b", "zk-1:x", "a..b", "zk-1:99999"),
            "keep": (-1,),
            "port": (0,),
            "service_name": (["*"],),
            "trust": ("/nowhere.pem",),
            "certificate": ("/nowhere.pem",),
            "digest_file": ("/nowhere",),
        }
        for key, values in bad.items():
            for value in values:
                table = {"servers": "a", "tls": True, key: value}
                error = self.assertRaises(BadOption, make_resolver, "zookeeper", table, Clock())
                self.assertEqual(key, error.key)

    def test_without_tls(self) -> None:
        """Options of TLS are refused without it."""
        for key in ("trust", "certificate"):
            error = self.assertRaises(BadOption, make_resolver, "zookeeper", {"servers": "a", key: "a.pem"}, Clock())
            self.assertEqual((key, True), (error.key, "tls = true" in error.cure))

    def test_without_kazoo(self) -> None:
        """Without kazoo the type is listed with the command that installs it, and its options are shown."""
        program = (
            "import sys\n"
            "sys.modules['kazoo'] = None\n"
            "from sniproxy.interfaces import BadOption\n"
            "from sniproxy.resolvers import describing, make_resolver, makers\n"
            "(maker,) = [maker for maker in makers() if maker.name == 'zookeeper']\n"
            "print(describing.describe_all([maker]))\n"
            "print('digest_file' in describing.describe_one(maker))\n"
            "try:\n"
            "    make_resolver('zookeeper', {'servers': 'a'}, None)\n"
            "except BadOption as error:\n"
            "    print(error)\n"
        )
        ran = programs.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        listed, shown, refused = ran.stdout.splitlines()
        self.assertEqual("True", shown)
        for text in (listed, refused):
            self.assertIn("pip install 'sniproxy[zookeeper]'", text)
