"""A Service of Kubernetes in front of several proxies: new connections go to the ready ones, in turn."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterable

from tests.peers.proxy import Program


class Service:
    """Forwards TCP connections on `port` of 127.0.0.1. A connection stays with its pod while both keep it open."""

    def __init__(self, pods: Iterable[Program]) -> None:
        self._turns = itertools.count()
        self.set_ready(pods)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """The URL of the Service for a client with a proxy option."""
        return f"pulsar+ssl://127.0.0.1:{self.port}"

    def set_ready(self, pods: Iterable[Program]) -> None:
        """Send new connections to these pods only. Existing ones stay."""
        self._ready = [pod.port for pod in pods]

    def stop(self) -> None:
        """Accept no more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            port = self._ready[next(self._turns) % len(self._ready)]
            try:
                pod = socket.create_connection(("127.0.0.1", port))
            except OSError:
                client.close()
                continue
            for source, target in ((client, pod), (pod, client)):
                threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        for one in (source, target):
            one.close()
