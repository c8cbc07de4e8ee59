"""The installed package, away from its sources: one connection through ``twistd sniproxy``, byte for byte."""

import socket
import ssl
import subprocess
import sys
from pathlib import Path

import sniproxy

TWISTD = Path(sys.executable).parent / "twistd"


def hello(name: str) -> bytes:
    """The ClientHello of the standard library."""
    outgoing = ssl.MemoryBIO()
    connection = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def through(backend: socket.socket, name: str, *arguments: str) -> None:
    """A client comes with this name to a proxy with these arguments, and is led to the backend."""
    assert Path(sys.prefix) in Path(sniproxy.__file__).parents, f"not the installed package: {sniproxy.__file__}"
    proxy = subprocess.Popen(
        [TWISTD, "--pidfile=", "-n", "sniproxy", "--access-log", "-", *arguments], stdout=subprocess.PIPE, text=True
    )
    assert proxy.stdout is not None
    try:
        port = 0
        for line in proxy.stdout:
            print(line, end="")
            if "listening on" in line:
                port = int(line.rpartition(":")[2])
            if "ready:" in line:
                break
        with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
            sent = hello(name)
            client.sendall(sent)
            backend.settimeout(10)
            upstream, _ = backend.accept()
            with upstream:
                upstream.settimeout(10)
                got = b""
                while len(got) < len(sent):
                    got += upstream.recv(65536)
                assert got == sent
                upstream.sendall(b"answer")
                assert client.recv(6) == b"answer"
    finally:
        proxy.terminate()
        rest = proxy.stdout.read()
        print(rest, end="")
    assert '"result": "ok"' in rest


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as server:
        route = f"broker-1.pulsar.test=127.0.0.1:{server.getsockname()[1]}"
        through(server, "broker-1.pulsar.test", "--listen", "tcp:0:interface=127.0.0.1", "--route", route)
    print("smoke: one connection through the installed package")
