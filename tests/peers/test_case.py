"""Tests for tests.peers.case."""

from __future__ import annotations

import os
from unittest import mock

from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.peers.case import PulsarTestCase


class SinceTests(SynchronousTestCase):
    """Tests of what older versions lack."""

    def test_older_version(self) -> None:
        """Such a test is skipped with an older version, even where peers are required, and says why."""

        class Newer(PulsarTestCase):
            since = "5.0"

            def runTest(self) -> None:
                """Do nothing."""

        with mock.patch.dict(os.environ, PULSAR="4.2", REQUIRE_PEERS="1"):
            skip = self.assertRaises(SkipTest, Newer().setUp)
        self.assertEqual(str(skip), "Pulsar 4.2 does not have it; 5.0 does")
