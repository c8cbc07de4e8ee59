"""Tests for sniproxy.conversation.fieldnames."""

from __future__ import annotations

import re

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.conversation.fieldnames import MESSAGES
from sniproxy.pulsar import commands_pb2 as pb

FIELD = re.compile(r"[1-9][0-9]* \w+ \w+\*?[!$]?(=1)?")


class MessagesTests(SynchronousTestCase):
    """The fields that commands.proto leaves out."""

    def test_form(self) -> None:
        """Each line names a message once, and fields in the documented form."""
        lines = [line.partition(": ") for line in MESSAGES.strip().splitlines()]
        self.assertEqual(len(lines), len({name for name, _, _ in lines}))
        for name, _, fields in lines:
            for field in fields.split(", "):
                self.assertTrue(FIELD.fullmatch(field), f"{name}: {field}")

    def test_left_out(self) -> None:
        """commands.proto has none of them: each field is written down in one place."""
        for line in MESSAGES.strip().splitlines():
            name, _, fields = line.partition(": ")
            known = pb.DESCRIPTOR.message_types_by_name.get(name)
            if known is not None:
                numbers = {int(field.split(" ")[0]) for field in fields.split(", ")}
                self.assertEqual(set(), numbers & set(known.fields_by_number), name)
