"""Tests for sniproxy.admin.who."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.admin.who import STEP, who_steps
from sniproxy.events import Connection, packed_address


def live(number: int, address: str | None = "10.0.0.5", client: str = "c:1", sent: bool = False) -> Any:
    """An open connection; its number is the port towards the target. C{sent}: the target got a header."""
    upstream = None if address is None else packed_address(address, number)
    record = Connection(str(number), 0.0, "public", client, upstream=upstream, header_sent=sent)
    return SimpleNamespace(record=record, bytes_up=1, bytes_down=2, state="open")


class WhoTests(SynchronousTestCase):
    """who_steps."""

    def found(self, connections: list[Any], *addresses: str) -> list[str]:
        steps = list(who_steps(cast(Any, connections), addresses, 1.0))
        self.steps = len(steps)
        return [one["id"] for part in steps for one in part]

    def test_addresses(self) -> None:
        """Only connections with exactly one of these addresses are found."""
        connections = [live(1), live(2), live(1, "10.0.0.6"), live(3, None), live(4, "fd00::5")]
        self.assertEqual(["1"], self.found(connections, "10.0.0.5:1"))
        self.assertEqual(["2", "4"], self.found(connections, "[fd00::5]:4", "10.0.0.5:2"))
        for address in ("10.0.0.5:9", "10.0.0.7:1", "x", "", "10.0.0.5:x", "10.0.0.5:\u0661"):
            self.assertEqual([], self.found(connections, address))

    def test_client(self) -> None:
        """A connection is found by its client if the target got a PROXY protocol header, and only then."""
        connections = [live(1, client="192.0.2.7:5"), live(2, client="192.0.2.7:5", sent=True), live(5, "192.0.2.7")]
        self.assertEqual(["2", "5"], self.found(connections, "192.0.2.7:5"))
        self.assertEqual(["2"], self.found(connections, "10.0.0.5:2"))
        self.assertEqual([], self.found(connections, "192.0.2.7:2"))

    def test_steps(self) -> None:
        """Many connections are examined in steps."""
        found = self.found([live(number) for number in range(2 * STEP + 1)], f"10.0.0.5:{2 * STEP}", "10.0.0.5:7")
        self.assertEqual((["7", str(2 * STEP)], 3), (found, self.steps))
