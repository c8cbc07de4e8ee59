"""The command ``reload``: checks the file, asks the proxy to reload it, and waits for the result.

For C{ExecReload=} of systemd, which counts a reload as failed if its command fails.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from sniproxy.cli.adminclient import AdminError, fetch_status
from sniproxy.cli.failure import CommandFailed
from sniproxy.cli.reactor import installed_reactor
from sniproxy.config.file import read_text
from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.net.endpoints import Endpoint
from sniproxy.server.build import try_build
from sniproxy.util.text import counted, printable

TIMEOUT_S = 60.0
"""Seconds to wait for the result."""

POLL_INTERVAL_S = 0.1
"""Seconds between two looks at the result."""


def run_reload(
    options: argparse.Namespace,
    out: TextIO,
    kill: Callable[[int, int], None] = os.kill,
    pause: Callable[[float], object] | None = None,
) -> int:
    """Run the command. @return: 0: the proxy has reloaded the file. @raise CommandFailed: it has not."""
    configuration = checked_configuration(options.config)
    url = admin_url(configuration)
    before = None if url is None else _reloads(url)
    try:
        kill(options.pid, signal.SIGHUP)
    except OSError as error:
        raise CommandFailed(f"cannot send HUP to process {options.pid}: {error.strerror}") from error
    if url is None:
        print("sent HUP; the file has no [admin] endpoint, so the log has the result", file=out)
        return 0
    if before is None:
        print("sent HUP; no [admin] endpoint answered before, so the log has the result", file=out)
        return 0
    _wait(url, before, pause or threading.Event().wait)
    print(f"reloaded: {counted(len(configuration.routes), 'route')}", file=out)
    return 0


def checked_configuration(path: str) -> Configuration:
    """Read and check a file as the proxy does. @raise CommandFailed: it is invalid."""
    try:
        return parse(read_text(path), path, use=lambda found: try_build(found, installed_reactor()))
    except ConfigError as error:
        raise CommandFailed(str(error)) from error


def admin_url(configuration: Configuration) -> str | None:
    """The admin endpoint as a URL. None: there is none, or the system chooses its port."""
    return None if configuration.admin is None else _url(configuration.admin.endpoint)


def _url(endpoint: Endpoint) -> str | None:
    if endpoint.kind == "unix":
        path = re.split(r"(?<!\\):", endpoint.text)[1]
        return "unix:" + path.removeprefix("address=").replace("\\:", ":")
    if endpoint.host is None or not endpoint.port:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(endpoint.host, endpoint.host)
    return f"http://[{host}]:{endpoint.port}" if ":" in host else f"http://{host}:{endpoint.port}"


def _reloads(url: str) -> Mapping[str, Any] | None:
    """The counts of reloads. None: the endpoint does not answer."""
    try:
        found: Mapping[str, Any] = fetch_status(url, 0)["configuration"]["reloads"]
    except (AdminError, KeyError):
        return None
    return found


def _wait(url: str, before: Mapping[str, Any], pause: Callable[[float], object]) -> None:
    """Wait until the endpoint has counted another reload. @raise CommandFailed: it failed, or the proxy is silent."""
    for _ in range(int(TIMEOUT_S / POLL_INTERVAL_S)):
        now = _reloads(url)
        if now is not None and now["failed"] > before["failed"]:
            raise CommandFailed(f"reload failed, the proxy keeps its configuration: {printable(str(now['error']))}")
        if now is not None and now["succeeded"] > before["succeeded"]:
            return
        pause(POLL_INTERVAL_S)
    raise CommandFailed(f"no result after {TIMEOUT_S:g} s from {url}; see the log of the proxy")
