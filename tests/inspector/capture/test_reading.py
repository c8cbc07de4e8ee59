"""Tests for sniproxy.inspector.capture.reading."""

from __future__ import annotations

import struct
from collections import Counter
from io import BytesIO
from itertools import groupby
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.inspector.capture.files import CaptureError
from sniproxy.inspector.capture.reading import CaptureEvents
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.pulsar.events import Event
from tests.inspector.capture.building import (
    BROKER,
    CLIENT,
    COOKED,
    COOKED2,
    NULL,
    RAW,
    Captured,
    captured,
    frame,
    pcap,
    pcapng,
    segment,
)
from tests.inspector.capture.commands import CONNECT
from tests.inspector.capture.recorded import packets, reading, recorded
from tests.inspector.capture.wrapping import UNREAD, WRAPPINGS, framed, ip4

JAVA, PYTHON = "java-basic", "python-basic"
PORTS = (struct.pack("!H", 6650), struct.pack("!H", 6660))
"""Where its brokers listen."""


def said(events: list[Event]) -> list[str]:
    """The events without their times."""
    times = ("latency_s", "waited_s")
    left = [(one.name, {key: value for key, value in one.fields.items() if key not in times}) for one in events]
    return sorted(map(str, left))


class CaptureTests(SynchronousTestCase):
    """Captures of real clients and brokers."""

    def test_java(self) -> None:
        """The Java client's lookups, redirect included, one event each."""
        events, capture = reading(recorded(JAVA))
        lookups = [event for event in events if event.name == "lookup"]
        self.assertEqual([event.fields["response"] for event in lookups], ["redirect", "connect", "connect"])
        for event in lookups:
            self.assertEqual(event.fields["topic"], "persistent://public/default/c1")
            self.assertEqual(event.fields["broker_url_tls"], "pulsar+ssl://broker-2.pulsar.test:6661")
        ended = [event.fields for event in events if event.name == "ended"]
        self.assertEqual([(fields["how"], fields["client_frames"], fields["broker_frames"]) for fields in ended],
                         [("fin", 6, 6), ("fin", 13, 16)])  # fmt: skip
        self.assertEqual(capture.summary(), "72 packets, 2 connections (2 Pulsar, 0 TLS)")
        self.assertEqual([entry.lookups for entry in capture.ledger.topics()], [3])

    def test_python(self) -> None:
        """A capture of the Python client on a partitioned topic."""
        events, capture = reading(recorded(PYTHON))
        names = Counter(event.name for event in events)
        self.assertEqual((names["lookup"], names["producer"], names["subscribe"], names["ended"]), (11, 5, 5, 2))
        self.assertNotIn("lost", names)
        self.assertEqual([entry.partitions for entry in capture.ledger.topics(True)][-1], 4)

    def test_tls(self) -> None:
        """TLS connections are counted, and give one event each."""
        events, capture = reading(recorded("java-tls-no-name"))
        self.assertEqual([(event.name, event.fields["server_name"]) for event in events], [("tls", None)] * 3)
        self.assertIn("(0 Pulsar, 3 TLS)", capture.summary())

    def test_same_events_whatever_the_file(self) -> None:
        """The file format and the link type do not change the events."""
        wanted, _ = reading(recorded(JAVA))
        for link in (NULL, RAW, COOKED, COOKED2):
            packed = [Captured(packet.time, frame(packet.data, link)) for packet in packets(JAVA)]
            for file in (pcap, pcapng):
                self.assertEqual(reading(file(packed, link))[0], wanted, link)

    def test_same_events_in_any_order(self) -> None:
        """Duplicate and reordered packets of a sender change only the times of events."""
        for name in (JAVA, PYTHON):
            wanted, _ = reading(recorded(name))
            random = Random(name)
            mixed = packets(name)
            # Swap only packets of one sender that no answer separates.
            runs = [list(run) for _, run in groupby(mixed[8:], key=lambda packet: packet.data[20:24])]
            self.assertGreater(max(map(len, runs)), 2)
            mixed[8:] = [packet for run in runs for packet in random.sample(run, len(run))]
            mixed += random.sample(mixed, 20)
            packed = [Captured(float(at) / 1000, frame(packet.data)) for at, packet in enumerate(mixed)]
            short = [(event.name, event.connection, event.fields.get("topic")) for event in reading(pcap(packed))[0]]
            self.assertEqual(
                sorted(map(str, short)),
                sorted(str((event.name, event.connection, event.fields.get("topic"))) for event in wanted),
            )

    def test_from_the_middle(self) -> None:
        """A capture may begin anywhere; events follow from there on."""
        wanted, _ = reading(recorded(PYTHON))
        whole = packets(PYTHON)
        for start in (3, 20, 50, 90, 120):
            packed = [Captured(packet.time, frame(packet.data)) for packet in whole[start:]]
            events, capture = reading(pcap(packed))
            self.assertIn("(2 Pulsar", capture.summary() if start < 100 else "(2 Pulsar")
            later = [event for event in wanted if event.time > whole[start].time and event.name == "lookup"]
            told = [(event.time, event.fields["broker_url"]) for event in events if event.name == "lookup"]
            self.assertEqual(
                told[-len(later) :] if later else [], [(one.time, one.fields["broker_url"]) for one in later]
            )
            self.assertNotIn("lost", [event.name for event in events])

    def test_missing_packet(self) -> None:
        """A missing packet gives a gap event, and reading continues after it."""
        whole = packets(JAVA)
        data = next(at for at, packet in enumerate(whole) if b"public/default/c1" in packet.data)
        del whole[data]
        events, capture = reading(pcap([Captured(packet.time, frame(packet.data)) for packet in whole]))
        names = [event.name for event in events]
        self.assertEqual((names.count("gap"), names.count("lookup"), names.count("lost")), (1, 3, 0))
        self.assertIn("1 gap, ", capture.summary())

    def test_broken_file(self) -> None:
        """Events before the corrupt byte come, then the error; a truncated file is only noted in the summary."""
        capture = CaptureEvents(BytesIO(recorded(JAVA) + b"\xff" * 16))
        events: list[Event] = []
        with self.assertRaises(CaptureError):
            for event in capture:
                events.append(event)
        self.assertEqual(events, reading(recorded(JAVA))[0])
        self.assertEqual((list(capture.finish()), capture.packets), ([], 72))
        _, capture = reading(recorded(JAVA)[:-7])
        self.assertIn("the capture ends inside a packet", capture.summary())

    def test_ends_with_the_capture(self) -> None:
        """Connections still open at the end of the capture end at the last packet's time."""
        head = packets(JAVA)[:20]
        events, _ = reading(pcap([Captured(packet.time, frame(packet.data)) for packet in head]))
        self.assertEqual((events[-1].name, events[-1].fields["how"]), ("ended", "capture"))
        self.assertEqual(events[-1].time, head[-1].time)

    def test_no_pulsar(self) -> None:
        """If no connection is Pulsar, the summary suggests --port."""
        self.assertIn("--port", reading(recorded(JAVA), 1)[1].summary())
        self.assertEqual(reading(pcap([]))[1].summary(), "0 packets, 0 connections (0 Pulsar, 0 TLS)")

    def test_moved(self) -> None:
        """The ledger's events directly follow the event that caused them."""
        segments = [segment(CONNECT, 1)]
        for number, url in enumerate(("pulsar://a:1", "pulsar://b:1")):
            ask = write(pb.CommandLookupTopic(topic="t", request_id=number))
            connect = pb.CommandLookupTopicResponse.Connect
            answer = write(pb.CommandLookupTopicResponse(request_id=number, response=connect, brokerServiceUrl=url))
            segments.append(segment(ask, 1 + sum(len(one.data) for one in segments if one.source == CLIENT)))
            heard = sum(len(one.data) for one in segments if one.source == BROKER)
            segments.append(segment(answer, 1 + heard, source=BROKER))
        events, _ = reading(pcap(captured(segments)))
        self.assertEqual([event.name for event in events][:4], ["connect", "lookup", "lookup", "moved"])
        self.assertEqual(events[3].fields["to_url"], "pulsar://b:1")

    def test_encapsulated(self) -> None:
        """A real capture in each encapsulation gives the same events; no packet is skipped."""
        wanted, _ = reading(recorded(JAVA))
        for name, (link, wrap) in WRAPPINGS.items():
            wrapped = [Captured(packet.time, wrap(packet.data)) for packet in packets(JAVA)]
            events, capture = reading(pcap(wrapped, link))
            self.assertEqual(events, wanted, name)
            self.assertFalse(capture.incomplete, name)

    def test_skipped(self) -> None:
        """Skipped packets are counted by kind, with the cure."""
        unread = [Captured(1.0, packet) for packet in UNREAD.values()]
        fragment = Captured(1.0, framed(ip4(6, bytes(20), fragment=5)))
        cut = captured([segment(b"ab", 1, cut=100)])
        for more, text in (
            (unread, "6 packets with unsupported encapsulation (1 IPsec ESP, 1 WireGuard, "),
            ([fragment], "1 IP fragment not reassembled: capture after the tunnel"),
            (cut, "1 packet truncated by the capture program: capture with `tcpdump -s 0`"),
            ([Captured(1.0, framed(b"\x45"))], "1 malformed packet"),
        ):
            _, capture = reading(pcap([*(Captured(one.time, frame(one.data)) for one in packets(JAVA)), *more]))
            self.assertIn(text, capture.summary())
            self.assertTrue(capture.incomplete)
        _, capture = reading(pcap([Captured(1.0, framed(ip4(17, bytes(20), fragment=5)))]))
        self.assertFalse(capture.incomplete)

    def test_directions_out_of_order(self) -> None:
        """If the broker's packets come seconds too early in the file, the events are still in order."""
        wanted, _ = reading(recorded(JAVA))
        for behind in (0.001, 0.3, 2.0):
            for clock in (lambda one: one.time, lambda one: 1.0):
                swapped = sorted(packets(JAVA), key=lambda one: one.time + behind * (one.data[22:24] in PORTS))
                events, capture = reading(pcap([Captured(clock(one), frame(one.data)) for one in swapped]))
                self.assertEqual(said(events), said(wanted))
                self.assertFalse(capture.incomplete)

    def test_clusters(self) -> None:
        """A capture of two clusters that replicate to each other has two entries for the topic, and no move."""
        events, capture = reading(recorded("geo-replication"))
        self.assertNotIn("moved", [event.name for event in events])
        self.assertEqual(
            {"127.0.0.1:6650": "pulsar://127.0.0.1:6650", "127.0.0.1:6670": "pulsar://127.0.0.1:6670"},
            {entry.cluster: entry.broker_url for entry in capture.ledger.topics()},
        )

    def test_with_progress(self) -> None:
        """The progress callback is called while reading."""
        calls: list[None] = []
        capture = CaptureEvents(BytesIO(recorded(JAVA)))
        self.assertTrue(list(capture.with_progress(lambda: calls.append(None))))
        self.assertTrue(calls)
