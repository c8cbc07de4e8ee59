"""Moving bytes by recv and send."""

from __future__ import annotations

from sniproxy.net.copying import READ, CopyDirection
from tests.net import relaycontract
from tests.net.support import in_thread, read_exactly


class CopyTests(relaycontract.RelayContract):
    """The relay's contract by copying."""

    way = CopyDirection

    async def test_holds_no_more_than_a_read(self) -> None:
        """One call reads at most so many bytes."""
        tunnel = self.tunnel(buffers=4 * READ)
        direction = CopyDirection(tunnel.relay._client, tunnel.relay._upstream, b"")
        tunnel.relay._reactor.removeReader(tunnel.relay._client)
        await in_thread(tunnel.client.sendall, bytes(2 * READ))
        self.assertTrue(0 < direction.fill() <= READ)
        direction.flush()
        tunnel.close()
        await tunnel.done
        self.assertEqual(b"", await in_thread(read_exactly, tunnel.client, 0))
