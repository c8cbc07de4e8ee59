"""A client, a proxy and a target in a network namespace each, for C{target_source = "client"}.

``python -m tests.support.clientnetworks`` runs inside L{inside}. It starts a proxy between the networks of the client
and of the target, and exits with 0 if the target sees the clients' own addresses. It needs unshare(1), nsenter(1) and
ip(8).

The target has a route to the client's network through the proxy only. The proxy has a policy rule: what comes from the
target's network is for this machine, whatever its destination is.
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sniproxy.proxyprotocol.header import Address
from sniproxy.proxyprotocol.writer import write_v2
from sniproxy.tls.alerts import Alert, fatal_alert
from tests.support import programs
from tests.support.hellos import hello
from tests.support.sockets import TIMEOUT_S, read_exactly, read_to_end
from tests.support.twistdprocess import ENVIRONMENT, TWISTD

# The client's, the proxy's towards the client, the proxy's towards the target, the target's.
CLIENT, FRONT, BACK, TARGET = "192.0.2.7", "192.0.2.1", "10.2.0.1", "10.2.0.2"
CLIENT6, FRONT6, BACK6, TARGET6 = "2001:db8::7", "2001:db8::1", "fd00:2::1", "fd00:2::2"
TOLD, TOLD6 = "198.51.100.9", "2001:db8:9::9"
"""Clients that PROXY protocol headers name."""

PORT, PORT6, TOLD_PORT, TARGET_PORT = 4443, 4444, 4445, 6651

CONFIGURATION = f"""
[[listener]]
name = "four"
endpoint = "tcp:{PORT}"
[[listener]]
name = "six"
endpoint = "tcp6:{PORT6}"
[[listener]]
name = "told"
endpoint = "tcp:{TOLD_PORT}"
proxy_protocol = "required"
proxy_protocol_from = ["192.0.2.0/24"]
[[route]]
server_name = "four.test"
target = "{TARGET}:{TARGET_PORT}"
target_source = "client"
[[route]]
server_name = "six.test"
target = "{TARGET6}"
target_source = "client"
[[route]]
server_name = "both.test"
target = ["{TARGET6}", "{TARGET}"]
target_source = "client"
[[route]]
server_name = "own.test"
target = "{TARGET}"
[access_log]
path = "{{log}}"
"""

CASES = (
    (PORT, "four.test", None, CLIENT),
    (PORT, "both.test", None, CLIENT),
    (PORT, "own.test", None, BACK),
    (PORT, "six.test", None, None),
    (PORT6, "six.test", None, CLIENT6),
    (PORT6, "both.test", None, CLIENT6),
    (TOLD_PORT, "four.test", TOLD, TOLD),
    (TOLD_PORT, "six.test", TOLD6, TOLD6),
    (TOLD_PORT, "four.test", "0.0.0.0", None),
)
"""The listener's port, the server name, the client that a header names, and what the target sees. None: no header; the
client gets an alert."""


def why_not() -> str | None:
    """Why there can be no such networks here. None: there can."""
    if missing := [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]:
        return f"no {' or '.join(missing)}"
    make = ["unshare", "-rn", "sh", "-c", "ip link add back type veth peer name far && ip rule add iif back lookup 100"]
    tried = programs.run(make, capture_output=True, text=True)
    return None if tried.returncode == 0 else f"no network namespace with veth and rules: {tried.stderr.strip()}"


def inside() -> list[str]:
    """The command that runs all cases."""
    return ["unshare", "-rn", sys.executable, "-m", "tests.support.clientnetworks"]


def _run(*words: str) -> None:
    programs.run(" ".join(words).split(), check=True)


@contextmanager
def _child(role: str) -> Iterator[subprocess.Popen[str]]:
    """A process in a network of its own, as soon as it runs."""
    command = ["unshare", "-n", sys.executable, "-m", "tests.support.clientnetworks", role]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
    try:
        programs.read_until(child, "here")
        yield child
    finally:
        programs.kill(child)


def _go(child: subprocess.Popen[str], text: str) -> None:
    """Let a child that waits continue, until it says a text."""
    assert child.stdin is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    programs.read_until(child, text)


def _link(name: str, child: subprocess.Popen[str], here: tuple[str, str], there: tuple[str, str]) -> None:
    """Connect this namespace with a child's. @param here: this end's addresses, IPv4 and IPv6."""
    _run(f"ip link add {name} type veth peer name eth9 netns {child.pid}")
    enter = f"nsenter -t {child.pid} -n"
    for prefix, device, (four, six) in (("", name, here), (enter, "eth9", there)):
        _run(f"{prefix} ip addr add {four}/24 dev {device}")
        _run(f"{prefix} ip addr add {six}/64 dev {device} nodad")
        _run(f"{prefix} ip link set {device} up")
    _run(f"{enter} ip link set lo up")
    _run(f"{enter} ip route add default via {here[0]}")
    _run(f"{enter} ip -6 route add default via {here[1]}")


def target() -> None:
    """Tell each client the address that it has here."""
    with socket.create_server(("::", TARGET_PORT), family=socket.AF_INET6, dualstack_ipv6=True) as listener:
        print("ready", flush=True)
        while True:
            sock, peer = listener.accept()
            with sock:
                sock.settimeout(TIMEOUT_S)
                assert sock.recv(1)
                sock.sendall(peer[0].removeprefix("::ffff:").encode() + b"\n")
                read_to_end(sock)


def client() -> None:
    """Make a connection for each case."""
    for port, name, told, expected in CASES:
        data = hello(name=name)
        if told is not None:
            data = write_v2(Address(told, 50123), Address("2001:db8::1" if ":" in told else FRONT, port), {}) + data
        with socket.create_connection((FRONT6 if port == PORT6 else FRONT, port), timeout=TIMEOUT_S) as sock:
            sock.sendall(data)
            wanted = fatal_alert(Alert.ACCESS_DENIED) if expected is None else f"{expected}\n".encode()
            came = read_exactly(sock, len(wanted))
            assert came == wanted, (port, name, told, came)
    print("right", flush=True)


def _check_log(log: Path) -> None:
    """The access log has the address that the target saw, and the reasons of the refusals."""
    records = [json.loads(line) for line in log.read_text().splitlines()]
    seen = sorted(one["upstream_local"].rpartition(":")[0].strip("[]") for one in records if one["result"] == "ok")
    assert seen == sorted(expected for *_, expected in CASES if expected is not None), records
    reasons = sorted(one["reason"] for one in records if one["result"] == "denied")
    assert reasons == [
        f"[{TARGET6}]:6651: not dialled from the client {CLIENT}: it has no IPv6 address",
        "target_source: targets cannot be dialled from the client: "
        "the client's address 0.0.0.0 is not that of a single host in a routed network",
    ], records


def main() -> None:
    _run("ip link set lo up")
    with _child("client") as near, _child("target") as far, tempfile.TemporaryDirectory() as folder:
        _link("front", near, (FRONT, FRONT6), (CLIENT, CLIENT6))
        _link("back", far, (BACK, BACK6), (TARGET, TARGET6))
        for version, all_addresses in (("-4", "0.0.0.0/0"), ("-6", "::/0")):
            _run(f"ip {version} rule add iif back lookup 100")
            _run(f"ip {version} route add local {all_addresses} dev lo table 100")
        _go(far, "ready")
        file, log = Path(folder, "proxy.toml"), Path(folder, "access.log")
        file.write_text(CONFIGURATION.format(log=log))
        command = [*TWISTD, "--config", str(file)]
        proxy = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)
        try:
            programs.read_until(proxy, "ready:")
            _go(near, "right")
            proxy.terminate()
            proxy.communicate(timeout=TIMEOUT_S)
            _check_log(log)
        finally:
            programs.kill(proxy)


if __name__ == "__main__":
    role = {"client": client, "target": target}.get(sys.argv[-1])
    if role is None:
        main()
    else:
        print("here", flush=True)
        sys.stdin.readline()
        role()
