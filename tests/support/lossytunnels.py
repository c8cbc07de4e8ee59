"""Moves random data through a twistd process over a lossy line, and checks each byte. For L{tests.test_lossy_line}.

``python -m tests.support.lossytunnels RELAY`` runs inside L{tests.support.lossyline}. It starts a proxy with this
relay, and exits with 0 if all data and the access log are right.
"""

from __future__ import annotations

import json
import random
import re
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

from tests.support.hellos import hello
from tests.support.lossyline import MIRROR
from tests.support.sockets import TIMEOUT_S, read_exactly, read_to_end
from tests.support.twistdprocess import ENVIRONMENT, TWISTD

CONFIGURATION = """
relay = "{relay}"
[[listener]]
endpoint = "tcp:0"
[[route]]
server_name = "a.test"
target = "{target}"
[access_log]
path = "{log}"
"""

TUNNELS, AT_ONCE = 200, 25
NAME = "a.test"
MAX_BYTES = 1 << 18
SMALL_BUFFER = 4096
"""Bytes of a receive buffer that is soon full, so that the proxy must hold bytes and wait."""

_INDEX_BYTES = 4
_OPEN = b"!"
_CLIENT, _TARGET = 0, 1


def data(index: int, side: int) -> bytes:
    """What one side of a tunnel sends. Some send nothing."""
    dice = random.Random(2 * index + side)
    return dice.randbytes(int(MAX_BYTES ** dice.random()) - 1)


def _receive(sock: socket.socket, index: int, side: int) -> None:
    came, sent = read_to_end(sock), data(index, side)
    if sha256(came).digest() != sha256(sent).digest():
        raise AssertionError(f"tunnel {index}, from {side}: {len(came)} bytes came, {len(sent)} were sent, or others")


def _send(sock: socket.socket, index: int, side: int) -> None:
    sock.sendall(data(index, side))
    sock.shutdown(socket.SHUT_WR)


def _both(pool: ThreadPoolExecutor, sock: socket.socket, index: int, side: int) -> None:
    """Send and receive: a third of the sides at the same time, a third one after the other."""
    if index % 3 == side:  # waits for the other's end
        _receive(sock, index, 1 - side)
        _send(sock, index, side)
        return
    sending = pool.submit(_send, sock, index, side)
    _receive(sock, index, 1 - side)
    sending.result()


def _target(pool: ThreadPoolExecutor, sock: socket.socket) -> None:
    with sock:
        sock.settimeout(TIMEOUT_S)
        first = read_exactly(sock, len(hello(name=NAME)) + _INDEX_BYTES)
        index = int.from_bytes(first[-_INDEX_BYTES:], "big")
        sock.sendall(_OPEN)
        if index % 4 == 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        _both(pool, sock, index, _TARGET)


def _client(pool: ThreadPoolExecutor, port: int, index: int) -> None:
    with socket.socket() as sock:
        if index % 4 == 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BUFFER)
        sock.settimeout(TIMEOUT_S)
        sock.connect((MIRROR, port))
        sock.sendall(hello(name=NAME) + index.to_bytes(_INDEX_BYTES, "big"))
        read_exactly(sock, len(_OPEN))  # an end before the tunnel is open would count as leaving
        _both(pool, sock, index, _CLIENT)


def _tunnels(port: int, listener: socket.socket) -> None:
    with (
        ThreadPoolExecutor(AT_ONCE) as clients,
        ThreadPoolExecutor(TUNNELS) as targets,
        ThreadPoolExecutor(2 * TUNNELS) as senders,
    ):
        running = [clients.submit(_client, senders, port, index) for index in range(TUNNELS)]
        running += [targets.submit(_target, senders, listener.accept()[0]) for _ in range(TUNNELS)]
        for one in running:
            one.result()


def _check_records(lines: list[str]) -> None:
    """The access log has a complete record of each tunnel."""
    records = [json.loads(line) for line in lines]
    first = len(hello(name=NAME)) + _INDEX_BYTES
    sizes = [(first + len(data(index, _CLIENT)), len(_OPEN) + len(data(index, _TARGET))) for index in range(TUNNELS)]
    found = [("ok", record["bytes_up"], record["bytes_down"]) for record in records]
    if sorted(found) != sorted(("ok", *size) for size in sizes):
        raise AssertionError(f"records: {[record for record in records if record['result'] != 'ok'] or found}")


def main(relay: str) -> None:
    with socket.create_server(("", 0), backlog=TUNNELS) as listener, tempfile.TemporaryDirectory() as folder:
        listener.settimeout(TIMEOUT_S)
        file, log = Path(folder, "proxy.toml"), Path(folder, "access.log")
        target = f"{MIRROR}:{listener.getsockname()[1]}"
        file.write_text(CONFIGURATION.format(relay=relay, target=target, log=log))
        command = [*TWISTD, "--config", str(file)]
        proxy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)
        try:
            assert proxy.stdout is not None
            said = ""
            while "ready:" not in said:
                line = proxy.stdout.readline()
                assert line, said
                said += line
            found = re.search(r"listening on .*:(\d+)", said)
            assert found and f"relay: {relay}" in said, said
            _tunnels(int(found[1]), listener)
            proxy.terminate()
            proxy.stdout.read()
            proxy.wait()
            _check_records(log.read_text().splitlines())
        finally:
            proxy.kill()
            proxy.wait()


if __name__ == "__main__":
    main(sys.argv[1])
