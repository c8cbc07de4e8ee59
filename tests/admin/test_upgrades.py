"""Tests for sniproxy.admin.upgrades."""

from __future__ import annotations

import json
import os

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.query import ErrorAnswer
from sniproxy.admin.upgrades import NO_UPGRADE, UpgradeReport, UpgradeRequests


class UpgradeTests(SynchronousTestCase):
    """Requests for an upgrade."""

    def setUp(self) -> None:
        self.requests = UpgradeRequests()
        self.report: Deferred[UpgradeReport] = Deferred()
        self.answer = self.requests.begin(lambda: self.report)

    def refusal(self) -> tuple[int, str]:
        """Why an upgrade cannot begin now."""
        error = self.assertRaises(ErrorAnswer, self.requests.begin, lambda: self.report)
        return error.code, error.text

    def test_none(self) -> None:
        """A process that cannot upgrade itself says so."""
        error = self.assertRaises(ErrorAnswer, UpgradeRequests().begin, None)
        self.assertEqual((409, NO_UPGRADE), (error.code, error.text))

    def test_succeeded(self) -> None:
        """The answer has the counts and both processes. Another upgrade may begin then, and not before."""
        self.assertNoResult(self.answer)
        self.assertEqual((409, "an upgrade is running"), self.refusal())
        self.report.callback(UpgradeReport(None, 7, 300, 2, 0.81234))
        expected = {"pid": 7, "old_pid": os.getpid(), "moved": 300, "stayed": 2, "seconds": 0.812}
        self.assertEqual(expected, json.loads(self.successResultOf(self.answer)))
        self.assertNoResult(self.requests.begin(lambda: Deferred()))

    def test_failed(self) -> None:
        """A failed upgrade gives its reason, and another one may begin."""
        self.report.callback(UpgradeReport("the new process ended with status 1"))
        error = self.failureResultOf(self.answer, ErrorAnswer).value
        self.assertEqual((500, "the new process ended with status 1"), (error.code, error.text))
        self.assertNoResult(self.requests.begin(lambda: Deferred()))

    def test_fault(self) -> None:
        """A fault of the upgrade reaches the site, which logs it; another one may begin."""
        self.report.errback(ZeroDivisionError())
        self.failureResultOf(self.answer, ZeroDivisionError)
        answer = self.requests.begin(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
        self.failureResultOf(answer, ZeroDivisionError)

    def test_client_leaves(self) -> None:
        """If the client leaves, the upgrade continues."""
        self.answer.cancel()
        self.failureResultOf(self.answer, CancelledError)
        self.assertEqual(409, self.refusal()[0])
        self.report.callback(UpgradeReport(None, 7))
        self.assertNoResult(self.requests.begin(lambda: Deferred()))
