"""Which backend does a hello reach through a proxy? For comparing two proxies with the same names."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from threading import Thread

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.tls.alerts import alert_name
from tests.support.hellos import hello
from tests.support.sockets import TIMEOUT_S

ALERT, HANDSHAKE = 21, 22
_RANDOM = 11
"""Where the random begins: behind the headers of record and message, and the version."""


class Backends:
    """Loopback listeners that answer the first bytes of each client with their own name, and close."""

    def __init__(self, case: SynchronousTestCase, names: Iterable[str] = ()) -> None:
        self._case = case
        self.addresses: dict[str, str] = {}
        """``host:port`` by name."""
        for name in names:
            self.add(name)

    def add(self, name: str, host: str = "127.0.0.1", port: int = 0) -> int:
        """Listen. @return: the port."""
        listening = socket.create_server((host, port), backlog=64, reuse_port=False)
        self._case.addCleanup(listening.close)
        # Closing a socket does not wake a thread that waits in accept; shutting it down does.
        self._case.addCleanup(listening.shutdown, socket.SHUT_RDWR)
        number: int = listening.getsockname()[1]
        self.addresses[name] = f"{host}:{number}"
        Thread(target=_serve, args=(listening, name), daemon=True).start()
        return number

    def port(self, name: str) -> int:
        """The port of a backend."""
        return int(self.addresses[name].rpartition(":")[2])


def _serve(listening: socket.socket, name: str) -> None:
    while True:
        try:
            sock, _ = listening.accept()
        except OSError:
            return
        with sock:
            sock.settimeout(TIMEOUT_S)
            try:
                if sock.recv(65536):
                    sock.sendall(f"backend {name}\n".encode())
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(65536):
                        pass
            except OSError:
                continue


def reached(
    address: tuple[str, int], server_name: str | bytes | None, header: bytes = b"", source: str | None = None
) -> str:
    """Send a hello to a proxy. @param server_name: None: the hello has none. @param header: sent before it.

    @param source: the client's address. None: the system's choice.
    @return: the name of the backend; ``alert NAME``; ``TLS`` if the proxy itself answers the handshake; ``closed``;
        ``reset``; ``refused``; or ``silent``.
    """
    first = hello(name=server_name)
    # Each with a random of its own, as clients have: the proxy takes two alike at once for a loop.
    first = first[:_RANDOM] + os.urandom(32) + first[_RANDOM + 32 :]
    received = b""
    try:
        where = None if source is None else (source, 0)
        with socket.create_connection(address, timeout=TIMEOUT_S, source_address=where) as client:
            client.sendall(header + first)
            while (found := _whole(received)) is None:
                more = client.recv(65536)
                if not more:
                    return "closed"
                received += more
            return found
    except ConnectionRefusedError:
        return "refused"
    except TimeoutError:
        return "silent"
    except OSError:
        return "reset"


def _whole(received: bytes) -> str | None:
    """The answer; None: it is incomplete."""
    if received.startswith(b"backend "):
        return received[8:].decode().strip() if received.endswith(b"\n") else None
    if received[:1] == bytes((HANDSHAKE,)):
        return "TLS"
    if received[:1] == bytes((ALERT,)):
        return f"alert {alert_name(received[6])}" if len(received) >= 7 else None
    return f"unknown answer {received[:20]!r}" if received and not b"backend ".startswith(received) else None


def differences(
    names: Iterable[str | None], one: Mapping[str, tuple[str, int]], other: Mapping[str, tuple[str, int]]
) -> list[str]:
    """Send each name to both proxies. @param one, other: the address of each listener, by the same keys.

    @return: a line for each name that reaches different backends. Refusals of any kind are the same.
    """
    found = []
    for name in names:
        for key in one:
            first, second = (_destination(reached(addresses[key], name)) for addresses in (one, other))
            if first != second:
                found.append(f"{name!r} at {key}: {first}, and here {second}")
    return found


def _destination(answer: str) -> str:
    refusals = ("alert ", "closed", "reset", "TLS")
    return "(refused)" if answer.startswith(refusals) else answer
