"""The measured proxy: ``python -m bench.proxy WAY [FILE]``, prints its ports to stdout.

It reads its configuration from the file, or from stdin.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from bench import ROOT, pythons
from bench.measure import cpu_seconds
from sniproxy.config.parser import parse
from sniproxy.relay import poller
from sniproxy.relay.copy import CopyDirection
from sniproxy.relay.direction import DirectionFactory
from sniproxy.relay.splice import SpliceDirection
from sniproxy.service import ProxyService
from sniproxy.util.reactor import global_reactor

WAYS: dict[str, DirectionFactory] = {"copy": CopyDirection, "splice": SpliceDirection}


class Proxy:
    """A proxy in a process of its own, with the reactor of ``twistd sniproxy``.

    ``way``: the kind of its relays, a key of `WAYS`. ``ports``: of its listeners, by name.
    """

    def __init__(self, configuration: str, way: str) -> None:
        command = [pythons.chosen().program, "-m", "bench.proxy", way]
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=pythons.environment(ROOT),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        with self._process.stdin as stdin:
            stdin.write(configuration)
        self.ports: dict[str, int] = json.loads(self._process.stdout.readline())

    @property
    def cpu(self) -> float:
        """CPU seconds used by it."""
        return cpu_seconds(self._process.pid)

    def stop(self) -> None:
        """End its process."""
        self._process.terminate()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()


def main() -> None:
    """Run until a signal."""
    if poller.available:
        from sniproxy.relay import reactor as relayreactor

        relayreactor.install()
    reactor = global_reactor()
    text = Path(sys.argv[2]).read_text() if sys.argv[2:] else sys.stdin.read()
    service = ProxyService(parse(text, "the bench's own"), reactor, directions=WAYS[sys.argv[1]])
    service.startService()
    print(json.dumps({name: port for name, (_, port) in service.addresses.items()}), flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
