"""The installed package, away from its sources: one connection through ``twistd sniproxy``, byte for byte."""

import socket
import ssl
import subprocess
import sys
from pathlib import Path

import sniproxy

assert Path(sys.prefix) in Path(sniproxy.__file__).parents, f"not the installed package: {sniproxy.__file__}"


def hello(name: str) -> bytes:
    """The ClientHello of the standard library."""
    outgoing = ssl.MemoryBIO()
    connection = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


backend = socket.create_server(("127.0.0.1", 0))
target = f"127.0.0.1:{backend.getsockname()[1]}"
proxy = subprocess.Popen(
    [
        *(Path(sys.executable).parent / "twistd", "--pidfile=", "-n", "sniproxy", "--access-log", "-"),
        *("--listen", "tcp:0:interface=127.0.0.1", "--route", f"broker-1.pulsar.test={target}"),
    ],
    stdout=subprocess.PIPE,
    text=True,
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
        sent = hello("broker-1.pulsar.test")
        client.sendall(sent)
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
print("smoke: one connection through the installed package")
