"""Tests for sniproxy.testing.resolvers: good resolvers pass the contract, and each fault is found."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import SynchronousTestCase, TestCase
from zope.interface import implementer

from sniproxy.interfaces import IWatchingResolver, Refused, Request, Resolution, Target, WatchState
from sniproxy.resolvers import make_resolver
from sniproxy.testing import ResolverContract, question
from tests.support.reactor import reactor

ANSWER = Resolution([Target("b.test", 1)], 1)


class StaticTests(ResolverContract, TestCase):
    """The static resolver."""

    known = question("a.test")
    unknown = None
    answers_at_once = True

    def make(self) -> Any:
        return make_resolver("static", {"target": "{server_name}:1"}, reactor)


class FileTests(ResolverContract, TestCase):
    """The file resolver."""

    known = question("a.test")
    unknown = question("c.test")
    answers_at_once = True

    def make(self) -> Any:
        path = Path(self.mktemp())
        path.write_text("a.test b.test\n")
        return make_resolver("file", {"path": str(path)}, reactor)


class Good:
    """A resolver without faults."""

    def resolve(self, request: Request) -> Resolution | Awaitable[Resolution]:
        if request.server_name == "gone.test":
            raise Refused("it is gone")
        return deferLater(reactor, 0, lambda: ANSWER)


class GoodTests(ResolverContract, TestCase):
    """A good resolver whose source can be silent."""

    known = question("a.test")
    unknown = question("gone.test")

    def make(self) -> Any:
        return Good()

    def silence(self) -> Any:
        class Silent:
            def resolve(self, request: Request) -> Deferred[Resolution]:
                return Deferred()

        return Silent()


@implementer(IWatchingResolver)
class Watching(Good):
    """A good resolver that watches, asks in a thread, and whose stop takes a while."""

    def resolve(self, request: Request) -> Awaitable[Resolution]:
        if request.server_name == "gone.test":
            raise Refused("it is gone")
        return deferToThread(lambda: Resolution([Target(socket.gethostbyname("127.0.0.1"), 1)], 1))

    def start(self, changed: Callable[[], None]) -> None:
        """It has nothing to start."""

    def stop(self) -> Deferred[None]:
        return deferLater(reactor, 0)

    def state(self) -> WatchState:
        return WatchState("")


class WatchingTests(ResolverContract, TestCase):
    """A good resolver that watches and uses a thread."""

    known = question("a.test")
    unknown = question("gone.test")

    def make(self) -> Any:
        return Watching()

    def silence(self) -> Any:
        class Silent(Watching):
            def resolve(self, request: Request) -> Deferred[Resolution]:
                return Deferred()

        return Silent()


class Bad(ResolverContract):
    """A resolver with a fault; not run by itself. @cvar silent: makes a resolver whose source does not answer."""

    known = question("a.test")
    unknown = question("gone.test")
    maker: Callable[[], Any]
    silent: Callable[[], Any] = lambda: None

    def make(self) -> Any:
        return type(self).maker()

    def silence(self) -> Any:
        return type(self).silent()


class FaultTests(TestCase):
    """Each fault fails its test."""

    async def check(self, test: str, maker: Callable[[], Any], **declared: Any) -> None:
        """Assert that this test fails with this resolver."""
        case = type("Case", (Bad, TestCase), {"maker": staticmethod(maker), **declared})(test)
        try:
            await getattr(case, test)()
        except Exception:
            red = True
        else:
            red = False
        finally:
            await maybeDeferred(case.doCleanups)
        self.assertTrue(red, f"{test} found nothing in {maker}")
        self.flushLoggedErrors()

    async def test_faults(self) -> None:
        """No targets, a wrong error, a blocking call, a leaked socket and an undeclared watch are found."""
        opened: list[socket.socket] = []
        self.addCleanup(lambda: list(map(socket.socket.close, opened)))

        class NoTargets(Good):
            def resolve(self, request: Request) -> Any:
                return Resolution([])

        class WrongError(Good):
            def resolve(self, request: Request) -> Any:
                if request.server_name == "gone.test":
                    raise KeyError(request.server_name)
                return ANSWER

        class Answers(Good):
            def resolve(self, request: Request) -> Any:
                return ANSWER

        class Blocks(Good):
            def resolve(self, request: Request) -> Any:
                socket.gethostbyname("127.0.0.1")
                return ANSWER

        class Leaks(Good):
            def resolve(self, request: Request) -> Any:
                opened.append(socket.socket())
                return ANSWER

        class Undeclared(Good):
            def start(self, changed: Any) -> None:
                """Do nothing."""

        for test, maker in (
            ("test_contract_answers", NoTargets),
            ("test_contract_refuses", WrongError),
            ("test_contract_refuses", Answers),
            ("test_contract_does_not_block", Blocks),
            ("test_contract_leaves_nothing", Leaks),
            ("test_contract_watch", Undeclared),
        ):
            await self.check(test, maker)

    async def test_nothing_made(self) -> None:
        """A test class without make() fails."""
        case = type("Bare", (ResolverContract, TestCase), {"known": question("a.test")})("test_contract_many")
        await self.assertFailure(Deferred.fromCoroutine(case.test_contract_many()), NotImplementedError)

    async def test_timers(self) -> None:
        """A stop that leaves a timer is found."""
        loops: list[LoopingCall] = []
        self.addCleanup(lambda: list(map(LoopingCall.stop, loops)))

        @implementer(IWatchingResolver)
        class Ticks(Good):
            def start(self, changed: Any) -> None:
                loop = LoopingCall(lambda: None)
                loop.start(1000, now=False)
                loops.append(loop)

            def stop(self) -> None:
                """Drop the timer."""

            def state(self) -> WatchState:
                return WatchState("")

        await self.check("test_contract_leaves_nothing", Ticks)

    async def test_silence(self) -> None:
        """A test must implement silence() or set answers_at_once, and correctly. A resolver that ignores a timeout or a
        cancellation is found.
        """
        await self.check("test_contract_silence", Good)
        await self.check("test_contract_silence", Good, answers_at_once=True)
        case = type("Bare", (ResolverContract, TestCase), {"known": question("a.test"), "make": lambda self: Good()})
        asked = Deferred.fromCoroutine(case("test_contract_silence").test_contract_silence())
        error = await self.assertFailure(asked, NotImplementedError)
        self.assertIn("answers_at_once = True", str(error))

        class Answers(Good):
            def resolve(self, request: Request) -> Any:
                return ANSWER

        await self.check("test_contract_silence", Good, silent=staticmethod(Answers))
        timers: list[Any] = []
        self.addCleanup(lambda: [timer.cancel() for timer in timers])

        class GoesOn(Good):
            def resolve(self, request: Request) -> Any:
                timers.append(reactor.callLater(1000, lambda: None))
                return Deferred()

        await self.check("test_contract_silence", Good, silent=staticmethod(GoesOn))

    async def test_reload(self) -> None:
        """A resolver that opens a socket before its start, one whose stop closes the source of its successor, and one
        that reports changes after its stop are found.
        """
        opened: list[socket.socket] = []
        self.addCleanup(lambda: list(map(socket.socket.close, opened)))

        @implementer(IWatchingResolver)
        class Watches(Good):
            ended = 0

            def start(self, changed: Callable[[], None]) -> None:
                self.changed = changed

            def stop(self) -> None:
                Watches.ended += 1

            def state(self) -> WatchState:
                return WatchState("")

        class Opens(Watches):
            def __init__(self) -> None:
                self.sock = socket.socket()
                opened.append(self.sock)

            def stop(self) -> None:
                self.sock.close()

        class Shared(Watches):
            def __init__(self) -> None:
                self.before = Watches.ended

            def resolve(self, request: Request) -> Any:
                if Watches.ended > self.before:
                    raise Refused("the source is closed")
                return ANSWER

        class Tells(Watches):
            def stop(self) -> None:
                reactor.callLater(0, self.changed)

        for maker in (Opens, Shared, Tells):
            await self.check("test_contract_reload", maker)
        case = type("Case", (Bad, TestCase), {"maker": staticmethod(Watches)})("test_contract_reload")
        await case.test_contract_reload()


class QuestionTests(SynchronousTestCase):
    """question(): the request of a test."""

    def test_question(self) -> None:
        """It is the request of a connection."""
        asked = question("a.test", "192.0.2.9:1", "inner")
        self.assertEqual(("a.test", "192.0.2.9:1", "inner"), (asked.server_name, asked.peer, asked.listener))
