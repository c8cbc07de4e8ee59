"""What every connection's life has; its stages are tested with those who live it (test_conversation)."""

from __future__ import annotations

from typing import Any, cast

from twisted.internet import reactor
from twisted.internet.defer import Deferred

from sniproxy.config.schema import Timeouts
from sniproxy.connection.lifecycle import ConnectionContext, Life
from sniproxy.events import Connection, Refusal, Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.copy import CopyDirection
from sniproxy.relay.relay import Ending
from sniproxy.tls.alerts import Alert, fatal_alert
from tests.support.sockets import SocketTestCase, connected, in_thread, read_to_end


class Scripted(Life):
    """A life whose one stage a test plays."""

    stage: Deferred[Ending]

    async def _pass(self) -> Ending:
        return await self.stage


class LifeTests(SocketTestCase):
    """How a life ends."""

    async def live(self, result: object) -> tuple[Connection, bytes]:
        """End the stage with an ending or an error. @return: the record, and what the client got."""
        told: list[Connection] = []
        far, ours = connected()
        self.addCleanup(far.close)
        closer = LingeringCloser(reactor)
        nobody = cast(Any, None)
        house = ConnectionContext(reactor, nobody, Timeouts(), nobody, closer, CopyDirection, told.append)
        life = Scripted(house, ours, Connection("id-1", 1.0, "public", "127.0.0.1:1"))
        life.stage = Deferred()
        ended: Deferred[object] = Deferred()
        life.begin(ended.callback)
        self.assertEqual(("hello", False, 0, 0), (life.state, life.tunnelling, life.bytes_up, life.bytes_down))
        if isinstance(result, Exception):
            life.stage.errback(result)
        elif result is None:
            life.end(Ending(Result.DRAINED, "enough"))
        else:
            life.stage.callback(cast(Ending, result))
        self.assertIs(life, await ended)
        got = await in_thread(read_to_end, far)
        far.close()
        await closer.settled()
        return told[0], got

    async def test_ways_to_end(self) -> None:
        """Ending, refusal, the proxy's stop and a fault each have their result, and the client its word."""
        for result, expected, word in (
            (Ending(Result.OK), (Result.OK, None, ""), b""),
            (
                Refusal(Result.NO_ROUTE, "none", Alert.UNRECOGNIZED_NAME),
                (Result.NO_ROUTE, Alert.UNRECOGNIZED_NAME, "none"),
                fatal_alert(Alert.UNRECOGNIZED_NAME),
            ),
            (Refusal(Result.CONNECT_FAILED, "down"), (Result.CONNECT_FAILED, None, "down"), b""),
            (None, (Result.DRAINED, None, "enough"), b""),
            (ZeroDivisionError(), (Result.INTERNAL_ERROR, None, "a fault of the proxy: see its log"), b""),
        ):
            record, got = await self.live(result)
            self.assertEqual(expected, (record.result, record.alert, record.reason))
            self.assertEqual(word, got)
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
