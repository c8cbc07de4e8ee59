"""The program over a line that loses, delays and reorders packets, with each relay: all bytes and ends come through."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SkipTest, TestCase

from sniproxy.relay.engine import EngineUnavailable, load
from tests.support import lossyline
from tests.support.twistdprocess import ENVIRONMENT


class LossyLineTests(TestCase):
    """200 tunnels of random sizes in both directions, some with small buffers, some half-closed for long."""

    def setUp(self) -> None:
        if why := lossyline.why_not():
            raise SkipTest(why)

    def check(self, relay: str) -> None:
        command = lossyline.inside([sys.executable, "-m", "tests.support.lossytunnels", relay])
        said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)
        self.assertEqual(0, said.returncode, said.stdout)

    def test_engine(self) -> None:
        """With the relay engine."""
        try:
            load()
        except EngineUnavailable as error:
            raise SkipTest(str(error)) from error
        self.check("engine")

    def test_python(self) -> None:
        """With the relay in Python."""
        self.check("python")
