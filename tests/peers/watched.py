"""A real proxy that Prometheus scrapes, and what is behind it: targets, and a service for the resolver `http`."""

from __future__ import annotations

import selectors
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.support.hellos import hello
from tests.support.sockets import TIMEOUT_S

COMMAND_TIMEOUT_S = 120.0


class Watched:
    """`twistd -n sniproxy` with an admin endpoint on a port that it keeps when it is started again.

    `text` has a listener named public. `before`: words in front of the command line. `host`: of the admin endpoint.
    `files`: texts of more files in its `folder`, by name.
    """

    def __init__(
        self,
        case: SynchronousTestCase,
        text: str,
        before: Sequence[str] = (),
        host: str = "127.0.0.1",
        files: Mapping[str, str] = {},
    ) -> None:
        self.folder = Path(case.mktemp()).absolute()
        self.folder.mkdir()
        self.config = self.folder / "sniproxy.toml"
        (port,) = free_ports(1)
        self.admin = f"{host}:{port}"
        self.text = f'{text}[admin]\nendpoint = "tcp:{port}:interface={host}"\ntoken_file = "token"\n'
        for name, content in files.items():
            (self.folder / name).write_text(content)
        token = self.folder / "token"
        token.write_text("only-for-this-test\n")
        token.chmod(0o600)
        self._command = [*before, str(Path(sys.executable).with_name("twistd")), "-n", "--pidfile=", "sniproxy"]
        self.start()
        case.addCleanup(lambda: self.process.stop())

    def start(self) -> None:
        """Start it with the configuration of the beginning."""
        self.config.write_text(self.text)
        self.process = Child([*self._command, "--config", str(self.config)], cwd=self.folder)
        try:
            self.process.wait_for_text("ready:")
        except BaseException:
            self.process.stop()
            raise

    def kill(self) -> None:
        """Kill it."""
        self.process.process.kill()
        self.process.stop()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.process.send_signal(number)

    def port(self, listener: str = "public") -> int:
        """The port of a listener."""
        said = self.process.wait_for_text(f"listener {listener}: listening on")
        return int(said.rpartition(":")[2])

    def open(
        self, name: str | None, listener: str = "public", client: str = "127.0.0.1", extensions: Sequence[bytes] = ()
    ) -> socket.socket:
        """Connect, and send a hello. `name` None: nothing is sent."""
        address = ("127.0.0.1", self.port(listener))
        sock = socket.create_connection(address, timeout=TIMEOUT_S, source_address=(client, 0))
        if name is not None:
            sock.sendall(hello(name=name, extensions=extensions))
        return sock

    def refused(self, name: str, client: str = "127.0.0.1", extensions: Sequence[bytes] = ()) -> None:
        """Make a connection, and wait until the proxy ends it."""
        with self.open(name, client=client, extensions=extensions) as sock:
            while sock.recv(65536):
                pass

    def drain(self, name: str, *options: str) -> None:
        """Drain a target or a route by `sniproxyctl`, and wait until nothing is left."""
        command = [str(Path(sys.executable).with_name("sniproxyctl")), "drain", name, *options]
        command += ["--admin", f"http://{self.admin}", "--token-file", str(self.folder / "token")]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL, capture_output=True, timeout=COMMAND_TIMEOUT_S)

    def metrics(self) -> str:
        """Its metrics."""
        with urllib.request.urlopen(f"http://{self.admin}/metrics", timeout=TIMEOUT_S) as answer:
            text: str = answer.read().decode()
            return text


class Sink:
    """A target that accepts connections and discards what it reads, in a thread. `port` 0: any free port."""

    def __init__(self, case: SynchronousTestCase, port: int = 0) -> None:
        self._listening = socket.create_server(("127.0.0.1", port), backlog=1024)
        self.port: int = self._listening.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self._stop, stopped = socket.socketpair()
        self._thread = threading.Thread(target=self._run, args=(stopped,), daemon=True)
        self._thread.start()
        self._closed = False
        case.addCleanup(self.close)

    def _run(self, stopped: socket.socket) -> None:
        with selectors.DefaultSelector() as selector, self._listening, stopped:
            selector.register(stopped, selectors.EVENT_READ)
            selector.register(self._listening, selectors.EVENT_READ)
            opened: set[socket.socket] = set()
            while True:
                for key, _ in selector.select():
                    if key.fileobj is stopped:
                        for sock in opened:
                            sock.close()
                        return
                    if key.fileobj is self._listening:
                        sock, _ = self._listening.accept()
                        opened.add(sock)
                        selector.register(sock, selectors.EVENT_READ)
                    elif isinstance(key.fileobj, socket.socket) and not _read(key.fileobj):
                        selector.unregister(key.fileobj)
                        opened.discard(key.fileobj)
                        key.fileobj.close()

    def close(self) -> None:
        """Close all. Can be repeated."""
        if not self._closed:
            self._closed = True
            self._stop.close()
            self._thread.join()


def _read(sock: socket.socket) -> bool:
    try:
        return bool(sock.recv(65536))
    except OSError:
        return False


class Registry:
    """A service for the resolver `http`. `body`: its answer; None: an error. `silent`: no answer before `release`."""

    def __init__(self, case: SynchronousTestCase, body: bytes | None = None, silent: bool = False) -> None:
        self.body = body
        released = threading.Event()
        if not silent:
            released.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                released.wait()
                body = outer.body
                self.send_response(500 if body is None else 200)
                self.send_header("Content-Length", str(len(body or b"")))
                self.end_headers()
                self.wfile.write(body or b"")

            def log_message(self, *_: object) -> None:
                pass

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: object) -> None:
                pass

        server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_address[1]}/{{server_name}}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        case.addCleanup(server.server_close)
        case.addCleanup(server.shutdown)
        self.release = released.set
        case.addCleanup(self.release)
