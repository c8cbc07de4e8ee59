"""Tests for sniproxy.client.failures."""

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.client.failures import ClientError, FailureKind


class FailuresTests(SynchronousTestCase):
    """ClientError and its kinds."""

    def test_text(self) -> None:
        """The text is the reason, and the cure if there is one."""
        failure = ClientError(FailureKind.CLOSED, "closed", "open it")
        self.assertEqual(
            (str(failure), failure.kind, failure.reason), ("closed; open it", FailureKind.CLOSED, "closed")
        )
        self.assertEqual(str(ClientError(FailureKind.CLOSED, "closed")), "closed")

    def test_statuses(self) -> None:
        """Each kind has its own exit status, different from those of shells, argparse and signals."""
        statuses = [int(kind) for kind in FailureKind]
        self.assertEqual(len(set(statuses)), len(FailureKind.__members__))
        self.assertTrue(all(10 <= status < 64 for status in statuses))
