"""Tests for sniproxy.cli.ledgertables."""

from __future__ import annotations

import csv
import json
from collections import deque
from io import StringIO

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.ledgertables import FAILURES, NAMESPACES, TOPICS, broker_of, write_csv, write_json, write_table
from sniproxy.inspector.entries import Failure, Move, NamespaceEntry, TopicEntry
from sniproxy.inspector.layouts import Layout, Segment

TLS = "pulsar+ssl://broker-2.pulsar.test:6661"
MOVE = Move(2.0, "pulsar://a:6650", None, "pulsar://b:6650", None, "lookup")
LAYOUT = Layout(1, 100.0, 5.0, 3, "pulsar://c:6650", None)
SEALED = Segment("topic://a/b/t", 0, 0, 65535, True, (), 5.0)
ENTRIES = [
    TopicEntry("persistent://a/b/c", "pulsar://b:6650", TLS, lookups=12, last_seen=1_700_000_000.9),
    TopicEntry("t", "pulsar://b:6650", lookups=3, failures=1, moves=deque([MOVE]), moves_total=1, unsettled=True),
    TopicEntry("p", TLS, lookups=1, last_seen=float("nan"), partitions=2, brokers=(TLS, "pulsar://c:1")),
]


class TableTests(SynchronousTestCase):
    """Topics as a table."""

    def test_table(self) -> None:
        """Columns are aligned, numbers to the right; the TLS URL is shown, or those of all brokers if folded."""
        out = StringIO()
        write_table(TOPICS, ENTRIES, out)
        both = f"{TLS}, pulsar://c:1"
        away = "pulsar://b:6650 (unloaded)"
        width = len(both)
        self.assertEqual(
            out.getvalue().splitlines(),
            [
                f"TOPIC               {'BROKER':<{width}}  LOOKUPS  LAST SEEN (UTC)      MOVES",
                f"persistent://a/b/c  {TLS:<{width}}       12  2023-11-14 22:13:20      0",
                f"t                   {away:<{width}}        3  1970-01-01 00:00:00      1",
                f"p (2 partitions)    {both}        1  -                        0",
            ],
        )

    def test_notes(self) -> None:
        """Notes on the broker: what the topic is, its controller, its coordinator's leader."""
        broker = "pulsar://b:6650"
        for entry, shown in (
            (TopicEntry("t", broker, unsettled=True, segment=SEALED), f"{broker} (sealed)"),
            (TopicEntry("t", broker, unsettled=True, migrated=True), f"{broker} (migrated)"),
            (TopicEntry("t", layout=LAYOUT), "- (controller pulsar://c:6650)"),
            (TopicEntry("t", layout=Layout(0, None, 5.0, 1)), "- (no controller yet)"),
            (TopicEntry("t", broker, leader_url="pulsar://l", leader_url_tls=TLS), f"{broker} (leader {TLS})"),
        ):
            self.assertEqual(broker_of(entry), shown)

    def test_segments(self) -> None:
        """A folded topic has the number of its segments; JSON and CSV have the layout."""
        folded = TopicEntry("topic://a/b/t", segments=3, layout=LAYOUT)
        out = StringIO()
        write_table(TOPICS, [folded], out)
        self.assertIn("topic://a/b/t (3 segments)", out.getvalue())
        out = StringIO()
        write_json(TOPICS, [folded, TopicEntry("s", segment=SEALED)], out)
        first, second = json.loads(out.getvalue())
        self.assertEqual((first["layout"]["controller_url"], second["segment"]["sealed"]), ("pulsar://c:6650", True))
        out = StringIO()
        write_csv(TOPICS, [folded, TopicEntry("s")], out)
        rows = [*csv.DictReader(StringIO(out.getvalue()))]
        self.assertEqual([row["controller_url"] for row in rows], ["pulsar://c:6650", ""])

    def test_clusters(self) -> None:
        """With several clusters, each line starts with the cluster; CSV and JSON always have it."""
        entries = [TopicEntry("t", "pulsar://b:6650", cluster=name) for name in ("east.test", "west.test")]
        out = StringIO()
        write_table(TOPICS, entries, out)
        heads = [line.split()[:2] for line in out.getvalue().splitlines()]
        self.assertEqual([["CLUSTER", "TOPIC"], ["east.test", "t"], ["west.test", "t"]], heads)
        for write in (write_csv, write_json):
            out = StringIO()
            write(TOPICS, entries[:1], out)
            self.assertIn("east.test", out.getvalue())

    def test_no_topics(self) -> None:
        """Without topics there is no table; CSV has its header, and JSON an empty array."""
        for write, said in ((write_table, ""), (write_json, "[]\n")):
            out = StringIO()
            write(TOPICS, [], out)
            self.assertEqual(out.getvalue(), said)
        out = StringIO()
        write_csv(TOPICS, [], out)
        self.assertEqual(len(out.getvalue().splitlines()), 1)

    def test_csv(self) -> None:
        """Each topic is a row under the header."""
        out = StringIO()
        write_csv(TOPICS, ENTRIES, out)
        rows = list(csv.DictReader(StringIO(out.getvalue())))
        self.assertEqual([row["topic"] for row in rows], ["persistent://a/b/c", "t", "p"])
        self.assertEqual(
            rows[0],
            {
                "topic": "persistent://a/b/c",
                "broker_url": "pulsar://b:6650",
                "broker_url_tls": TLS,
                "lookups": "12",
                "failures": "0",
                "last_seen": "2023-11-14T22:13:20Z",
                "moves": "0",
                "partitions": "0",
                "cluster": "",
                "segments": "0",
                **dict.fromkeys(("controller_url", "controller_url_tls", "leader_url", "leader_url_tls"), ""),
            },
        )
        self.assertEqual([(row["broker_url_tls"], row["moves"], row["last_seen"][-1:]) for row in rows[1:]],
                         [("", "1", "Z"), ("", "0", "")])  # fmt: skip

    def test_json(self) -> None:
        """A JSON array with one object per line, which has the entry's fields."""
        out = StringIO()
        write_json(TOPICS, ENTRIES[:2], out)
        first, second = json.loads(out.getvalue())
        self.assertEqual((first["topic"], first["broker_url_tls"], first["lookups"]), ("persistent://a/b/c", TLS, 12))
        self.assertEqual([move["to_url"] for move in second["moves"]], ["pulsar://b:6650"])
        self.assertEqual(len(out.getvalue().splitlines()), 2)


