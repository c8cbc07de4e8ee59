"""Tests for sniproxy.resolvers.pulsar.resolver."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.trial.unittest import TestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from sniproxy.interfaces import BadOption, IWatchingResolver, Refused, Resolution, Unavailable, WatchState
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.pulsar.directory import DEPARTED_S
from sniproxy.resolvers.pulsar.resolver import MIN_REFRESH_INTERVAL_S, PulsarResolver
from sniproxy.routing.brokernames import BrokerName, IBrokerDirectory
from sniproxy.testing import ResolverContract, question
from tests.resolvers.adminserver import CONFIGURATION, HEALTH, LIST, AdminServer, NetClock
from tests.resolvers.cache.scripted import request
from tests.support.reactor import reactor as global_reactor


class PulsarTestCase(TestCase):
    """Two scripted brokers, `one` and `two`. The first one gives the list."""

    def setUp(self) -> None:
        self.clock = NetClock()
        self.one, self.two = AdminServer(self), AdminServer(self)
        self.one.broker("broker-1.test", 6651)
        self.two.broker("broker-2.test", 6661)
        self.one.brokers(self.one.id, self.two.id)
        self.changes = 0

    def make(self, **options: object) -> PulsarResolver:
        table = {"url": self.one.url, "service_name": "vip.test", **options}
        return cast(PulsarResolver, make_resolver("pulsar", table, self.clock))

    async def started(self, **options: object) -> PulsarResolver:
        """A resolver after its first refresh."""
        resolver = self.make(**options)

        def count() -> None:
            self.changes += 1

        resolver.start(count)
        self.addCleanup(resolver.stop)
        await self.looked(resolver)
        return resolver

    async def looked(self, resolver: PulsarResolver) -> None:
        """Wait for the current refresh."""
        if resolver._refresh is not None:
            await resolver._waiters.wait()

    async def again(self, resolver: PulsarResolver) -> None:
        """Wait for the next refresh."""
        self.clock.advance(10.0)
        await self.looked(resolver)

    async def answer(self, resolver: PulsarResolver, name: str | None) -> list[tuple[str, int, int]]:
        answer = resolver.resolve(request(name))
        if not isinstance(answer, Resolution):
            answer = await answer
        self.assertIsNone(answer.ttl)
        return self.places(answer)

    async def later(self, resolver: PulsarResolver, name: str) -> list[tuple[str, int, int]]:
        """The answer for a name that causes a refresh. It is cached for a short time."""
        self.clock.advance(MIN_REFRESH_INTERVAL_S)
        answer = resolver.resolve(request(name))
        assert isinstance(answer, Deferred)
        found = await answer
        self.assertEqual(MIN_REFRESH_INTERVAL_S, found.ttl)
        return self.places(found)

    def places(self, answer: Resolution) -> list[tuple[str, int, int]]:
        return [(target.host, target.port, target.weight) for target in answer.targets]

    async def fails(self, kind: Any, resolver: PulsarResolver, name: str | None) -> str:
        try:
            await self.answer(resolver, name)
        except kind as error:
            return str(error)
        raise AssertionError(f"{name} has an answer")


class AnswerTests(PulsarTestCase):
    """A cluster's brokers and the names that lead to them."""

    async def test_names(self) -> None:
        """The service name leads to all brokers, each advertised name to its broker, at the bound port."""
        resolver = await self.started()
        self.assertTrue(verifyObject(IWatchingResolver, resolver))
        self.assertEqual([("localhost", 6651, 1)], await self.answer(resolver, "broker-1.test"))
        self.assertEqual([("localhost", 6661, 1)], await self.answer(resolver, "broker-2.test"))
        self.assertEqual({6651, 6661}, {port for _, port, _ in await self.answer(resolver, "vip.test")})
        self.assertEqual((WatchState("2 brokers"), 1), (resolver.state(), self.changes))

    async def test_first_look(self) -> None:
        """A query during the first refresh waits for it."""
        resolver = self.make()
        resolver.start(lambda: None)
        self.addCleanup(resolver.stop)
        self.assertEqual([("localhost", 6651, 1)], await self.answer(resolver, "broker-1.test"))

    async def test_refused(self) -> None:
        """A name that no live broker has is refused with the known names; so is a hello without a name."""
        resolver = await self.started()
        why = await self.fails(Refused, resolver, "broker-9.test")
        self.assertEqual("no live broker named broker-9.test; known: broker-1.test, broker-2.test, vip.test", why)
        await self.fails(Refused, resolver, None)

    async def test_comes_and_goes(self) -> None:
        """Brokers are added and removed with the list; only changes are reported."""
        self.one.brokers(self.one.id)
        resolver = await self.started()
        await self.again(resolver)
        self.assertEqual(1, self.changes)
        self.one.brokers(self.one.id, self.two.id)
        await self.again(resolver)
        self.assertEqual(2, self.changes)
        self.assertEqual([("localhost", 6661, 1)], await self.answer(resolver, "broker-2.test"))
        self.one.brokers(self.one.id)
        await self.again(resolver)
        self.assertEqual(3, self.changes)
        self.clock.advance(DEPARTED_S + 1)
        await self.looked(resolver)
        self.clock.advance(MIN_REFRESH_INTERVAL_S)
        self.assertIn("broker-2.test", await self.fails(Refused, resolver, "broker-2.test"))

    async def test_departed(self) -> None:
        """The name of a broker that has left leads to its last address for a while, or to its new one."""
        resolver = await self.started()
        self.one.brokers(self.one.id)
        await self.again(resolver)
        self.assertEqual([("localhost", 6661, 1)], await self.later(resolver, "broker-2.test"))
        self.two.broker("broker-2.test", 6671)
        self.one.brokers(self.one.id, self.two.id)
        self.clock.advance(MIN_REFRESH_INTERVAL_S)
        self.assertEqual([("localhost", 6671, 1)], await self.answer(resolver, "broker-2.test"))

    async def test_restarted(self) -> None:
        """A broker that has restarted with another port or listener is read at the next refresh."""
        resolver = await self.started()
        self.two.broker("broker-3.test", 6671)
        await self.again(resolver)
        self.assertEqual([("localhost", 6671, 1)], await self.answer(resolver, "broker-3.test"))
        await self.fails(Refused, resolver, "broker-2.test")
        self.assertEqual(2, self.changes)

    async def test_all_names(self) -> None:
        """The names of all listeners lead to the broker, and any of its URLs finds them."""
        self.one.brokers(self.one.id)
        self.one.broker("broker-1.test", 6651, internal="broker-1.int.test")
        resolver = await self.started()
        self.assertEqual([("localhost", 6651, 1)], await self.answer(resolver, "broker-1.int.test"))
        self.assertTrue(verifyObject(IBrokerDirectory, resolver))
        expected = [
            BrokerName("broker-1.test", "external", True),
            BrokerName("broker-1.int.test", "internal", False),
            BrokerName("localhost", "", False),
        ]
        self.assertEqual(expected, resolver.names_of("broker-1.int.test", 6650))

    async def test_newcomer(self) -> None:
        """An unknown name causes a refresh, at most one in MIN_REFRESH_INTERVAL_S."""
        self.one.brokers(self.one.id)
        resolver = await self.started()
        self.one.brokers(self.one.id, self.two.id)
        await self.fails(Refused, resolver, "broker-2.test")
        self.clock.advance(MIN_REFRESH_INTERVAL_S)
        self.assertEqual([("localhost", 6661, 1)], await self.answer(resolver, "broker-2.test"))
        looks = self.one.asked.count(LIST)
        self.assertEqual(2, looks)

    async def test_one_leaves(self) -> None:
        """Cancelling one query leaves others that wait for the same refresh."""
        self.one.brokers(self.one.id)
        resolver = await self.started()
        self.clock.advance(MIN_REFRESH_INTERVAL_S)
        first, second = resolver.resolve(request("a.test")), resolver.resolve(request("b.test"))
        assert isinstance(first, Deferred) and isinstance(second, Deferred)
        first.addErrback(lambda _: None).cancel()
        with self.assertRaises(Refused):
            await second

    async def test_listener_and_places(self) -> None:
        """Listener, port and addresses may come from the options."""
        resolver = await self.started(listener="external", port=7, hosts=["localhost=127.0.0.1"])
        self.assertEqual([("127.0.0.1", 7, 1)], await self.answer(resolver, "broker-1.test"))

    async def test_no_such_listener(self) -> None:
        """If no broker has the listener, all names are unknown, and the state has the error."""
        resolver = await self.started(listener="internal")
        self.assertIn("no live broker, 2 with unknown names", await self.fails(Unavailable, resolver, "vip.test"))
        state = resolver.state()
        self.assertEqual("0 brokers, 2 with unknown names", state.summary)
        self.assertIn("has no TLS listener 'internal'; its TLS listeners: external", state.error or "")

    async def test_cluster(self) -> None:
        """The cluster's name is part of the URL, encoded."""
        self.one.answers = {f"{LIST}/my%20cluster": (200, b"[]")}
        resolver = await self.started(cluster="my cluster")
        self.assertEqual("0 brokers", resolver.state().summary)
        self.assertIn("no live broker", await self.fails(Unavailable, resolver, "vip.test"))


