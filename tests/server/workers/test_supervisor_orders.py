"""Tests for sniproxy.server.workers.supervisor: what it tells its workers, with workers that have no process."""

from __future__ import annotations

import os

from twisted.logger import capturedLogs, formatEvent

from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.config.workers import CannotStart
from sniproxy.server.statecounts import StateCounts
from sniproxy.server.workers import supervisor
from sniproxy.server.workers.post import END, HEARTBEAT, READY, REFUSED, RELOAD, RELOADED, REOPEN, STOP
from sniproxy.server.workers.process import START_TIMEOUT_S, STOP_GRACE_S
from sniproxy.server.workers.sockets import KEEP_SOCKETS_S
from sniproxy.server.workers.supervisor import Supervisor
from tests.server.workers.unstarted import TEXT, FakeKept, OrderCase

OTHER = TEXT.replace("4443", "4444")


class StartTests(OrderCase):
    """Supervisor.startService."""

    def test_started(self) -> None:
        """All workers get the text of the configuration; heartbeats begin when all listen."""
        one = self.running()
        self.assertEqual([(TEXT, 0), (TEXT, 0)], [worker.started for worker in self.workers])
        self.assertTrue(one.running)
        self.assertEqual(1, len(self.clock.getDelayedCalls()))

    def test_systemd(self) -> None:
        """Workers get all sockets that systemd passed, if a listener is one of them."""
        self.patch(os, "environ", {"LISTEN_FDNAMES": "front:other"})
        self.patch(supervisor, "build", lambda *_: None)  # Twisted has none of these sockets
        self.supervisor(TEXT.replace("tcp:4443", "systemd:domain=INET:name=front")).startService()
        self.assertEqual([2, 2], [worker.started[1] for worker in self.workers])

    def test_not_ready(self) -> None:
        """If a worker fails, all are killed, and the reason is its error, or where to look for it."""
        for error, said in (("cannot listen", "cannot listen"), ("", "worker 1 did not become ready; see its lines")):
            self.not_ready, self.error = 1, error
            one = self.supervisor()
            self.assertIn(said, str(self.assertRaises(CannotStart, one.startService)))
            self.assertEqual([True, True], [worker.killed for worker in self.workers[-2:]])
            self.assertFalse(one.running)
            self.workers[-1].end("was killed by SIGKILL")
            self.assertEqual([], self.clock.getDelayedCalls())

    def test_no_process(self) -> None:
        """If a process cannot be started, the workers before it are killed."""
        self.cannot_start.add(1)
        error = self.assertRaises(CannotStart, self.supervisor().startService)
        self.assertEqual("cannot start a worker: Resource temporarily unavailable", str(error))
        self.assertEqual([True], [worker.killed for worker in self.workers])


