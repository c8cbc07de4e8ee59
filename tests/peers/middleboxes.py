"""HAProxy and nginx in front of the proxy and behind it, and go-proxyproto: senders and readers of PROXY headers."""

from __future__ import annotations

import json
import socket
import ssl
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.peers import provide
from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.peers.material import Certificate, Material

CLIENT_HOST = "127.0.0.7"
"""The address of the clients, which is not the address of the programs between them and their servers."""

STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")
TIMEOUT_S = 20.0

HAPROXY = """\
global
    log stdout format raw local0
    stats socket {folder}/stats
defaults
    log global
    timeout connect 10s
    timeout client 10s
    timeout server 10s
    timeout check 10s
listen box
"""

NGINX = """\
daemon off;
error_log stderr notice;
pid {folder}/nginx.pid;
load_module {module};
events {{ }}
stream {{
    server {{
        {lines}
    }}
}}
"""


@frozen
class Box:
    """A running program that listens on a port of 127.0.0.1."""

    child: Child
    port: int
    folder: Path

    @property
    def address(self) -> str:
        """`127.0.0.1:PORT`."""
        return f"127.0.0.1:{self.port}"


def haproxy(folder: Path, bind: str, *lines: str) -> Box:
    """Start HAProxy with one proxy. `bind`: options of its `bind`; `lines`: of the proxy."""
    # HAProxy does not say when it listens, so it inherits a socket that already does.
    with socket.create_server(("127.0.0.1", 0)) as listening:
        own = [f"bind fd@{listening.fileno()} {bind}", *lines]
        (folder / "haproxy.cfg").write_text(HAPROXY.format(folder=folder) + "".join(f"    {line}\n" for line in own))
        command = ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]
        child = Child(command, cwd=folder, pass_fds=[listening.fileno()])
        return Box(child, listening.getsockname()[1], folder)


def haproxy_stats(box: Box) -> list[dict[str, str]]:
    """The table `show stat` of HAProxy's socket: a row for each listener, server and proxy."""
    with socket.socket(socket.AF_UNIX) as control:
        control.settimeout(TIMEOUT_S)
        control.connect(str(box.folder / "stats"))
        control.sendall(b"show stat\n")
        head, *rows = _rest(control).decode().strip().splitlines()
    return [dict(zip(head.lstrip("# ").split(","), row.split(","), strict=False)) for row in rows]


def nginx(folder: Path, listen: str, *lines: str) -> Box:
    """Start nginx with one stream server. `listen`: parameters of its `listen`; `lines`: of the server."""
    (port,) = free_ports(1)
    own = "\n        ".join([f"listen 127.0.0.1:{port} {listen};", *lines])
    (folder / "nginx.conf").write_text(NGINX.format(folder=folder, module=STREAM_MODULE, lines=own))
    child = Child(["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")], cwd=folder)
    child.wait_for_text("start worker process ")
    return Box(child, port, folder)


def go_listen(folder: Path, pair: Certificate) -> Box:
    """Start go-proxyproto as a TLS server that requires a header. It prints what it reads."""
    child = Child([*_go(), "listen", "-cert", str(pair.certificate), "-key", str(pair.key)], cwd=folder)
    return Box(child, int(json.loads(child.wait_for_text('{"port"'))["port"]), folder)


def go_headers(box: Box, count: int) -> list[dict[str, Any]]:
    """The first `count` headers that a `go_listen` has read."""

    def found(lines: list[str]) -> list[dict[str, Any]] | None:
        read = [json.loads(line) for line in lines if line.startswith('{"version"')]
        return read if len(read) >= count else None

    return box.child.wait_for(found, f"{count} headers", TIMEOUT_S)


def go_dial(port: int, name: str, material: Material, header: dict[str, Any]) -> list[str]:
    """The command of a go-proxyproto that sends a header and then makes a TLS handshake."""
    where = ["-to", f"127.0.0.1:{port}", "-name", name, "-trust", str(material.trust)]
    return [*_go(), "dial", *where, "-header", json.dumps(header)]


def _go() -> list[str]:
    return [str(provide.part("go-proxyproto").path / "go-proxyproto")]


def pem(folder: Path, pair: Certificate) -> Path:
    """A file with a certificate, its chain and its key, as HAProxy wants them."""
    file = folder / "pair.pem"
    file.touch(mode=0o600)
    file.write_bytes(pair.certificate.read_bytes() + pair.key.read_bytes())
    return file


def visit(port: int, name: str, material: Material, certified: bool = False) -> tuple[str, str]:
    """Request a page by TLS from CLIENT_HOST. Returns the answer and the client's `host:port`.

    `certified`: with the client's certificate. Raises OSError.
    """
    context = ssl.create_default_context(cafile=str(material.trust))
    if certified:
        context.load_cert_chain(material.client.certificate, material.client.key)
    with socket.socket() as plain:
        plain.settimeout(TIMEOUT_S)
        plain.bind((CLIENT_HOST, 0))
        plain.connect(("127.0.0.1", port))
        with context.wrap_socket(plain, server_hostname=name) as secure:
            own = "{}:{}".format(*secure.getsockname())
            secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = _rest(secure).decode()
    return answer.rpartition("\r\n\r\n")[2], own


def _rest(sock: socket.socket) -> bytes:
    chunks = []
    while chunk := sock.recv(65536):
        chunks.append(chunk)
    return b"".join(chunks)
