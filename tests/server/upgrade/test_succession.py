"""Tests for sniproxy.server.upgrade.succession: two and three proxies in one process, that upgrade each other."""

from __future__ import annotations

import os
import socket
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy.admin.slices import finish
from sniproxy.admin.upgrades import UpgradeReport
from sniproxy.server.upgrade import predecessor
from sniproxy.server.upgrade.channel import socket_pair
from sniproxy.server.upgrade.messages import Aborted, Inherited, Offer, Offered, Ready, encode
from sniproxy.server.upgrade.predecessor import Predecessor, read_offer
from sniproxy.server.upgrade.program import CHANNEL, Successor
from tests.support.adminendpoint import ADMIN
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy, open_tunnel
from tests.support.sockets import SocketTestCase, in_thread, read_exactly

PLAIN = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nname = "tap"\nplaintext = true\ninspect = "pulsar"\n'


class SuccessionCase(SocketTestCase):
    """Upgrades between proxies of this process. @ivar text: their configuration. @ivar ended: those that are to end."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        self.patch(predecessor, "end_capture", os.close)
        self.backend = Backend(self)
        self.text = f'{ADMIN}{LISTENER}{PLAIN}target = "{self.backend.address}"\n{route(self.backend.address)}'
        self.ended: list[Proxy] = []
        self.theirs: socket.socket | None = None

    def program(self) -> Any:
        nothing = lambda: None  # noqa: E731
        return SimpleNamespace(pid=1, ended=False, why=str, errors=list, kill=nothing, close=nothing)

    def start(self) -> tuple[Successor, socket.socket]:
        ours, self.theirs = socket_pair()
        return self.program(), ours

    async def upgraded(self, old: Proxy) -> tuple[Proxy, UpgradeReport]:
        """Upgrade a proxy. @return: the new one, and the report of the old one."""
        done, found = self.begin(old)
        new = Proxy(self, self.text, predecessor=found)
        in_charge: Deferred[bool] = Deferred()
        new.service.take_over(in_charge.callback)
        self.assertTrue(await in_charge)
        return new, await done

    def begin(self, old: Proxy) -> tuple[Deferred[UpgradeReport], Predecessor]:
        """Begin an upgrade. @return: fires with the report; what the new process sees."""
        done = old.service.upgrade(self.start, lambda pid: None, lambda: self.ended.append(old))
        assert self.theirs is not None
        found = read_offer(None, {CHANNEL: f"{self.theirs.detach()}:{os.open(os.devnull, os.O_WRONLY)}"})
        assert found is not None
        return done, found

    async def stays(self, proxy: Proxy) -> tuple[socket.socket, socket.socket]:
        """@return: both far ends of a tunnel that cannot move, because it is inspected."""
        client = proxy.connect("tap")
        self.addCleanup(client.close)
        client.sendall(b"x")
        target = await in_thread(self.backend.accept)
        self.addCleanup(target.close)
        await in_thread(read_exactly, target, 1)
        return client, target

    def counted(self, proxy: Proxy) -> tuple[int, int]:
        """What the metrics of a proxy have of the route's bytes, to targets and to clients."""
        site = proxy.service._observers._site
        assert site is not None
        tallies = site.metrics._tallies
        finish(tallies.count())
        return tallies.latest.up["public", NAME], tallies.latest.down["public", NAME]

    async def until(self, holds: Any) -> None:
        while not holds():
            await in_thread(int)

    async def check(self, ends: tuple[socket.socket, socket.socket]) -> None:
        """A tunnel moves bytes in both directions."""
        for source, sink in (ends, ends[::-1]):
            source.sendall(b"some bytes")
            self.assertEqual(b"some bytes", await in_thread(read_exactly, sink, 10))