class FaultTests(PulsarTestCase):
    """Failures of the cluster and of its connections."""

    async def test_not_healthy(self) -> None:
        """An unhealthy broker is a backup for the service name; its own name still leads to it."""
        self.two.answers[HEALTH] = (500, b"no")
        resolver = await self.started()
        self.assertEqual({(6651, 1), (6661, 0)}, {one[1:] for one in await self.answer(resolver, "vip.test")})
        self.assertEqual([("localhost", 6661, 1)], await self.answer(resolver, "broker-2.test"))
        state = resolver.state()
        self.assertEqual("2 brokers, 1 unhealthy", state.summary)
        await self.again(resolver)
        self.assertEqual(1, self.two.asked.count(CONFIGURATION))  # as long as it is unhealthy, it is not read again
        self.assertIn(f"{self.two.id}{HEALTH}: 500; answer: no", state.error or "")
        self.two.answers[HEALTH] = (200, b"ok")
        await self.again(resolver)
        self.assertEqual((WatchState("2 brokers"), 2), (resolver.state(), self.changes))

    async def test_dies(self) -> None:
        """A dead broker keeps its name while it is in the list."""
        resolver = await self.started()
        await self.two.close()
        await self.again(resolver)
        self.assertEqual("2 brokers, 1 unhealthy", resolver.state().summary)
        self.assertEqual([("localhost", 6661, 1)], await self.answer(resolver, "broker-2.test"))
        self.two.open()
        self.two.broker("broker-2.test", 6671)
        await self.again(resolver)
        self.assertEqual([("localhost", 6671, 1)], await self.answer(resolver, "broker-2.test"))

    async def test_never_answered(self) -> None:
        """While a broker has never answered, unknown names are unavailable, not refused."""
        await self.two.close()
        resolver = await self.started()
        self.assertIn("1 with unknown names", await self.fails(Unavailable, resolver, "broker-2.test"))
        self.assertEqual([("localhost", 6651, 1)], await self.answer(resolver, "vip.test"))

    async def test_slow_broker(self) -> None:
        """A silent broker is unhealthy after the timeout."""
        self.one.brokers(self.two.id)
        resolver = await self.started()
        del self.two.answers[HEALTH]
        self.clock.advance(10.0)
        await self.two.until(HEALTH)
        self.clock.advance(5.0)
        await self.looked(resolver)
        self.assertEqual("1 broker, 1 unhealthy", resolver.state().summary)
        self.assertIn("no answer within 5 s", resolver.state().error or "")

    async def test_may_not_read(self) -> None:
        """If the token may not read configuration and health, names come from the option name."""
        for broker in (self.one, self.two):
            broker.answers[CONFIGURATION] = broker.answers[HEALTH] = (403, b"")
        self.one.brokers(self.one.id)
        resolver = await self.started(name="{label}.pulsar.test", port=6651)
        self.assertEqual([("localhost", 6651, 1)], await self.answer(resolver, "localhost.pulsar.test"))
        self.assertEqual(WatchState("1 broker"), resolver.state())

    async def test_asks_nobody(self) -> None:
        """With ask_brokers = false only the list is requested."""
        resolver = await self.started(ask_brokers=False)
        self.assertEqual(2, len(await self.answer(resolver, "localhost")))
        self.assertEqual(([LIST], []), (self.one.asked, self.two.asked))

    async def test_list_fails(self) -> None:
        """A failing list sets the error; the last known brokers are used for `keep` seconds, then discarded."""
        resolver = await self.started(keep=25)
        for status, body, words in ((401, b"", "401"), (503, b"", "503"), (200, b"<html>", "not JSON")):
            self.one.answers[LIST] = (status, body)
            await self.again(resolver)
            self.assertEqual("2 brokers" if status != 200 else "no brokers known", resolver.state().summary)
            self.assertIn(words, resolver.state().error or "")
        self.assertEqual(2, self.changes)
        self.assertIn("not JSON", await self.fails(Unavailable, resolver, "vip.test"))
        self.one.brokers(self.one.id)
        await self.again(resolver)
        self.assertEqual([("localhost", 6651, 1)], await self.answer(resolver, "vip.test"))
        self.assertEqual((WatchState("1 broker"), 3), (resolver.state(), self.changes))

    async def test_known_while_failing(self) -> None:
        """While the cluster does not answer, known names still resolve, and unknown ones are unavailable."""
        resolver = await self.started()
        await self.one.close()
        await self.again(resolver)
        self.assertEqual([("localhost", 6661, 1)], await self.answer(resolver, "broker-2.test"))
        self.clock.advance(MIN_REFRESH_INTERVAL_S)
        self.assertIn("cannot connect", await self.fails(Unavailable, resolver, "broker-9.test"))

    async def test_logged_once(self) -> None:
        """Repeated failures are logged once, and the recovery once."""
        lines: list[str] = []

        @implementer(ILogObserver)
        def see(event: Any) -> None:
            if event.get("log_namespace") == "sniproxy.resolvers.pulsar.resolver":
                lines.append(event["log_format"])

        resolver = await self.started()
        globalLogPublisher.addObserver(see)
        self.addCleanup(globalLogPublisher.removeObserver, see)
        self.one.answers[LIST] = (503, b"")
        for _ in range(3):
            await self.again(resolver)
        self.one.brokers(self.one.id, self.two.id)
        await self.again(resolver)
        self.assertEqual(2, len(lines), lines)

    async def test_next_url(self) -> None:
        """If a URL fails, the next one is used, also for later refreshes."""
        self.two.brokers(self.two.id)
        await self.one.close()
        resolver = await self.started(url=[self.one.url, self.two.url])
        self.assertEqual([("localhost", 6661, 1)], await self.answer(resolver, "vip.test"))
        self.assertEqual([self.two.url, self.one.url], resolver._urls)

    async def test_redirected(self) -> None:
        """A redirect of the list is followed."""
        self.two.brokers(self.two.id)
        self.one.locations[LIST] = self.two.url + LIST
        resolver = await self.started()
        self.assertEqual("1 broker", resolver.state().summary)

    async def test_token(self) -> None:
        """The token is sent to listed brokers, too; an unreadable file sets the error, and the previous token stays."""
        file = Path(self.mktemp())
        file.write_text("a.token")
        resolver = await self.started(token_file=str(file))
        self.assertEqual({"Bearer a.token"}, {*self.one.tokens, *self.two.tokens})
        file.write_text("")
        await self.again(resolver)
        self.assertIn("no valid token", resolver.state().error or "")
        self.assertNotIn("a.token", resolver.state().error or "")

    async def test_stop_while_querying(self) -> None:
        """A stop while brokers are queried is no error."""
        resolver = await self.started()
        del self.two.answers[HEALTH]
        self.clock.advance(10.0)
        await self.two.until(HEALTH)
        await resolver.stop()
        self.assertEqual([], self.flushLoggedErrors())

    async def test_stop(self) -> None:
        """A stop during a refresh ends its requests, and no change is reported."""
        del self.one.answers[LIST]
        resolver = self.make()
        changes: list[None] = []
        resolver.start(lambda: changes.append(None))
        waiting = resolver.resolve(request("vip.test"))
        await self.one.until(LIST)
        await resolver.stop()
        assert isinstance(waiting, Deferred)
        with self.assertRaises(Unavailable):
            await waiting
        self.assertEqual(([], None, []), (changes, resolver._refresh, self.clock.getDelayedCalls()))


