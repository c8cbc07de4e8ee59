"""A ZooKeeper from the brokers' jars, for tests without brokers. It starts within a second."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kazoo.client import KazooClient
from twisted.internet.threads import deferToThread

from sniproxy.resolvers.zookeeper.resolver import BROKERS_PATH
from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.peers.jvm import java_command
from tests.peers.material import BROKER_NAMES, Material

CONFIGURATION = """\
dataDir={folder}/data
tickTime=1000
clientPort={port}
clientPortAddress=127.0.0.1
secureClientPort={tls}
secureClientPortAddress=127.0.0.1
admin.enableServer=false
serverCnxnFactory=org.apache.zookeeper.server.NettyServerCnxnFactory
ssl.keyStore.location={folder}/own.pem
ssl.keyStore.type=PEM
ssl.trustStore.location={trust}
ssl.trustStore.type=PEM
"""

_SILENT = logging.Logger("silent")
_SILENT.addHandler(logging.NullHandler())


class ZooKeeper:
    """A ZooKeeper that can be killed and keeps its data. Its port `tls` requires a client certificate."""

    def __init__(self, folder: Path, material: Material) -> None:
        self.port, self.tls = free_ports(2)
        pair = material.brokers[BROKER_NAMES[0]]
        (folder / "own.pem").write_bytes(pair.key.read_bytes() + pair.certificate.read_bytes())
        self._folder = folder
        text = CONFIGURATION.format(folder=folder, port=self.port, tls=self.tls, trust=material.trust)
        (folder / "zoo.cfg").write_text(text)
        self.start()
        with self._client():
            """Whether it serves."""

    @property
    def servers(self) -> str:
        """The connection string for clients."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, also after a kill."""
        main = java_command("org.apache.zookeeper.server.ZooKeeperServerMain", "64m", "warn")
        self._child = Child([*main, str(self._folder / "zoo.cfg")], cwd=self._folder)

    def kill(self) -> None:
        """Kill it. Its sessions survive."""
        self._child.process.kill()
        self._child.stop()

    def stop(self) -> None:
        """Stop it for good."""
        self._child.stop()

    async def broker(self, name: str, port: int, acl: Any = None, below: str = "") -> str:
        """Create the node of a broker below a path. @return: the node's path."""
        path = f"{below}{BROKERS_PATH}/{name.partition('.')[0]}.internal:8080"
        url = f"pulsar+ssl://{name}:{port}"
        body = json.dumps({"advertisedListeners": {"external": {"brokerServiceUrlTls": url}}}).encode()
        await self._ask(lambda client: client.create(path, body, acl=acl, makepath=True))
        return path

    async def forget(self, path: str) -> None:
        """Delete a node, as at the end of a broker's session."""
        await self._ask(lambda client: client.delete(path))

    async def expire(self, client_id: Any) -> None:
        """End another client's session by taking it over and closing it."""

        def end() -> None:
            with self._client(client_id=client_id):
                """Do nothing."""

        await deferToThread(end)

    async def _ask(self, question: Callable[[KazooClient], object]) -> None:
        def ask() -> None:
            with self._client() as client:
                client.retry(question, client)

        await deferToThread(ask)

    @contextmanager
    def _client(self, **options: Any) -> Iterator[KazooClient]:
        """A client for one request. A permanent one has threads that open descriptors during other tests."""
        retry = {"max_tries": -1, "max_delay": 0.5}
        client = KazooClient(self.servers, connection_retry=retry, command_retry=retry, logger=_SILENT, **options)
        client.start(60)
        try:
            yield client
        finally:
            client.stop()
            client.close()