class ReloadTests(OrderCase):
    """Supervisor.reload, and the answers of workers."""

    def reload(self, one: Supervisor, text: str) -> str | None:
        def read() -> Configuration:
            configuration = parse(text, "x.toml")
            self.text = text
            return configuration

        return one.reload(read)

    def test_sent(self) -> None:
        """A valid configuration is sent to all workers, and those that start later get it, too."""
        one = self.running()
        self.assertIsNone(self.reload(one, OTHER))
        self.assertEqual([[(RELOAD, OTHER)]] * 2, self.orders())
        self.assertEqual(4444, one.configuration.listeners[0].endpoint.port)
        self.workers[0].end()
        self.clock.advance(1)
        self.assertEqual((OTHER, 0), self.workers[2].started)

    def test_invalid(self) -> None:
        """An invalid configuration is refused; the workers hear why, and the current one stays."""
        one = self.running()
        with capturedLogs() as logs:
            why = self.reload(one, "colour = 1\n")
        assert why is not None
        self.assertIn("x.toml:1: colour = 1: unknown key", why)
        self.assertEqual([[(REFUSED, why)]] * 2, self.orders())
        self.assertEqual(
            [f"reload failed, keeping the current configuration: {why}"], [formatEvent(event) for event in logs]
        )
        self.assertEqual(4443, one.configuration.listeners[0].endpoint.port)

    def test_internal_error(self) -> None:
        """An exception of a plugin is logged and refuses the configuration."""
        one = self.running()
        why = one.reload(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        self.assertEqual("internal error while reading it: ZeroDivisionError: division by zero", why)
        self.assertEqual([[(REFUSED, why)]] * 2, self.orders())
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))

    def test_stopping(self) -> None:
        """A supervisor that stops reads no configuration."""
        one = self.running()
        one.stopService()
        self.assertEqual("the proxy is stopping", one.reload(lambda: self.fail("it was read")))

    def test_refused_by_all(self) -> None:
        """If all workers refuse a configuration, the one before it is current again."""
        one = self.running()
        self.reload(one, OTHER)
        for worker, port in zip(self.workers, (4444, 4443), strict=True):
            worker.report(REFUSED)
            self.assertEqual(port, one.configuration.listeners[0].endpoint.port)
        self.workers[0].end()
        self.clock.advance(1)
        self.assertEqual((TEXT, 0), self.workers[2].started)

    def test_refused_by_one(self) -> None:
        """If one worker has reloaded, the new configuration stays; a refusal without a reload changes nothing."""
        one = self.running()
        self.reload(one, OTHER)
        self.workers[0].report(RELOADED)
        for worker in self.workers:
            worker.report(REFUSED)
        self.assertEqual(4444, one.configuration.listeners[0].endpoint.port)

    def test_reopen(self) -> None:
        """All workers reopen their logs."""
        self.running().reopen_logs()
        self.assertEqual([[(REOPEN, "")]] * 2, self.orders())

    def test_summary(self) -> None:
        """The tunnels of all workers, and the targets that fail."""
        one = self.running()
        self.assertEqual("2 of 2 workers, 0 tunnels", one.summary())
        for worker in self.workers:
            worker.counts = StateCounts(600, 1)
        self.assertEqual("2 of 2 workers, 1,200 tunnels, 1 target down", one.summary())

    def test_heartbeat(self) -> None:
        """An answered heartbeat is followed by the next one; other reports are ignored."""
        self.running()
        for worker in self.workers:
            worker.ready = True
        self.clock.advance(0.5)
        self.clock.advance(0.5)
        self.assertEqual([[(HEARTBEAT, "")]] * 2, self.orders())
        self.workers[0].report(HEARTBEAT)
        self.workers[1].report("unknown")
        self.clock.advance(0.5)
        self.assertEqual([[(HEARTBEAT, "")], []], self.orders())


