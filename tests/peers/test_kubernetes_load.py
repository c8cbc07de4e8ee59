"""Clients all the time, while a Service of a real API server changes."""

from __future__ import annotations

import contextlib
import io
import socket
import tempfile
import threading
from collections.abc import Callable

from sniproxy import ctl
from sniproxy.resolvers.kubernetes import api
from tests.peers.kubernetes import until
from tests.peers.kubernetescase import SLICES, PodsCase
from tests.support import kubernetesapi
from tests.support.hellos import hello
from tests.support.proxies import Proxy
from tests.support.sockets import TIMEOUT_S, in_thread, read_exactly

NAME = "broker-0.test"
CHANGES = 300
LIVE = 20
PAUSE_S = 0.002
"""Seconds between two new clients, and between two rounds of messages."""

SHORT_WATCH_S = 2
"""Seconds of a watch, in place of a minute: a lost permission is noticed at its end."""


def own_address() -> str:
    """An address of this machine that a pod may have; it is not a loopback address, which the API server refuses."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("192.0.2.1", 9))  # sends nothing
        return str(probe.getsockname()[0])


class Pod:
    """A server on the machine's own address. It answers a hello with a letter, and echoes what follows."""

    def __init__(self, case: PodsCase, letter: bytes) -> None:
        self.letter = letter
        self._sock = socket.create_server((own_address(), 0), backlog=128)
        self.port: int = self._sock.getsockname()[1]
        case.addCleanup(self._sock.close)
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                client, _ = self._sock.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            read_exactly(client, len(hello(name=NAME)))
            client.sendall(self.letter)
            while data := client.recv(4096):
                client.sendall(data)


class Clients:
    """Clients in two threads: some whose tunnels stay, and new ones all the time.

    @ivar faults: what went wrong. @ivar served: the number of new clients. @ivar last: the letter that the last got.
    """

    def __init__(self, port: int) -> None:
        self.faults: list[str] = []
        self.served, self.rounds = 0, 0
        self.last = b""
        self._port = port
        self._live = [self._open() for _ in range(LIVE)]
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(one,), daemon=True) for one in (self._new, self._echo)
        ]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads, then all tunnels."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(TIMEOUT_S)
        for client in self._live:
            client.close()

    def _open(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self._port), timeout=TIMEOUT_S)
        client.sendall(hello(name=NAME))
        self.last = read_exactly(client, 1)
        return client

    def _run(self, once: Callable[[], None]) -> None:
        while not self._stopped.wait(PAUSE_S):
            try:
                once()
            except (OSError, AssertionError) as error:
                self.faults.append(f"{once.__name__}: {error!r}")
                return

    def _new(self) -> None:
        self._open().close()
        self.served += 1

    def _echo(self) -> None:
        self.rounds += 1
        for client in self._live:
            client.sendall(b"%8d" % self.rounds)
        for client in self._live:
            if (got := read_exactly(client, 8)) != b"%8d" % self.rounds:
                raise AssertionError(f"round {self.rounds}: {got!r}")


class LoadTests(PodsCase):
    """All that happens to an API server, with clients."""

    async def move(self, pod: Pod) -> None:
        """Let the broker be this pod."""
        where = kubernetesapi.endpoint_slice(
            "broker-x", kubernetesapi.pod("broker-0", own_address()), ports=[{"name": "tls", "port": pod.port}]
        )
        await self.server.put("endpointslices", where)

    async def moves(self, pod: Pod) -> None:
        """Let the broker be this pod, and wait until a new client reaches it."""
        await self.move(pod)
        await until(lambda: self.clients.last == pod.letter or self.clients.faults)

    async def status(self) -> str:
        """What an operator sees."""
        out = io.StringIO()
        await in_thread(ctl.main, ["status", self.admin], ctl.Streams(io.BytesIO(), out, out))
        return out.getvalue()

    async def shows(self, text: str) -> None:
        """Wait until the status has a text."""
        while text not in await self.status():
            pass

    async def test_changes(self) -> None:
        """New clients follow each change, none is refused, and open tunnels notice nothing, whatever the API does.

        It is killed and started, the token is replaced, permissions are taken away and given back. The last answer
        serves meanwhile, and the status says what is wrong.
        """
        self.patch(api, "WATCH_S", SHORT_WATCH_S)
        pods = Pod(self, b"a"), Pod(self, b"b")
        await self.move(pods[1])
        # The path of a socket has at most 107 bytes.
        self.admin = f"unix:{self.enterContext(tempfile.TemporaryDirectory())}/admin.sock"
        proxy = Proxy(
            self,
            f'[[route]]\nserver_name = "{NAME}"\nresolver = "pods"\n[admin]\nendpoint = "{self.admin}"\n'
            f'[resolver.pods]\ntype = "kubernetes"\nserver = "{self.server.url}"\nnamespace = "pulsar"\n'
            f'trust = "{self.server.trust.absolute()}"\ntoken_file = "{self.folder.absolute()}/token"\n'
            f'service = "broker"\nname = "{{pod}}.test"\nnetworks = ["{own_address()}/32"]\n',
        )
        self.clients = clients = await in_thread(Clients, proxy.port)
        self.addCleanup(in_thread, clients.stop)
        for number in range(CHANGES):
            await self.moves(pods[number % 2])
            if number == CHANGES // 4:
                self.server.kill()
                await self.shows("cannot connect")
                await self.passes()
                self.server.start()
                await self.server.until_ready()
            elif number == CHANGES // 2:
                await self.new_token()
            elif number == CHANGES * 3 // 4:
                await self.server.allow()
                await self.shows("allow list and watch on endpointslices")
                await self.passes()
                await self.server.allow(*SLICES)
        self.assertEqual([], clients.faults)
        self.assertEqual([], [one for one in proxy.records if one.result.value != "ok"])
        self.assertGreaterEqual(clients.served, CHANGES)

    async def passes(self) -> None:
        """Wait until new clients have been served, and all open tunnels have passed bytes."""
        served, rounds = self.clients.served + 5, self.clients.rounds + 2
        await until(lambda: self.clients.faults or (self.clients.served >= served and self.clients.rounds >= rounds))
