"""Tests for sniproxy.server.upgrade.listening, with a running proxy."""

from __future__ import annotations

import os
import socket
import tempfile

from twisted.logger import capturedLogs, formatEvent

from sniproxy.server.upgrade import listening
from sniproxy.server.upgrade.listening import Listening
from sniproxy.server.upgrade.messages import Drain, FaultState
from tests.support.adminendpoint import ADMIN
from tests.support.conversation import NAME, route
from tests.support.hellos import hello
from tests.support.proxies import LISTENER, Backend, Proxy
from tests.support.sockets import TIMEOUT_S, SocketTestCase, in_thread, read_exactly


class ListeningTests(SocketTestCase):
    """Listening."""

    def start(self, more: str = ADMIN, listener: str = LISTENER) -> Proxy:
        self.backend = Backend(self)
        proxy = Proxy(self, listener + route(self.backend.address) + more)
        self.listening = Listening(proxy.service._listeners, proxy.service._observers, proxy.service.view)
        return proxy

    async def served(self, client: socket.socket) -> None:
        """A client's connection becomes a tunnel."""
        with client, await in_thread(self.backend.accept) as target:
            await in_thread(read_exactly, target, len(hello(name=NAME)))

    def test_sockets(self) -> None:
        """The sockets of listeners, and that of the admin endpoint."""
        proxy = self.start()
        (text, sock, admin), (admin_text, admin_sock, is_admin) = self.listening.sockets()
        self.assertEqual(("tcp:0:interface=127.0.0.1:backlog=1024", False), (text, admin))
        self.assertEqual(proxy.service.addresses["public"], sock.getsockname())
        self.assertEqual(("tcp:0:interface=127.0.0.1:backlog=1024", True), (admin_text, is_admin))
        self.assertEqual(proxy.service.admin_address, admin_sock.getsockname())

    async def test_no_admin(self) -> None:
        """There may be no admin endpoint."""
        proxy = self.start("")
        self.assertEqual(1, len(self.listening.sockets()))
        self.listening.hold()
        self.listening.release()
        client = proxy.connect()
        client.sendall(hello(name=NAME))
        await self.served(client)
        self.listening.hand_over([])
        self.assertEqual([], self.listening.sockets())

    async def test_hold(self) -> None:
        """Meanwhile clients wait, those of the admin endpoint too, and the proxy is not ready; then all are served."""
        proxy = self.start()
        self.listening.hold()
        client = proxy.connect()
        client.sendall(hello(name=NAME))
        address = proxy.service.admin_address
        assert address is not None
        asking = socket.create_connection(address, TIMEOUT_S)
        self.addCleanup(asking.close)
        asking.sendall(b"GET /ready HTTP/1.0\r\n\r\n")
        for _ in range(5):
            await in_thread(int)
        self.assertEqual((0, False), (proxy.service.connections, proxy.service.view.ready))
        asking.setblocking(False)
        self.assertRaises(BlockingIOError, asking.recv, 1)
        asking.settimeout(TIMEOUT_S)
        self.listening.release()
        self.assertTrue(proxy.service.view.ready)
        await self.served(client)
        self.assertIn(b"200", await in_thread(asking.recv, 99))

    async def test_hand_over(self) -> None:
        """A socket that another process has is not shut down: clients that wait, and later ones, are that process's."""
        proxy = self.start()
        address, admin = proxy.service.addresses["public"], proxy.service.admin_address
        assert admin is not None
        mine = [(sock, sock.dup()) for _, sock, _ in self.listening.sockets()]
        self.listening.hold()
        waiting = [socket.create_connection(each, TIMEOUT_S) for each in (address, admin)]
        self.listening.hand_over([sock for sock, _ in mine])
        self.assertEqual(
            ([], {}, []), (self.listening.sockets(), proxy.service.addresses, proxy.service._listeners.sockets)
        )
        later = [socket.create_connection(each, TIMEOUT_S) for each in (address, admin)]
        for number, (_, sock) in enumerate(mine):
            sock.settimeout(TIMEOUT_S)
            for client in (waiting[number], later[number]):
                accepted, peer = await in_thread(sock.accept)
                self.assertEqual(client.getsockname(), peer)
                accepted.close()
                client.close()
            sock.close()

    async def test_not_taken(self) -> None:
        """A socket that the new process does not use is closed here, after the clients that wait were accepted."""
        proxy = self.start("")
        self.listening.hold()
        client = proxy.connect()
        client.sendall(hello(name=NAME))
        self.listening.hand_over([])
        await self.served(client)

    async def test_unix(self) -> None:
        """A UNIX socket keeps its path, and another process may lock it."""
        folder = tempfile.mkdtemp()
        path = f"{folder}/proxy"
        self.addCleanup(os.rmdir, folder)
        self.start(f'[admin]\nendpoint = "unix:{folder}/admin"\n', f'[[listener]]\nendpoint = "unix:{path}"\n')
        mine = [(sock, sock.dup()) for _, sock, _ in self.listening.sockets()]
        self.listening.hand_over([sock for sock, _ in mine])
        for name, (_, sock) in zip(("proxy", "admin"), mine, strict=True):
            with sock, socket.socket(socket.AF_UNIX) as client:
                client.connect(f"{folder}/{name}")
            os.unlink(f"{folder}/{name}")
        self.assertEqual([], os.listdir(folder))

    def test_drains(self) -> None:
        """Drains continue, also of targets that are not known yet; a name of no known kind is reported."""
        proxy = self.start("")
        with capturedLogs() as logs:
            self.listening.drain(
                [Drain(self.backend.address, 3.0), Drain("new.test:1", 2.0, "target"), Drain("nowhere.test:1", 1.0)]
            )
        self.assertIn("upgrade: cannot continue the drain of nowhere.test:1: ", [
            formatEvent(event) for event in logs][-1])  # fmt: skip
        self.assertEqual(
            (Drain(self.backend.address, 3.0, "target"), Drain("new.test:1", 2.0, "target")), self.listening.drains()
        )
        self.listening.hand_over([])
        drains = proxy.service.view.drains._drains.values()
        self.assertEqual([True, True], [one.timer.active() for one in drains])
        self.listening.leave()
        self.assertEqual([None, None], [one.timer for one in drains])

    def test_faults(self) -> None:
        """Faults that were added continue, and all continue to count; one that does not fit here is reported."""
        fault = '[[fault]]\naction = "reset"\nafter_bytes = 9\nnth = 3\nname = "written"\n'
        old = self.start(fault)
        handing = self.listening
        old.service.view.add_fault({"action": "cut", "name": "added", "probability": "0.25", "times": "2"})
        old.service.view.add_fault({"action": "cut", "name": "elsewhere", "listener": "public"})
        for count, rule in enumerate(old.service.view.faults.rules, start=1):
            rule.matched, rule.applied = 2 * count, count
        new = self.start(fault, LISTENER.replace("public", "other"))
        with capturedLogs() as logs:
            self.listening.take_faults(handing.faults())
        self.assertEqual(
            [("written", 2, 1, False), ("added", 4, 2, True)],
            [(one["name"], one["matched"], one["applied"], one["added"]) for one in new.service.view.faults.document()],
        )
        self.assertEqual(old.service.view.faults.rules[1].fault, new.service.view.faults.rules[1].fault)
        said = [formatEvent(event) for event in logs]
        self.assertIn("upgrade: cannot continue the fault elsewhere: listener: no listener has this name", said[-1])
        self.assertIn("fault added taken over: cut: ", said[0])
        changed = self.start(fault.replace("9", "8"), LISTENER.replace("public", "other"))
        self.listening.take_faults(handing.faults()[:1])
        self.assertEqual([0], [one["matched"] for one in changed.service.view.faults.document()])
        gone = self.start("", LISTENER.replace("public", "other"))
        self.listening.take_faults([FaultState({"action": "explode"}, 1, 1, False), *handing.faults()[:1]])
        self.assertEqual([], gone.service.view.faults.rules)

    def test_long_faults(self) -> None:
        """Faults that are too long for the message are left out, which the log says."""
        proxy = self.start("", '[[listener]]\nname = "tap"\nendpoint = "tcp:0:interface=127.0.0.1"\nplaintext = true\n'
                           'target = "127.0.0.1:1"\n')  # fmt: skip
        for name in "abc":
            message = name * 30_000
            proxy.service.view.add_fault(
                {"action": "error", "on": "LOOKUP", "error": "TooManyRequests", "message": message, "name": name}
            )
        with capturedLogs() as logs:
            self.assertEqual(["a", "b"], [one.values["name"] for one in self.listening.faults()])
        self.assertEqual(
            ["upgrade: fault c is not handed over: faults are too long"], [formatEvent(event) for event in logs]
        )

    def test_reopen(self) -> None:
        """All logs are reopened; that of twistd if another process has rotated it."""
        proxy = self.start("")
        opened: list[str] = []
        self.patch(proxy.service._observers, "reopen", lambda: opened.append("access log"))
        self.patch(listening, "reopen_file", lambda: opened.append("twistd"))
        self.listening.reopen()
        self.assertEqual(["access log"], opened)
        self.listening.follow_rotation()
        self.assertEqual(["access log", "access log", "twistd"], opened)

    def test_follow(self) -> None:
        """It drains exactly what another process drains; what has not changed is not begun again."""
        proxy = self.start("")
        same, slow = Drain("same.test:1", 3.0, "target"), Drain("slow.test:1", 1.0, "target")
        self.listening.drain([same, slow, Drain("x", 1.0, "target"), Drain("x", 1.0, "route")])
        fast, new = Drain("slow.test:1", 9.0, "target"), Drain("new.test:1", 2.0, "target")
        with capturedLogs() as logs:
            self.listening.follow([same, fast, new, Drain("x", 1.0, "route")])
        self.assertEqual({same, fast, new, Drain("x", 1.0, "route")}, set(self.listening.drains()))
        said = "".join(formatEvent(event) for event in logs)
        self.assertNotIn("same.test", said)
        self.listening.follow([])
        self.assertEqual((), self.listening.drains())
        proxy.service.view.drains.stop()
