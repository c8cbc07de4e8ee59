"""The measured proxy: ``python -m bench.proxy RELAY``.

It reads its configuration from stdin, and prints its ports to stdout.
"""

from __future__ import annotations

import json
import subprocess
import sys
from threading import Timer

from bench import ROOT, pythons
from bench.measure import cpu_seconds
from sniproxy.config.parser import parse
from sniproxy.server.workers import twistdoptions
from sniproxy.service import ProxyService
from sniproxy.util.reactor import global_reactor

_TIMEOUT_S = 120.0
"""Seconds to wait for a start or an end."""


class Proxy:
    """A proxy in a process of its own, with the reactor and the clock of ``twistd sniproxy``.

    ``relay``: as in the configuration. ``ports``: of its listeners, by name.
    """

    def __init__(self, configuration: str, relay: str) -> None:
        self._process = subprocess.Popen(
            [pythons.chosen().program, "-m", "bench.proxy", relay],
            cwd=ROOT,
            env=pythons.environment(ROOT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._process.stdin as stdin:
            stdin.write(configuration)
        late = Timer(_TIMEOUT_S, self._process.kill)
        late.start()
        try:
            self.ports: dict[str, int] = json.loads(self._process.stdout.readline())
        finally:
            late.cancel()

    @property
    def cpu(self) -> float:
        """CPU seconds used by it."""
        return cpu_seconds(self._process.pid)

    def stop(self) -> None:
        """End its process."""
        self._process.terminate()
        try:
            self._process.wait(_TIMEOUT_S)
        finally:
            self._process.kill()
        assert self._process.stdout is not None
        self._process.stdout.close()


def main() -> None:
    """Run until a signal."""
    reactor = global_reactor()
    twistdoptions.set_steady_clock(reactor)
    service = ProxyService(parse(f'relay = "{sys.argv[1]}"\n{sys.stdin.read()}', "the bench's own"), reactor)
    service.startService()
    print(json.dumps({name: port for name, (_, port) in service.addresses.items()}), flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
