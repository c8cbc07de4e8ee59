"""C{/faults} of the admin endpoint."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.faults import ADD, REMOVE, change_faults, faults_document
from sniproxy.admin.query import ErrorAnswer
from tests.admin.sample import SampleProxy
from tests.admin.sitecase import SiteTestCase


class FaultTests(SynchronousTestCase):
    """The documents."""

    def test_add_and_remove(self) -> None:
        """A fault is added with its counts, listed, and removed by name."""
        proxy = SampleProxy()
        added = change_faults(proxy, ADD, {"action": "drop", "on": "PONG", "name": "a"})
        self.assertEqual(("a", "PONG", 0, True), (added["name"], added["trigger"], added["applied"], added["added"]))
        proxy.faults.counts["drop"] = 2
        self.assertEqual({"time": 5.0, "faults": [added], "counts": {"drop": 2}}, faults_document(proxy, 5.0))
        self.assertEqual({"removed": "a"}, change_faults(proxy, REMOVE, {"name": "a"}))
        self.assertEqual([], faults_document(proxy, 5.0)["faults"])

    def test_errors(self) -> None:
        """Errors have the key, the value and the cure."""
        for path, values, code, text in (
            (ADD, {}, 400, "action = missing: write one of delay"),
            (ADD, {"action": "drop", "on": "P\xe4NG"}, 400, "on = 'P\\xe4NG': it is no type"),
            (REMOVE, {}, 400, "name is missing"),
            (REMOVE, {"name": "x"}, 404, "no fault has this name; faults: none"),
        ):
            answer = self.assertRaises(ErrorAnswer, change_faults, SampleProxy(), path, values)
            self.assertEqual((code, True), (answer.code, answer.text.startswith(text)), answer.text)


class SiteTests(SiteTestCase):
    """Over HTTP."""

    async def test_site(self) -> None:
        """Adding needs the token; listing does not; C{/status} has the faults, too."""
        sample = self.serve()
        self.assertEqual(403, (await self.ask("/faults/add?action=cut", "POST")).code)
        self.assertEqual(405, (await self.ask("/faults/add?action=cut")).code)
        sample.site.token = b"secret"
        headers = {"Authorization": "Bearer secret"}
        answer = await self.ask("/faults/add?action=cut&name=b%20c&after_bytes=7", "POST", headers)
        self.assertEqual((200, "7 bytes from the broker"), (answer.code, json.loads(answer.body)["trigger"]))
        for path in ("/faults", "/status"):
            (found,) = json.loads((await self.ask(path)).body)["faults"]
            self.assertEqual("b c", found["name"])
        self.assertEqual(200, (await self.ask("/faults/remove?name=b%20c", "POST", headers)).code)
