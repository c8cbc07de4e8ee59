"""Tests for sniproxy.migrate.report."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.model import Kind, Note, Notes, Place, Rule
from sniproxy.migrate.ordering import Ordered
from sniproxy.migrate.report import decides, note_routes, to_json, to_text

NOTES = [
    Note(Kind.LEFT_OUT, Place("a.cfg", 9, "lua"), "no counterpart", True),
    Note(Kind.TAKEN, Place("a.cfg", 1, "bind"), "tcp:4443"),
    Note(Kind.DIFFERENT, Place("a.cfg", 2), "sorted\x1b"),
]


class ReportTests(SynchronousTestCase):
    """What became of each setting."""

    def test_text(self) -> None:
        """By kind, each with its place; what decides is marked; control characters are escaped."""
        self.assertEqual(
            "taken:\n  a.cfg:1 bind: tcp:4443\ndifferent here:\n  a.cfg:2: sorted\\x1b\nleft out:\n"
            "  ! a.cfg:9 lua: no counterpart\n1 taken, 1 different here, 1 left out; "
            "1 setting marked ! decides where names go: the result routes differently\n",
            to_text(NOTES),
        )

    def test_nothing(self) -> None:
        """The summary is always there."""
        self.assertEqual("0 taken, 0 different here, 0 left out\n", to_text([]))
        self.assertTrue(to_text([NOTES[0]] * 2).endswith("2 settings marked ! decide where names go: "
                                                         "the result routes differently\n"))  # fmt: skip

    def test_routes(self) -> None:
        """Each route is taken, but for those whose line the reader has noted."""
        report = Notes([Note(Kind.TAKEN, Place("a.cfg", 1), "listener")])
        made = [
            Rule("a.test", Place("a.cfg", 1), ("t:1",)),
            Rule("b.test", Place("a.cfg", 2, "acl"), ("t:1", "u:1", "v:1", "w:1")),
            Rule("c.test", Place("a.cfg", 3), listener="one"),
        ]
        default = Rule("*", Place("a.cfg", 4), resolver="names")
        note_routes(Ordered(made, default, [Rule("", Place("a.cfg", 5), ("t:1",))]), report)
        self.assertEqual(
            [
                "a.cfg:2 acl: b.test to t:1, u:1, v:1, ...",
                "a.cfg:3: c.test on one to no target: refused",
                "a.cfg:4: other names to names",
                "a.cfg:5: hellos without a name to t:1",
            ],
            [f"{note.place}: {note.text}" for note in report.notes[1:]],
        )

    def test_json(self) -> None:
        """Unknown lines and keys are null."""
        document = json.loads(to_json(NOTES))
        self.assertTrue(document["decides"])
        self.assertEqual(
            {"kind": "different", "file": "a.cfg", "line": 2, "key": None, "text": "sorted\x1b", "decides": False},
            document["notes"][2],
        )
        self.assertFalse(decides(NOTES[1:]))
