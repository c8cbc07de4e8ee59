"""Serves the page with made-up data that goes on changing, to look at: python -m tests.admin.serve [PORT]."""

from __future__ import annotations

import random
import sys
from typing import Any

from twisted.internet import reactor as real_reactor

from tests.admin.sample import SampleSite

PERIOD = 2.0
"""Seconds that pass at each look at C{/status}: so the page is the same however fast it is looked at."""


def serve(reactor: Any, port: int) -> Any:
    """A filled sample, whose time goes on at each look. @return: the listening port."""
    sample = SampleSite(reactor)
    sample.fill()
    dice = random.Random(7)
    sample.proxy.look = lambda: sample.pass_time(PERIOD, dice)
    return reactor.listenTCP(port, sample.site, interface="127.0.0.1")


if __name__ == "__main__":
    listening = serve(real_reactor, int(sys.argv[1]) if len(sys.argv) > 1 else 9090)
    print(f"http://127.0.0.1:{listening.getHost().port}/")
    real_reactor.run()