class UpgradeTests(SuccessionCase):
    """Succession.upgrade and take_over."""

    async def test_moved(self) -> None:
        """A tunnel moves, and a new client is served by the new process; the old one is to end."""
        old = Proxy(self, self.text)
        address = old.service.addresses["public"]
        tunnel = await open_tunnel(self, old, self.backend, NAME)
        new, report = await self.upgraded(old)
        self.assertEqual((None, 1, 0), (report.why, report.moved, report.stayed))
        self.assertEqual((address, {}), (new.service.addresses["public"], old.service.addresses))
        await self.check(tunnel)
        await self.check(await open_tunnel(self, new, self.backend, NAME))
        self.assertEqual((0, 2), (old.service.connections, new.service.connections))
        await self.until(lambda: self.ended)
        self.assertEqual(([old], []), (self.ended, old.records))
        self.assertEqual([], new.service.view.old_processes)

    async def test_metrics(self) -> None:
        """The new process counts what follows: nothing that the old one has counted, and nothing below zero."""
        old = Proxy(self, self.text)
        client, target = tunnel = await open_tunnel(self, old, self.backend, NAME)
        await self.check(tunnel)
        while self.counted(old) != (10 + len(hello(name=NAME)), 10):  # the engine's thread counts after it has sent
            await in_thread(int)
        new, _ = await self.upgraded(old)
        self.assertEqual((10 + len(hello(name=NAME)), 10), self.counted(old))
        self.assertEqual((0, 0), self.counted(new))
        stats = new.service.view.target_stats
        self.assertEqual(
            (0, 1), (stats.known[self.backend.address].total, stats.known[self.backend.address].connections)
        )
        await self.check(tunnel)
        client.close()
        target.close()
        record = await new.ended()
        self.assertEqual((20 + len(hello(name=NAME)), 20), (record.bytes_up, record.bytes_down))
        self.assertEqual((10, 10), self.counted(new))
        self.assertEqual((10, 10), (stats.ended_up[self.backend.address], stats.ended_down[self.backend.address]))
        self.assertEqual(0, stats.known[self.backend.address].connections)

    async def test_retired(self) -> None:
        """A process without a successor keeps its tunnels and drains, and accepts no more, until its time is up."""
        for text, ends in (("[timeouts]\nupgrade_drain = 0.01\ndrain = 0\n", True), ("[timeouts]\ndrain = 0\n", False)):
            old = Proxy(self, self.text + text)
            tunnel = await open_tunnel(self, old, self.backend, NAME)
            address = old.service.addresses["public"]
            old.service.view.drain("other.test:1", 0.001, "target")
            old.service.retire(partial(self.ended.append, old))
            [drain] = old.service.view.drains._drains.values()
            self.assertTrue(drain.timer.active())
            self.assertRaises(OSError, socket.create_connection, address, 1)
            await self.check(tunnel)
            if ends:
                await self.until(lambda: self.ended)
            report = await old.service.upgrade(self.start, lambda pid: None, lambda: None)
            self.assertIn("another process has taken over", str(report.why))
            await old.service.stopService()
        self.assertEqual(1, len(self.ended))

    async def test_over(self) -> None:
        """When another process has taken over, this one neither reloads nor upgrades again."""
        old = Proxy(self, self.text)
        stays = await self.stays(old)
        await self.upgraded(old)
        self.assertEqual("another process has taken over", old.service.reload(lambda: old.service.configuration))
        again = await old.service.upgrade(self.start, lambda pid: None, lambda: None)
        self.assertEqual("another process has taken over", again.why)
        await self.check(stays)

    async def test_stays(self) -> None:
        """What cannot move is shown, with the time of its end, until it has ended."""
        old = Proxy(self, self.text)
        client, target = stays = await self.stays(old)
        new, report = await self.upgraded(old)
        self.assertEqual((0, 1), (report.moved, report.stayed))
        await self.until(lambda: [one.ends is not None for one in new.service.view.old_processes] == [True])
        self.assertEqual([1], [one.tunnels for one in new.service.view.old_processes])
        await self.check(stays)
        client.close()
        target.close()
        await old.ended()
        await self.until(lambda: self.ended and not new.service.view.old_processes)

    async def test_time_is_up(self) -> None:
        """C{upgrade_drain} seconds later the old process ends, whatever it has."""
        self.text = f"[timeouts]\nupgrade_drain = 0\n{self.text}"
        old = Proxy(self, self.text)
        await self.stays(old)
        await self.upgraded(old)
        await self.until(lambda: self.ended)
        self.assertEqual(1, old.service.connections)

    async def test_chain(self) -> None:
        """A process knows all older ones, which move their tunnels to it."""
        first = Proxy(self, self.text)
        client = first.connect()
        self.addCleanup(client.close)
        client.sendall(hello(name=NAME)[:20])
        await self.until(lambda: first.service.connections)
        second, _ = await self.upgraded(first)
        third, _ = await self.upgraded(second)
        await self.until(lambda: [one.tunnels for one in third.service.view.old_processes] == [1])
        self.assertEqual([], second.service.view.old_processes)
        client.sendall(hello(name=NAME)[20:])
        target = await in_thread(self.backend.accept)
        self.addCleanup(target.close)
        await in_thread(read_exactly, target, len(hello(name=NAME)))
        await self.until(lambda: third.service.connections)
        await self.check((client, target))
        await self.until(lambda: first in self.ended and second in self.ended)

    async def test_stop_reaches(self) -> None:
        """A stop of the process in charge stops all processes before it; a stop of one of those stops no other."""
        first = Proxy(self, self.text)
        await self.stays(first)
        second, _ = await self.upgraded(first)
        await self.stays(second)
        third, _ = await self.upgraded(second)
        await self.until(lambda: len(third.service.view.old_processes) == 2)
        await self.stays(third)
        second.service._succession.stop()
        await self.until(lambda: len(third.service.view.old_processes) == 1)
        self.assertEqual([], self.ended)
        third.service._succession.stop()
        await self.until(lambda: self.ended)
        self.assertEqual([first], self.ended)

    async def test_reopen(self) -> None:
        """After a rotation of the logs, the processes before write to the new file, too."""
        path = Path(self.mktemp()).absolute()
        self.text = f'[access_log]\npath = "{path}"\n{self.text}'
        first = Proxy(self, self.text)
        ends = await self.stays(first)
        second, _ = await self.upgraded(first)
        others = await self.stays(second)
        third, _ = await self.upgraded(second)
        await self.until(lambda: len(third.service.view.old_processes) == 2)
        path.rename(f"{path}.1")
        third.service.reopen_logs()
        for proxy, sockets in ((first, ends), (second, others)):
            await self.until(lambda proxy=proxy: self.log_of(proxy) == path.stat().st_ino)
            for sock in sockets:
                sock.close()
        await self.until(lambda: path.read_text().count("\n") == 2)
        self.assertEqual("", Path(f"{path}.1").read_text())

    def log_of(self, proxy: Proxy) -> int:
        """The inode of the file that a proxy has open as access log."""
        log = proxy.service._observers._access_log
        assert log is not None and log._writer is not None
        return os.fstat(log._writer._fd).st_ino

    async def test_drains(self) -> None:
        """A drain continues in the processes before, and follows those of the process in charge."""
        first = Proxy(self, self.text)
        client, _ = await self.stays(first)
        first.service.view.drain("before.test:1", 0.001, "target")
        second, _ = await self.upgraded(first)
        [left] = first.service.view.drains._drains.values()
        self.assertTrue(left.timer.active())
        await self.stays(second)
        second.service.view.drain(NAME, 0.001)
        second.service.view.drain(self.backend.address, 0.001)
        third, _ = await self.upgraded(second)
        third.service.view.undrain(NAME)
        third.service.view.undrain("before.test:1")
        third.service.view.drain("later.test:1", 0.001, "target")
        names = {self.backend.address, "later.test:1"}
        for proxy in (first, second, third):
            await self.until(lambda proxy=proxy: {one.name for one in proxy.service.view.drains.status()} == names)
        third.service.view.drain(self.backend.address, 1000.0)
        self.assertEqual(b"", await in_thread(client.recv, 1))
        await self.until(lambda: first in self.ended and second in self.ended)

    async def test_faults(self) -> None:
        """A fault that was added to the old process goes on counting in the new one."""
        old = Proxy(self, self.text)
        old.service.view.add_fault({"action": "reset", "name": "third", "nth": "3"})
        for _ in range(2):
            await self.check(await open_tunnel(self, old, self.backend, NAME))
        new, _ = await self.upgraded(old)
        self.assertEqual([(2, 0)], [(one.matched, one.applied) for one in new.service.view.faults.rules])
        client = new.connect()
        self.addCleanup(client.close)
        client.sendall(hello(name=NAME))
        target = await in_thread(self.backend.accept)
        self.addCleanup(target.close)
        await self.until(lambda: new.service.view.faults.counts["reset"])

    async def test_aborted_late(self) -> None:
        """If this process has begun to accept and the old one continues, it drains nothing and closes its sockets."""
        old = Proxy(self, self.text)
        old.service.view.drain(NAME, 0.001)
        done, found = self.begin(old)
        new = Proxy(self, self.text, predecessor=found)
        in_charge: Deferred[bool] = Deferred()
        new.service.take_over(in_charge.callback)
        release = new.service._succession._listening.release

        def released() -> None:
            release()
            old.service._succession._upgrade._fail("a reason")  # type: ignore[union-attr]

        self.patch(new.service._succession._listening, "release", released)
        self.assertFalse(await in_charge)
        self.assertEqual("a reason", (await done).why)
        self.assertEqual((False, {}), (new.service.view.ready, new.service.addresses))
        self.assertEqual([None], [one.timer for one in new.service.view.drains._drains.values()])
        new.service.view.undrain(NAME)
        new.service.reopen_logs()
        self.assertEqual([NAME], [one.name for one in old.service.view.drains.status()])
        old.service.view.undrain(NAME)
        await self.check(await open_tunnel(self, old, self.backend, NAME))

    async def test_not_in_charge(self) -> None:
        """If the old process continues, this one does not accept."""
        old = Proxy(self, self.text)
        done, found = self.begin(old)
        new = Proxy(self, self.text, predecessor=found)
        in_charge: Deferred[bool] = Deferred()
        new.service.take_over(in_charge.callback)
        old.service._succession._upgrade._fail("a reason")  # type: ignore[union-attr]
        self.assertFalse(await in_charge)
        self.assertEqual("a reason", (await done).why)
        await self.check(await open_tunnel(self, old, self.backend, NAME))
        self.assertFalse(new.service.view.ready)
        await new.service.stopService()
        await self.check(await open_tunnel(self, old, self.backend, NAME))

    async def test_stop_early(self) -> None:
        """The new process stops before it is in charge: the old one still accepts."""
        self.text = f"[timeouts]\ndrain = 0\n{self.text}"
        old = Proxy(self, self.text)
        done, found = self.begin(old)
        new = Proxy(self, self.text, predecessor=found)
        await new.service.stopService()
        await self.check(await open_tunnel(self, old, self.backend, NAME))
        await old.service.stopService()
        self.assertEqual("the proxy is stopping", (await done).why)
        self.assertFalse(old.service.view.ready)
        found._sock.close()
        os.close(found._standard_error)

    async def test_cannot_start(self) -> None:
        """A stop after an upgrade that has not begun."""
        old = Proxy(self, self.text)

        def start() -> tuple[Successor, socket.socket]:
            from sniproxy.server.upgrade.program import CannotStart

            raise CannotStart("no memory")

        self.assertEqual("no memory", (await old.service.upgrade(start, lambda pid: None, lambda: None)).why)
        await old.service.stopService()

    async def test_stop(self) -> None:
        """A stop of the old process ends an upgrade."""
        old = Proxy(self, self.text)
        done, found = self.begin(old)
        await old.service.stopService()
        self.assertEqual("the proxy is stopping", (await done).why)
        found._sock.close()
        os.close(found._standard_error)
        found.forget_rest()

    async def test_inherited(self) -> None:
        """Messages of older processes that concern an upgrade are ignored."""
        old = Proxy(self, self.text)
        new, _ = await self.upgraded(old)
        ours, theirs = socket_pair()
        with theirs, ours:
            [receiver] = new.service._succession._receivers
            receiver._others(Inherited(1, 7, 3, None), [ours.dup().detach()])
            self.assertEqual([7], [one.pid for one in new.service.view.old_processes])
            theirs.send(encode(Aborted()))
            theirs.send(encode(Ready(1, 1, ())))
            theirs.send(encode(Offered()))
            theirs.send(encode(Offer((1,), "x", 1, 1)))
            theirs.close()
            await self.until(lambda: not new.service.view.old_processes)
        await self.until(lambda: old in self.ended)
        third, _ = await self.upgraded(new)  # a process that has ended is not passed on
        self.assertEqual([], third.service.view.old_processes)
