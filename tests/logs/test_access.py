"""Tests for sniproxy.logs.access."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs
from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.events import Connection, Proxied, Result, packed_address
from sniproxy.logs.access import (
    AccessLog,
    ConnectionCounter,
    ReadableLog,
    json_line,
    readable_line,
)
from sniproxy.tls.alerts import Alert
from sniproxy.util.text import MAX_TEXT_CHARS


def ended(result: Result = Result.OK, client: str = "192.0.2.7:50123", **more: Any) -> Connection:
    """A connection that has ended."""
    return Connection("ab12-1", 1_700_000_000.0, "public", client, result=result, **more)


FULL = ended(
    server_name="broker-1.pulsar.test",
    alpn=("pulsar",),
    route="*.pulsar.test",
    target="127.0.0.1:6651",
    upstream=packed_address("10.0.0.5", 43210),
    received=517,
    bytes_up=4_700,
    bytes_down=12_000_000,
    hello_s=0.00123456789,
    resolve_s=0.0,
    connect_s=0.25,
    total_s=2.5,
)
REFUSED = ended(
    Result.NO_ROUTE, server_name="x.test", alert=Alert.UNRECOGNIZED_NAME, received=300, reason="no route has this name"
)


class JsonLineTests(SynchronousTestCase):
    """json_line: one JSON object a line."""

    def test_fields(self) -> None:
        """One JSON object in one line, with the documented fields in their order; the time is when it ended."""
        line = json_line(FULL)
        self.assertNotIn("\n", line)
        expected = {
            "time": "2023-11-14T22:13:22.500Z",
            "id": "ab12-1",
            "listener": "public",
            "client": "192.0.2.7:50123",
            "server_name": "broker-1.pulsar.test",
            "alpn": ["pulsar"],
            "route": "*.pulsar.test",
            "target": "127.0.0.1:6651",
            "upstream_local": "10.0.0.5:43210",
            "result": "ok",
            "alert": None,
            "bytes_up": 4_700,
            "bytes_down": 12_000_000,
            "hello_s": 0.001235,
            "resolve_s": 0.0,
            "connect_s": 0.25,
            "total_s": 2.5,
            "reason": "",
        }
        self.assertEqual(list(json.loads(line).items()), list(expected.items()))

    def test_faults(self) -> None:
        """Faults on purpose that were applied are the last field."""
        line = json_line(attrs.evolve(FULL, faults=("a", 'b"')))
        self.assertEqual(("faults", ["a", 'b"']), list(json.loads(line).items())[-1])
        self.assertEqual(json.dumps(json.loads(line)), line)

    def test_proxied(self) -> None:
        """A PROXY protocol header adds its sender and its fields."""
        proxied = Proxied("10.0.0.9:7", {"authority": 'a"b', "aws_vpce_id": "vpce-1"})
        line = json_line(attrs.evolve(FULL, proxied=proxied))
        self.assertEqual(json.dumps(json.loads(line)), line)
        found = json.loads(line)
        self.assertEqual(("10.0.0.9:7", proxied.tlvs), (found["peer"], found["proxy_tlv"]))
        self.assertEqual(json.loads(json_line(attrs.evolve(FULL, proxied=Proxied("unix", {}))))["proxy_tlv"], {})

    def test_header_sent(self) -> None:
        """A target that got a PROXY protocol header adds a field, before that of faults."""
        line = json_line(attrs.evolve(FULL, header_sent=True, faults=("a",)))
        self.assertEqual([("header_sent", True), ("faults", ["a"])], list(json.loads(line).items())[-2:])
        self.assertEqual(json.dumps(json.loads(line)), line)

    def test_as_json_writes(self) -> None:
        """A line is what json.dumps writes, for any texts and numbers."""
        texts = ('a "quoted" \\ path', "\x1b[2J\n", "caf\u00e9 \U0001f600", "", "~^a\\.b$")
        for number, text in enumerate(texts):
            seconds = (0.0, 1e-7, 3.3e-05, 0.9999995, 86400.25)[number]
            for one in (FULL, REFUSED):
                line = json_line(
                    attrs.evolve(
                        one, listener=text, route=text, target=text, alpn=(text, text), reason=text, total_s=seconds
                    )
                )
                self.assertEqual(json.dumps(json.loads(line)), line)

    def test_time(self) -> None:
        """The time has milliseconds, truncated as datetime does, also at the edges of a second."""
        for seconds in (0.0, 0.0009999, 0.9989996, 0.9994, 0.9999994, 0.9999996, 1.0, 59.9999999):
            moment = 1_700_000_000.0 + seconds
            expected = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            self.assertEqual(expected, json.loads(json_line(attrs.evolve(FULL, time=moment, total_s=0.0)))["time"])

    def test_not_reached(self) -> None:
        """Fields of stages that were not reached are null; the alert has the RFC's name."""
        fields = json.loads(json_line(REFUSED))
        for key in ("route", "target", "upstream_local", "hello_s", "resolve_s", "connect_s"):
            self.assertIsNone(fields[key])
        self.assertEqual((fields["alert"], fields["result"]), ("unrecognized_name", "no_route"))

    def test_peer_text_is_bounded(self) -> None:
        """Text that a peer influences is bounded and escaped: the reason, and at most 16 protocols."""
        hostile = ended(Result.MALFORMED_HELLO, reason="\x1b[2J\n" + "\u2028" * 9999, alpn=("\x07" * 255,) * 9999)
        line = json_line(hostile)
        self.assertTrue(line.isascii() and line.isprintable())
        fields = json.loads(line)
        self.assertTrue(fields["reason"].startswith("\\x1b[2J\\n\\u2028"))
        self.assertEqual(
            (len(fields["reason"]), len(fields["alpn"]), len(fields["alpn"][0])), (MAX_TEXT_CHARS, 16, MAX_TEXT_CHARS)
        )