class OthersTests(SynchronousTestCase):
    """Namespaces and failures."""

    NAMESPACE = NamespaceEntry("a/b", 7, 2, 3, 1_700_000_000.9, "east.test")
    FAILED = Failure(1_700_000_000.9, "c1", None, "TopicNotFound", None, "east.test")

    def test_table(self) -> None:
        """One line per entry; unknown values are dashes."""
        out = StringIO()
        write_table(NAMESPACES, [self.NAMESPACE], out)
        write_table(FAILURES, [self.FAILED], out)
        self.assertEqual(
            out.getvalue().splitlines(),
            [
                "NAMESPACE  LOOKUPS  FAILED  LAST SEEN (UTC)      MOVES",
                "a/b              7       2  2023-11-14 22:13:20      3",
                "TIME (UTC)           STEP    TOPIC  ERROR          MESSAGE",
                "2023-11-14 22:13:20  lookup  -      TopicNotFound  -",
            ],
        )

    def test_csv_and_json(self) -> None:
        """All fields of the entries, under their names."""
        for listing, entry, name in ((NAMESPACES, self.NAMESPACE, "namespace"), (FAILURES, self.FAILED, "error")):
            out = StringIO()
            write_csv(listing, [entry], out)
            [row] = csv.DictReader(StringIO(out.getvalue()))
            out = StringIO()
            write_json(listing, [entry], out)
            [told] = json.loads(out.getvalue())
            self.assertEqual(set(told), set(row))
            self.assertEqual((told[name], told["cluster"]), (row[name], row["cluster"]))
