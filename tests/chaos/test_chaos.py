"""The program over a bad line, with each relay: all bytes and ends come through."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.chaos import wire
from tests.chaos.__main__ import available, run
from tests.chaos.inside import Options
from tests.chaos.proxies import BRIDGED, ENGINE, PYTHON, TERMINATED, WORKERS


class ChaosTests(SynchronousTestCase):
    """Short runs of `make chaos`, without HAProxy."""

    def check(self, ways: Sequence[str], options: Options) -> None:
        if why := wire.why_not():
            raise SkipTest(why)
        _, missing = available(ways)
        if missing:
            raise SkipTest("; ".join(missing))
        status, said = run(options)
        self.assertEqual(0, status, said)

    def test_engine(self) -> None:
        """200 tunnels through the relay engine."""
        self.check([ENGINE], Options([ENGINE], tunnels=200, cuts_s=0))

    def test_others(self) -> None:
        """The relay in Python, TLS that ends at the proxy, a bridge, and workers that are killed and stopped."""
        ways = [PYTHON, TERMINATED, WORKERS, BRIDGED]
        self.check(ways, Options(ways, tunnels=160, cuts_s=3, longest_cut_s=0.5, trouble_s=1.5))
