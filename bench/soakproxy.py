"""The proxy of the soak test: a process to start, reload, measure and stop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from threading import Event

from bench import ROOT, pythons, relays

TIMEOUT_S = 120.0
"""Seconds to wait for a start or an end."""


class Proxy:
    """``twistd sniproxy`` in a process of its own, with a configuration file and an access log.

    ``routes``: ports by name. ``relay``: as in the configuration; None: the default. Raises `SystemExit` if it does not
    start, or if another relay serves than was asked for.
    """

    def __init__(self, folder: Path, routes: Mapping[str, int], relay: str | None) -> None:
        self._file = folder / "sniproxy.toml"
        self._routes = routes
        self._relay = relay
        self._idle = 600
        self.log = folder / "access.jsonl"
        self.said = folder / "proxy.log"
        self._write()
        twistd = Path(sys.executable).with_name("twistd")
        with self.said.open("w") as out:
            self._process = subprocess.Popen(
                [twistd, "-n", "--pidfile=", "sniproxy", "--config", self._file],
                cwd=folder, env=pythons.environment(ROOT), stdout=out, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            self.port = self._listening()
            # Otherwise the test would prove the wrong relay.
            if relay in (relays.ENGINE, relays.PYTHON) and (why := relays.refused(self.said.read_text(), relay)):
                raise SystemExit(why)
        except SystemExit:
            self.stop()
            raise

    def _listening(self) -> int:
        """Wait until it is ready. Returns its port."""
        deadline = time.monotonic() + TIMEOUT_S
        while "ready:" not in (said := self.said.read_text()):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the proxy did not start:\n{self.said.read_text()}")
            Event().wait(0.05)
        found = re.search(r"listener soak: listening on \S+:(\d+)", said)
        assert found is not None, said
        return int(found[1])

    def _write(self) -> None:
        relay = f"relay = {json.dumps(self._relay)}\n" if self._relay else ""
        routes = "".join(
            f'[[route]]\nserver_name = "{name}"\ntarget = "127.0.0.1:{port}"\n\n' for name, port in self._routes.items()
        )
        text = f"""{relay}
[[listener]]
name = "soak"
endpoint = "tcp:0:interface=127.0.0.1"

{routes}[timeouts]
idle = {self._idle}

[access_log]
path = "access.jsonl"
"""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self._file)

    def reload(self) -> None:
        """Reload another configuration."""
        self._idle += 1
        self._write()
        self._process.send_signal(signal.SIGHUP)

    @property
    def descriptors(self) -> int:
        """Number of open files."""
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    @property
    def memory(self) -> float:
        """Memory in MB (PSS)."""
        for line in Path(f"/proc/{self._process.pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
        raise SystemExit("the kernel reports no Pss")

    def terminate(self) -> None:
        """Let it drain and exit."""
        self._process.terminate()

    def wait(self) -> None:
        """Wait until it has exited."""
        self._process.wait(TIMEOUT_S)

    def stop(self) -> None:
        """Kill it."""
        self._process.kill()
        self._process.wait()