class MakeTests(PulsarTestCase):
    """From the configuration's options."""

    def test_bad(self) -> None:
        """The error names the invalid option."""
        bad: dict[str, tuple[object, ...]] = {
            "url": ([], "broker:8080", "ftp://a", "http://a/admin", "http://a:99999", "http://", "https://a?b"),
            "every": (0,),
            "timeout": (0,),
            "keep": (-1,),
            "web_port": (0,),
            "port": (65536,),
            "name": ("{hots}",),
            "hosts": (["a"],),
            "service_name": ("*.test",),
            "trust": ("/nowhere.pem",),
            "token_file": ("/nowhere.token",),
        }
        for key, values in bad.items():
            for value in values:
                error = self.assertRaises(BadOption, self.make, **{key: value})
                self.assertEqual(key, error.key)
                self.assertTrue(error.cure)

    def test_password_in_url(self) -> None:
        """The part of a URL before @ is not shown."""
        error = self.assertRaises(BadOption, self.make, url="http://me:secret@a:8080")
        self.assertNotIn("secret", f"{error.value} {error.cure}")

    def test_certificate_without_tls(self) -> None:
        """A client certificate without https is refused."""
        error = self.assertRaises(BadOption, self.make, certificate="/nowhere.pem")
        self.assertIn("https", error.cure)


class ContractTests(ResolverContract, TestCase):
    """The contract of all resolvers, with a broker that lists itself."""

    known = question("broker-1.test")
    unknown = question("broker-9.test")

    def setUp(self) -> None:
        self.broker = AdminServer(self)
        self.broker.broker("broker-1.test")
        self.broker.brokers(self.broker.id)
        self.silent = AdminServer(self)

    def make(self) -> Any:
        return make_resolver("pulsar", {"url": self.broker.url}, global_reactor)

    def silence(self) -> Any:
        return make_resolver("pulsar", {"url": self.silent.url}, global_reactor)
