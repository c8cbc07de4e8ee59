"""Serves the page with changing sample data: python -m tests.admin.serve [PORT]."""

from __future__ import annotations

import random
import sys
from typing import Any, cast

from sniproxy.util.reactor import IReactor
from tests.admin.brokers import add_brokers
from tests.admin.sample import SampleSite
from tests.support.reactor import reactor as real_reactor

PERIOD = 2.0
"""Seconds by which each request of C{/status} advances the sample. The data does not depend on the real time."""


def serve(reactor: IReactor, port: int) -> Any:
    """Serve a filled sample that advances with each request. @return: the listening port."""
    sample = SampleSite(reactor)
    sample.fill()
    add_brokers(sample, 4)
    dice = random.Random(7)
    for entry in sample.ledger.topics():
        entry.producers, entry.consumers = int(dice.paretovariate(1)) % 60, int(dice.paretovariate(0.8)) % 90
    sample.proxy.look = lambda: sample.pass_time(PERIOD, dice)
    return reactor.listenTCP(port, cast(Any, sample.site), interface="127.0.0.1")


if __name__ == "__main__":
    listening = serve(real_reactor, int(sys.argv[1]) if len(sys.argv) > 1 else 9090)
    print(f"http://127.0.0.1:{listening.getHost().port}/")
    real_reactor.run()
