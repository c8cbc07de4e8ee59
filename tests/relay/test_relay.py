"""The relay in Python: its contract, and what only this relay does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import TestCase

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.relay import Ending, Relay
from sniproxy.util.buffered import BufferAccount
from tests.relay import deadlinecontract, pythonrelay
from tests.relay.relaycontract import Tunnel
from tests.support.reactor import reactor
from tests.support.sockets import connected, in_thread

ROOT = Path(__file__).parent.parent.parent


class ContractTests(pythonrelay.PythonRelayContract, deadlinecontract.DeadlineContract):
    """The relay's contract, with plain sockets."""


class RelayTests(TestCase):
    """What the contract does not say."""

    async def test_cancel(self) -> None:
        """Cancelling the relay ends both sides."""
        tunnel = Tunnel(pythonrelay.make_relay)
        self.addCleanup(tunnel.close)
        tunnel.done.cancel()
        self.assertEqual(Ending(Result.SHUTDOWN, "cancelled"), await tunnel.done)
        self.assertEqual((b"", b""), (tunnel.client.recv(1), tunnel.upstream.recv(1)))
        tunnel.close()
        await tunnel.closer.settled()

    async def test_lost_without_a_reset(self) -> None:
        """A failure other than a reset is reported with the system's text; what comes after the end changes nothing."""
        client, ours_client = connected()
        upstream, ours_upstream = connected()
        closer = LingeringCloser(reactor)
        relay = Relay(
            reactor, ours_client, ours_upstream, b"", closer=closer, idle=9.0, half_closed=9.0, account=BufferAccount()
        )
        done = relay.run()
        ours = relay._client
        relay.lost(relay._upstream, TimeoutError(110, "Connection timed out"))
        relay.lost(ours, ConnectionResetError(104, "reset"))
        relay.end(Ending(Result.DRAINED))
        self.assertEqual(Ending(Result.RESET, "the target's connection was lost: Connection timed out"), await done)
        client.close()
        upstream.close()

    async def test_other_reactors(self) -> None:
        """Relays live under select, poll and asyncio as well."""
        names = (
            "bytes_both_ways", "client_ends_first", "upstream_resets", "slow_reader_with_tiny_windows",
            "reset_after_half_an_end",
        )  # fmt: skip
        for kind in ("select", "poll", "asyncio"):
            command = [sys.executable, "-m", "twisted.trial", f"--reactor={kind}"]
            command += [f"--temp-directory={Path(self.mktemp()).absolute()}"]
            command += [f"tests.relay.test_relay.ContractTests.test_{name}" for name in names]
            ran = await in_thread(lambda command: subprocess.run(command, cwd=ROOT, capture_output=True), command)
            self.assertEqual(0, ran.returncode, ran.stdout[-2000:] + ran.stderr[-2000:])