class ReadableLineTests(SynchronousTestCase):
    """readable_line: one readable line."""

    def test_tunnel(self) -> None:
        """A tunnel: client, server name, target, bytes and seconds."""
        line = readable_line(FULL)
        self.assertRegex(line, r"^ok +192\.0\.2\.7:50123 +broker-1\.pulsar\.test -> 127\.0\.0\.1:6651 ")
        self.assertIn("up 4.7 kB, down 12.0 MB, 2.50 s", line)

    def test_peer(self) -> None:
        """The sender of a PROXY protocol header that names another client is shown beside it."""
        for peer, shown in (("10.0.0.1:4443", r" \(peer 10\.0\.0\.1:4443\)"), (FULL.client, "")):
            line = readable_line(attrs.evolve(FULL, proxied=Proxied(peer, {})))
            self.assertRegex(line, rf"^ok +192\.0\.2\.7:50123{shown}  broker-1")

    def test_refusal(self) -> None:
        """A refusal: the alert and the escaped reason, without bytes."""
        line = readable_line(REFUSED)
        self.assertRegex(line, r"^no_route .* x\.test +alert unrecognized_name +\(no route has this name\)$")
        nameless = readable_line(ended(Result.NO_SERVER_NAME, reason="a\nb\x1b"))
        self.assertRegex(nameless, r" -  \(a\\nb\\x1b\)$")