class EndTests(OrderCase):
    """The end of workers, and of the supervisor."""

    def test_restarted(self) -> None:
        """A worker that ends is restarted, after a pause that grows; it has a minute to become ready."""
        self.running()
        worker = self.workers[1]
        worker.error = "no memory"
        with capturedLogs() as logs:
            worker.end("exited with status 1")
        (said,) = (formatEvent(event) for event in logs)
        self.assertEqual("worker 1 (pid 101) exited with status 1: no memory; restarting it in 0.5 s", said)
        self.clock.advance(0.5)
        self.assertEqual(1, self.workers[2].index)
        self.assertEqual([(START_TIMEOUT_S, "become ready")], self.workers[2].limits)
        self.workers[2].report(READY)
        self.assertEqual([], self.workers[2].limits)
        self.workers[2].end()
        self.clock.advance(0.5)
        self.assertEqual(3, len(self.workers))
        self.clock.advance(0.5)
        self.assertEqual([1, 1], [worker.index for worker in self.workers[2:]])

    def kept(self, one: Supervisor) -> list[list[str]]:
        """What was done with the kept sockets of each worker since the last call."""
        found = []
        for kept in one._kept.values():
            assert isinstance(kept, FakeKept)
            found.append(kept.did)
            kept.did = []
        return found

    def test_kept_sockets(self) -> None:
        """The channel of a worker that ends is closed; the sockets are released before a long pause, and at a stop."""
        self.patch(supervisor, "KeptSockets", FakeKept)
        self.patch(supervisor, "available", True)
        one = self.running()
        self.workers[1].end()
        self.assertEqual([[], ["close"]], self.kept(one))
        self.clock.advance(0.5)
        self.workers[2].pause = KEEP_SOCKETS_S
        self.workers[2].end()
        self.assertEqual([[], ["close", "release"]], self.kept(one))
        one.stopService()
        self.workers[0].end()
        self.assertEqual([["release", "close", "release"], ["release", "release"]], self.kept(one))

    def test_no_kept_sockets(self) -> None:
        """Where sockets are not kept, a worker that ends is restarted, too."""
        self.patch(supervisor, "available", False)
        one = self.running()
        self.assertEqual({}, one._kept)
        self.workers[0].end()
        self.clock.advance(0.5)
        self.assertEqual(3, len(self.workers))

    def test_long_lived(self) -> None:
        """A worker that has run for long is restarted at once."""
        one = self.running()
        one._beats.stop()
        self.clock.advance(3600)
        with capturedLogs() as logs:
            self.workers[0].end()
        self.assertEqual("worker 0 (pid 100) exited; restarting it at once", formatEvent(logs[0]))
        self.clock.advance(0)
        self.assertEqual(3, len(self.workers))

    def test_cannot_restart(self) -> None:
        """If no process can be started, the supervisor logs it and tries again later."""
        self.running()
        self.workers[0].end()
        self.cannot_start.add(0)
        with capturedLogs() as logs:
            self.clock.advance(0.5)
        self.assertEqual("cannot start worker 0: Resource temporarily unavailable", formatEvent(logs[0]))
        self.cannot_start.clear()
        self.clock.advance(0.5)
        self.assertEqual(2, len(self.workers))
        self.clock.advance(0.5)
        self.assertEqual(3, len(self.workers))

    def test_stop(self) -> None:
        """All workers stop, with a limit behind the drain; the stop ends with the last of them."""
        one = self.running()
        stopping = one.stopService()
        self.assertEqual([[(STOP, "")]] * 2, self.orders())
        self.assertEqual([[(7 + STOP_GRACE_S, "end")]] * 2, [worker.limits for worker in self.workers])
        self.workers[0].report(READY)  # it was under way
        self.assertEqual([(7 + STOP_GRACE_S, "end")], self.workers[0].limits)
        self.workers[0].end()
        self.assertNoResult(stopping)
        self.workers[1].end()
        self.successResultOf(stopping)
        self.workers[1].end()
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_stop_during_a_pause(self) -> None:
        """A stop cancels restarts; without workers it ends at once."""
        one = self.running()
        for worker in self.workers:
            worker.end()
        self.assertEqual(3, len(self.clock.getDelayedCalls()))
        self.successResultOf(one.stopService())
        self.assertEqual([], self.clock.getDelayedCalls())

    def test_end_now(self) -> None:
        """An immediate end skips the drain, whether it comes during the stop or before it."""
        one = self.running()
        one.stopService()
        one.end_now()
        self.assertEqual([[(STOP, ""), (END, "")]] * 2, self.orders())
        self.assertEqual((STOP_GRACE_S, "end"), self.workers[0].limits[-1])
        self.workers.clear()
        one = self.running()
        one.end_now()
        self.assertEqual([[]] * 2, self.orders())
        one.stopService()
        self.assertEqual([[(END, "")]] * 2, self.orders())
        self.assertEqual([(STOP_GRACE_S, "end")], self.workers[0].limits)

    def test_invalid(self) -> None:
        """A configuration that cannot be built is refused before a worker starts."""
        text = f'{TEXT}[default]\nresolver = "x"\n[resolver.x]\ntype = "pigeon"\n'
        error = self.assertRaises(ConfigError, self.supervisor, text)
        self.assertIn("resolver.x.type", str(error))
        self.assertEqual([], self.workers)
