"""A route table, and an assertion for refused connections."""

from __future__ import annotations

import socket

from sniproxy.events import Connection, Result
from sniproxy.tls.alerts import Alert, fatal_alert
from tests.support.proxies import Proxy
from tests.support.sockets import SocketTestCase, in_thread, read_to_end

NAME = "broker-1.pulsar.test"


def route(target: str, name: str = NAME, more: str = "") -> str:
    """A route table. @param more: further lines."""
    return f'[[route]]\nserver_name = "{name}"\ntarget = "{target}"\n{more}'


class ConversationCase(SocketTestCase):
    """Has an assertion for refused connections."""

    async def refused(
        self, proxy: Proxy, data: bytes, result: Result, alert: Alert | None, end: bool = False
    ) -> Connection:
        """Send bytes, and assert that the client gets the alert (None: no alert) and a FIN, as the record says.

        @param end: send a FIN after the bytes.
        """
        number = len(proxy.records)
        with proxy.connect() as client:
            client.sendall(data)
            if end:
                client.shutdown(socket.SHUT_WR)
            expected = b"" if alert is None else fatal_alert(alert)
            self.assertEqual(expected, await in_thread(read_to_end, client))
        record = await proxy.ended(number)
        self.assertEqual((result, alert), (record.result, record.alert))
        self.assertEqual((0, 0), (record.bytes_up, record.bytes_down))
        return record