class ReadableTests(SynchronousTestCase):
    """ReadableLog: repeated refusals are summed."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.lines: list[str] = []
        self.readable = ReadableLog(self.clock, self.lines.append)

    def test_good_endings(self) -> None:
        """Connections that ended normally are always written."""
        for result in (Result.OK, Result.DRAINED, Result.IDLE_TIMEOUT) * 2:
            self.readable(ended(result))
        self.assertEqual(len(self.lines), 6)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_summed(self) -> None:
        """For one client, name and result, the first is written at once, the others as one line after 10 s."""
        for port in range(38):
            self.readable(ended(Result.NO_ROUTE, client=f"192.0.2.7:{port}", server_name="x.test"))
        self.assertEqual(len(self.lines), 1)
        self.clock.advance(9.9)
        self.assertEqual(len(self.lines), 1)
        self.clock.advance(0.1)
        self.assertRegex(self.lines[1], r"^no_route +192\.0\.2\.7  x\.test  x 37 in 10 s$")
        self.assertEqual(len(self.lines), 2)

    def test_after_the_sum(self) -> None:
        """After a summary the next refusal is written at once; a single refusal has no summary."""
        self.readable(REFUSED)
        self.clock.advance(10)
        self.readable(REFUSED)
        self.clock.advance(10)
        self.assertEqual(self.lines, [readable_line(REFUSED)] * 2)

    def test_different(self) -> None:
        """Each combination of client, name and result has its own line."""
        for client, name, result in (
            ("192.0.2.7:1", "a", Result.NO_ROUTE),
            ("192.0.2.8:1", "a", Result.NO_ROUTE),
            ("192.0.2.7:1", "b", Result.NO_ROUTE),
            ("192.0.2.7:1", "a", Result.DENIED),
            ("[2001:db8::7]:1", None, Result.DENIED),
        ):
            self.readable(ended(result, client=client, server_name=name))
        self.assertEqual(len(self.lines), 5)

    def test_bounded_memory(self) -> None:
        """A flood of different names is written, but memory stays bounded."""
        for number in range(3000):
            self.readable(ended(Result.NO_ROUTE, server_name=f"n{number}"))
        self.assertEqual(len(self.lines), 3000)
        self.assertLessEqual(len(self.readable._sums), 1000)

    def test_close(self) -> None:
        """close() writes the pending summary and leaves no timer."""
        self.readable(REFUSED)
        self.readable(REFUSED)
        self.readable.close()
        self.assertIn("x 1 in", self.lines[1])
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.readable.close()
        self.assertEqual(len(self.lines), 2)


class AccessLogTests(SynchronousTestCase):
    """AccessLog: a file, a terminal or the program's log."""

    def test_file(self) -> None:
        """A file gets JSON lines, the new file after a rotation the later ones; no line is lost."""
        path = Path(self.mktemp())
        log = AccessLog(Clock(), str(path))
        log.write(FULL)
        path.rename(f"{path}.1")
        log.reopen()
        log.write(REFUSED)
        log.close()
        self.assertEqual(
            [json_line(FULL), json_line(REFUSED)],
            [line for name in (f"{path}.1", str(path)) for line in Path(name).read_text().splitlines()],
        )
        self.assertEqual(0, log.lost)

    def test_open(self) -> None:
        """The line of an open tunnel has the result C{open}, in every kind of log."""
        path = Path(self.mktemp())
        log = AccessLog(Clock(), str(path))
        log.write_open(FULL)
        log.close()
        self.assertEqual(json_line(FULL, "open"), path.read_text().strip())
        self.assertEqual({**json.loads(json_line(FULL)), "result": "open"}, json.loads(json_line(FULL, "open")))
        ours, terminal = os.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, terminal)
        log = AccessLog(Clock(), os.ttyname(terminal))
        log.write_open(FULL)
        log.close()
        self.assertEqual(readable_line(FULL, "open"), os.read(ours, 4096).decode().splitlines()[0])
        with capturedLogs() as events:
            AccessLog(Clock(), None).write_open(FULL)
        self.assertEqual([readable_line(FULL, "open")], [event["log_format"].format(**event) for event in events])
        self.assertTrue(readable_line(FULL, "open").startswith("open            192.0.2.7:50123"))

    def test_terminal(self) -> None:
        """A terminal gets readable lines, and at the close the pending summary."""
        ours, terminal = os.openpty()
        self.addCleanup(os.close, ours)
        self.addCleanup(os.close, terminal)
        log = AccessLog(Clock(), os.ttyname(terminal))
        log.write(REFUSED)
        log.write(REFUSED)
        log.close()
        self.assertEqual(readable_line(REFUSED), os.read(ours, 4096).decode().splitlines()[0])

    def test_program_log(self) -> None:
        """Without a path, readable lines go to the program's log; it has no file to open again, and loses nothing.

        Braces are not a format.
        """
        log, one = AccessLog(Clock(), None), ended(target="{client} {0}")
        with capturedLogs() as events:
            log.write(one)
            log.reopen()
            log.close()
        self.assertEqual([readable_line(one)], [event["log_format"].format(**event) for event in events])
        self.assertEqual(0, log.lost)


class JournalTests(SynchronousTestCase):
    """ConnectionCounter: counts, and drops silent connections."""

    def test_counts(self) -> None:
        """Each ended connection is written, and counted by its result."""
        written: list[Connection] = []
        journal = ConnectionCounter(written.append)
        for connection in (FULL, FULL, REFUSED):
            journal(connection)
        self.assertEqual(written, [FULL, FULL, REFUSED])
        self.assertEqual(journal.ended, {Result.OK: 2, Result.NO_ROUTE: 1})
        self.assertEqual(journal.summary(), "1 no_route, 2 ok")

    def test_silent(self) -> None:
        """A client that leaves without sending data is only counted; one that sent data is passed on."""
        written: list[Connection] = []
        journal = ConnectionCounter(written.append)
        journal(ended(Result.CLIENT_GONE))
        journal(ended(Result.CLIENT_GONE, received=1))
        self.assertEqual((len(written), journal.silent), (1, 1))
        self.assertEqual(journal.summary(), "1 client_gone, 1 closed without sending data")

    def test_nothing(self) -> None:
        """Without connections, the summary says so."""
        self.assertEqual(ConnectionCounter().summary(), "no connections")

    def test_changed(self) -> None:
        """The other observer may come later, and be replaced."""
        journal = ConnectionCounter()
        journal(FULL)
        written: list[Connection] = []
        journal.write = written.append
        journal(REFUSED)
        self.assertEqual(([REFUSED], 2), (written, sum(journal.ended.values())))
