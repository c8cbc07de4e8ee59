"""The installed package, away from its sources: one connection through ``twistd sniproxy``, byte for byte; the man
pages, shell completion, and the examples."""

import socket
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

import sniproxy

TWISTD = Path(sys.executable).parent / "twistd"
SNIPROXYCTL = Path(sys.executable).parent / "sniproxyctl"


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
        [TWISTD, "--pidfile=", "-n", "sniproxy", "--access-log", "-", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
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


def documented() -> None:
    """The man pages are where ``man`` looks for those of programs in this environment; completion works."""
    for page in ("man1/sniproxyctl.1", "man8/twistd-sniproxy.8"):
        assert (Path(sys.prefix) / "share" / "man" / page).read_text().startswith('.\\"'), page
    assert "complete " in printed("--print-completion", "bash")


def printed(*words: str) -> str:
    """What the command prints."""
    return subprocess.run([SNIPROXYCTL, *words], stdout=subprocess.PIPE, text=True, check=True).stdout


def exemplified() -> None:
    """Each example is installed; each configuration among them is valid as printed."""
    names = {}
    for line in printed("example", "--list").splitlines():
        name, path, _ = line.split(maxsplit=2)
        assert Path(sys.prefix).resolve() in Path(path).parents, path
        assert printed("example", name), path
        names[name] = path
    assert {"service", "socket", "logrotate", "alerts", "grafana"} < names.keys(), names
    with tempfile.TemporaryDirectory() as folder:
        for name in (name for name, path in names.items() if path.endswith(".toml")):
            file = Path(folder) / f"{name}.toml"
            file.write_text(printed("example", name))
            assert "the configuration is valid" in printed("run", "--config", str(file), "--check"), name


if __name__ == "__main__":
    documented()
    exemplified()
    with socket.create_server(("127.0.0.1", 0)) as server:
        route = f"broker-1.pulsar.test=127.0.0.1:{server.getsockname()[1]}"
        through(server, "broker-1.pulsar.test", "--listen", "tcp:0:interface=127.0.0.1", "--route", route)
    print("smoke: one connection through the installed package, its man pages, completion and examples")
