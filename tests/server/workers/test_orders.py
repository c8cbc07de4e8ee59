"""Tests for sniproxy.server.workers.orders."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.upgrades import UpgradeReport
from sniproxy.config.schema import ConfigError
from sniproxy.server.statecounts import StateCounts
from sniproxy.server.upgrade.program import CannotStart, Start
from sniproxy.server.workers import post
from sniproxy.server.workers.orders import BEATS_PER_COUNTS, Orders, Supervised


class OrdersTests(SynchronousTestCase):
    """Orders. @ivar reports: to the supervisor. @ivar calls: of the proxy and of the program."""

    def setUp(self) -> None:
        self.reports: list[str] = []
        self.calls: list[str] = []
        self.reloads: list[Deferred[str | None]] = []
        link: Any = SimpleNamespace(report=self.reports.append, text="old")
        self.link = link
        proxy: Any = SimpleNamespace(
            reload=self.reload,
            reopen_logs=lambda: self.calls.append("reopen"),
            end_now=lambda: self.calls.append("end"),
            counts=lambda: StateCounts(7, 1),
        )
        reloader: Any = SimpleNamespace(reload=self.reload_file)
        self.keeper: Any = SimpleNamespace(receive=lambda: "channel")
        self.starts: list[Start] = []
        self.upgrades: list[Deferred[UpgradeReport]] = []
        program = SimpleNamespace(hand_over=self.hand_over, retire=lambda: self.calls.append("retire"))
        self.make = lambda keeper: Orders(link, proxy, reloader, keeper, program, lambda: self.calls.append("stop"))
        self.orders = self.make(self.keeper)

    def reload(self, read: Callable[[], object]) -> str:
        error = self.assertRaises(ConfigError, read)
        self.calls.append(f"refused {error}")
        return str(error)

    def reload_file(self) -> Deferred[str | None]:
        self.reloads.append(Deferred())
        return self.reloads[-1]

    def test_heartbeat(self) -> None:
        """A heartbeat is answered; some answers have the counts of the worker."""
        for _ in range(BEATS_PER_COUNTS + 1):
            self.orders.obey(post.HEARTBEAT, "")
        counts = f"{post.HEARTBEAT} [7, 1, 0]"
        self.assertEqual([counts, *[post.HEARTBEAT] * (BEATS_PER_COUNTS - 1), counts], self.reports)

    def test_reload(self) -> None:
        """A reload has the supervisor's text, and reports how it has ended."""
        for why, report in ((None, post.RELOADED), ("x.toml: bad", post.REFUSED)):
            self.orders.obey(post.RELOAD, f"new {report}")
            self.assertEqual(f"new {report}", self.link.text)
            self.assertNotIn(report, self.reports)
            self.reloads[-1].callback(why)
            self.assertEqual(report, self.reports[-1])

    def test_refused(self) -> None:
        """The supervisor has refused a file: the worker shows the reason."""
        self.orders.obey(post.REFUSED, "x.toml: bad")
        self.assertEqual((["refused x.toml: bad"], []), (self.calls, self.reports))

    def hand_over(self, start: Start) -> Deferred[UpgradeReport]:
        self.starts.append(start)
        self.upgrades.append(Deferred())
        return self.upgrades[-1]

    def test_upgrade(self) -> None:
        """An upgrade has the new worker and the channel to it, and reports how it has ended."""
        for report, text in (
            (UpgradeReport(None, 7, 3, 1, 0.5, True), "upgraded [null, 3, 1, true]"),
            (UpgradeReport("no memory", None, 0, 4), 'upgraded ["no memory", 0, 4, false]'),
        ):
            self.orders.obey(post.UPGRADE, "7")
            new, channel = self.starts[-1]()
            self.assertEqual((7, "channel"), (new.pid, channel))
            self.assertNotIn(text, self.reports)
            self.upgrades[-1].callback(report)
            self.assertEqual(text, self.reports[-1])

    def test_no_channel(self) -> None:
        """Without a channel to the new worker there is no upgrade; the reason is in the result."""

        def receive() -> None:
            raise OSError(24, "Too many open files")

        self.keeper.receive = receive
        for keeper, why in (
            (self.keeper, "the channel to the new worker did not arrive: Too many open files"),
            (None, "this system passes no sockets between workers"),
        ):
            self.make(keeper).obey(post.UPGRADE, "7")
            self.assertEqual(why, str(self.assertRaises(CannotStart, self.starts[-1])))

    def test_supervised(self) -> None:
        """The supervisor watches the new worker's process: the old worker neither kills it nor logs its errors."""
        new = Supervised(7)
        new.kill()
        new.close()
        self.assertEqual((7, False, []), (new.pid, new.ended, new.errors()))
        self.assertEqual("it has closed the channel; see its lines in the log", new.why())

    def test_others(self) -> None:
        """Logs are reopened; one worker too many accepts no more; a stop stops, and an end ends what is left first."""
        for order in (post.REOPEN, post.RETIRE, post.STOP, post.END):
            self.orders.obey(order, "")
        self.assertEqual(["reopen", "retire", "stop", "end", "stop"], self.calls)
