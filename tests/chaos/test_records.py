"""What the access log must say of a tunnel."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.chaos.load import PASS, Door, Outcome
from tests.chaos.records import Verdict, judge
from tests.chaos.table import percentile, table

DOOR = Door("engine", 4443, PASS, "a.test")
ADDRESS = "10.9.0.1"


def whole(port: int = 1000, **more: Any) -> Outcome:
    """A tunnel that finished: 10 bytes up, 20 down, from second 100 to 103."""
    return Outcome(DOOR, 7, 100.0, port, 103.0, 1.0, 2.0, 10, 20, **more)


def broken(port: int = 1000) -> Outcome:
    """One that did not."""
    return Outcome(DOOR, 7, 100.0, port, 103.0, faults={"client": "ended early"})


def record(result: str = "ok", port: int = 1000, **more: Any) -> dict[str, Any]:
    """A record of it."""
    found = {"client": f"{ADDRESS}:{port}", "result": result, "bytes_up": 10, "bytes_down": 20, "reason": ""}
    return {**found, **more}


class JudgeTests(SynchronousTestCase):
    """Verdicts."""

    def judged(self, outcome: Outcome, *records: dict[str, Any], kills: tuple[float, ...] = ()) -> Verdict:
        return judge([outcome], records, kills, ADDRESS)

    def test_finished(self) -> None:
        """A finished tunnel has one record, with its bytes."""
        verdict = self.judged(whole(), record())
        self.assertEqual((1, []), (verdict.finished, verdict.faults))

    def test_wrong_records(self) -> None:
        """Any other record of a finished tunnel is a fault, and so is none, or one of no tunnel."""
        for records in (
            [], [record(), record()], [record("reset")], [record(bytes_up=11)], [record(bytes_down=19)],
            [record(), record(port=2)],
        ):  # fmt: skip
            with self.subTest(records=records):
                self.assertEqual(1, len(self.judged(whole(), *records).faults))

    def test_other_clients(self) -> None:
        """Records of other clients do not matter."""
        self.assertEqual([], self.judged(whole(), record(), record(client="127.0.0.1:1000")).faults)

    def test_wrong_bytes(self) -> None:
        """Wrong bytes are a fault, whatever the log says, even of a killed worker."""
        verdict = self.judged(whole(wrong=["wrong: byte 1"]), record(), kills=(101,))
        self.assertEqual((1, 0, 1), (verdict.wrong, verdict.finished, len(verdict.faults)))

    def test_kill(self) -> None:
        """A kill during a tunnel, or just after it, explains its cut, and that it has no record."""
        for kill, explained in ((99.9, False), (100, True), (102, True), (107.9, True), (108.1, False)):
            with self.subTest(kill=kill):
                verdict = self.judged(broken(), kills=(kill,))
                self.assertEqual((explained, not explained), (verdict.killed == 1, bool(verdict.faults)))
                self.assertEqual(explained, not self.judged(whole(), kills=(kill,)).faults)

    def test_refused(self) -> None:
        """A kill explains a refused connection for some time, and nothing else does."""
        for kill, explained in ((60, False), (71, True), (101, True)):
            self.assertEqual(explained, not self.judged(broken(port=0), kills=(kill,)).faults)
        self.assertEqual(1, len(self.judged(broken(port=0)).faults))

    def test_timeouts(self) -> None:
        """A tunnel that was not opened in time is no fault; one that was cut otherwise is."""
        late = "the TLS handshake with the client failed: TLS handshake not completed within 10 s"
        for one in (
            record("hello_timeout"),
            record("connect_timeout"),
            record("tls_failed", reason=late),
            record("upstream_tls_failed", reason=late),
        ):
            self.assertEqual([], self.judged(broken(), one).faults)
        for one in (record(), record("reset"), record("internal_error"), record("tls_failed", reason="bad record")):
            self.assertEqual(1, len(self.judged(broken(), one).faults), one)

    def test_unsaid(self) -> None:
        """A tunnel that ends without a cause is a fault, also of a proxy without a log."""
        self.assertEqual(1, len(judge([broken()], None, (), ADDRESS).faults))
        self.assertEqual([], judge([whole()], None, (), ADDRESS).faults)

    def test_port_again(self) -> None:
        """Where a port was used twice, the records cannot be told apart, and are not compared."""
        verdict = judge([whole(), whole()], [record(), record(bytes_up=3)], (), ADDRESS)
        self.assertEqual((2, []), (verdict.finished, verdict.faults))


class TableTests(SynchronousTestCase):
    """The table."""

    def test_row(self) -> None:
        """A row has counts, and times of finished tunnels in milliseconds."""
        outcomes = [whole(1), whole(2), broken(3)]
        verdict = judge(outcomes, [record(port=1), record(port=2), record("hello_timeout", 3)], (), ADDRESS)
        cells = [cell.strip() for cell in table({"engine": outcomes}, {"engine": verdict}).splitlines()[2].split("|")]
        expected = ["engine", "3", "2", "0", "1 hello_timeout", "0", "0.0", "1,000", "1,000", "2,000", "2,000"]
        self.assertEqual(expected, cells[1:-1])

    def test_nothing(self) -> None:
        """Without a finished tunnel there is no time."""
        self.assertIn(" - ", table({"engine": []}, {"engine": Verdict()}))
        self.assertEqual((None, 5, 9), (percentile([], 0.5), percentile(range(10), 0.5), percentile(range(10), 0.99)))
