"""Tests for sniproxy.conversation.textform."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation import textform
from sniproxy.conversation.entry import ALL
from sniproxy.conversation.recorder import Recording
from sniproxy.conversation.textform import ConversationError, read_conversation
from tests.conversation.talk import recorded, talk

LINES = recorded(talk(), Recording(keep=ALL))
HEAD = '{"conversation": 1}'
PING = '{"from": "client", "command": "PING"}'


class ReadTests(SynchronousTestCase):
    """read_conversation."""

    def test_read(self) -> None:
        """A file has the frames with their times, sides and lines, and the end."""
        found = read_conversation(recorded(talk(), Recording(keep=ALL)))
        self.assertEqual(("c:1", "b:2", "client"), (found.client, found.broker, found.end))
        self.assertEqual(
            [(2, 0.0, "client"), (3, 0.25, "broker")], [(x.number, x.time, x.side) for x in found.lines[:2]]
        )
        self.assertEqual(10, len(found.lines))

    def test_edited(self) -> None:
        """Comments, empty lines and missing times are allowed; the end may be another thing than a text."""
        found = read_conversation(["# a test", "", HEAD, "  ", PING, "#", '{"end": 5}'])
        self.assertEqual([(5, 0.0)], [(line.number, line.time) for line in found.lines])
        self.assertEqual(("", "", ""), (found.client, found.broker, found.end))

    def test_started(self) -> None:
        """The header may have the time of the beginning, with its zone."""
        for text, seconds in (
            ("1970-01-01T00:01:00.5+00:00", 60.5),
            ("1970-01-01T01:00:00+01:00", 0.0),
            ("1970-01-01T00:01:00", None),
            ("yesterday", None),
        ):
            self.assertEqual(seconds, read_conversation([json.dumps({**json.loads(HEAD), "started": text})]).started)
        self.assertIsNone(read_conversation([HEAD]).started)

    def test_played(self) -> None:
        """The frames of the side that will be sent have all required fields; those that are compared need not."""
        lines = [HEAD, '{"from": "broker", "command": "SEND_ERROR", "fields": {"producer_id": 1, "sequence_id": 2}}']
        for side in ("client", None):
            self.assertEqual(1, len(read_conversation(lines, side).lines))
        error = self.assertRaises(ConversationError, read_conversation, lines, "broker")
        self.assertEqual("line 2: SEND_ERROR: error is missing; Pulsar requires it, so add it", str(error))

    def test_wrong(self) -> None:
        """The error names the line and the cure."""
        deep = "[" * 100_000
        for lines, reason in (
            ([], "no conversation"),
            ([PING], "line 1: the header is missing"),
            (['{"conversation": 2}'], "line 1: format '2' is unknown"),
            (['{"conversation": true}'], "line 1: format"),
            ([HEAD, "{"], "line 2: not JSON: "),
            ([HEAD, deep], "line 2: not JSON: "),
            ([HEAD, "NaN"], "line 2: not JSON: "),
            ([HEAD, "1" * 5000], "line 2: not JSON: "),
            ([HEAD, "5"], "line 2: not an object"),
            ([HEAD, '{"from": "me", "command": "PING"}'], 'line 2: from: write "client"'),
            ([HEAD, '{"time": -1, "from": "client"}'], "line 2: time: write"),
            ([HEAD, '{"time": true, "from": "client"}'], "line 2: time: write"),
            ([HEAD, '{"time": 1e999, "from": "client"}'], "line 2: time: write"),
            ([HEAD, '{"from": "client", "command": "PINGS"}'], "line 2: command: "),
            ([HEAD, PING, '{"end": "x"}', PING], "line 4: a frame after the end"),
        ):
            error = self.assertRaises(ConversationError, read_conversation, lines)
            self.assertIn(reason, str(error))

    def test_bounds(self) -> None:
        """Long lines and long files are refused."""
        self.patch(textform, "MAX_LINE_CHARS", 40)
        self.assertRaises(ConversationError, read_conversation, [HEAD, " " * 41 + "x"])
        self.patch(textform, "MAX_FRAMES", 2)
        self.assertEqual(2, len(read_conversation([HEAD, PING, PING]).lines))
        self.assertRaises(ConversationError, read_conversation, [HEAD, PING, PING, PING])

    @given(st.lists(st.text(max_size=80), max_size=4))
    def test_any_text(self, lines: list[str]) -> None:
        """Any text is read or refused."""
        for text in (lines, [HEAD, *lines]):
            try:
                read_conversation(text)
            except ConversationError:
                pass

    @given(st.data())
    def test_any_edit(self, data: st.DataObject) -> None:
        """A recorded file in which something was edited is read or refused."""
        lines = list(LINES)
        at = data.draw(st.integers(0, len(lines) - 1))
        begin = data.draw(st.integers(0, len(lines[at])))
        end = data.draw(st.integers(begin, min(len(lines[at]), begin + 12)))
        new = data.draw(
            st.one_of(st.text(max_size=4), st.sampled_from(["null", "[]", "{}", "true", "-1", '""', "1e400"]))
        )
        lines[at] = lines[at][:begin] + new + lines[at][end:]
        try:
            read_conversation(lines)
        except ConversationError:
            pass

    def test_lines(self) -> None:
        """Each line is printable ASCII."""
        for line in recorded(talk(topic="persistent://a/b/\n\x1b\u202e")):
            self.assertTrue(line.isascii() and line.isprintable())
            json.loads(line)
