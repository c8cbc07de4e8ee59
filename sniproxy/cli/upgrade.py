"""The command ``upgrade``: asks a running proxy to replace its program, and waits for the result."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any, TextIO

from sniproxy.cli.adminclient import UNIX, AdminError, as_url, upgrade
from sniproxy.cli.admincommands import read_token
from sniproxy.cli.failure import CommandFailed
from sniproxy.cli.reload import admin_url, checked_configuration
from sniproxy.cli.upgradeoptions import DEFAULT_TIMEOUT_S
from sniproxy.util.text import counted


def run_upgrade(options: argparse.Namespace, out: TextIO) -> int:
    """Run the command. @return: 0: the program has been replaced. @raise CommandFailed: it has not."""
    url, token_file, workers = _endpoint(options)
    token = None if url.startswith(UNIX) else read_token(token_file)
    document = upgrade(url, token, DEFAULT_TIMEOUT_S * workers if options.timeout is None else options.timeout)
    try:
        line = upgrade_line(document)
    except (KeyError, TypeError, ValueError) as error:
        raise AdminError(f"unexpected answer, perhaps from another release: {error!r}") from error
    print(json.dumps(document) if options.json else line, file=out)
    return 0


def _endpoint(options: argparse.Namespace) -> tuple[str, str | None, int]:
    """The URL of the endpoint, the file with its token, and the number of processes, as far as it is known."""
    if options.config is None:
        return as_url(options.admin), options.token_file, 1
    configuration = checked_configuration(options.config)
    url = admin_url(configuration)
    if url is None:
        raise CommandFailed(
            "the file has no [admin] endpoint, or its port is chosen by the system: name the endpoint with --admin, or "
            "send USR2 to the proxy; then its log has the result"
        )
    admin = configuration.admin
    return url, options.token_file or (None if admin is None else admin.token_file), configuration.workers


def upgrade_line(document: Mapping[str, Any]) -> str:
    """The result in one line. @raise KeyError, TypeError, ValueError: the document has another form."""
    moved, stayed, seconds = int(document["moved"]), int(document["stayed"]), float(document["seconds"])
    pid, old = int(document["pid"]), int(document["old_pid"])
    new, rest = f"pid {pid} serves", f"pid {old}"
    if pid == old:  # a supervisor, which has replaced its workers
        new, rest = f"the workers of pid {pid} serve", "the old workers"
    line = f"upgraded in {seconds:.1f} s: {new} {counted(moved, 'tunnel')}"
    if stayed:
        verb, end = ("stays", "it ends") if stayed == 1 else ("stay", "they end")
        line += f"; {counted(stayed, 'tunnel')} {verb} with {rest} until {end}"
    return line
