"""Faults as a client and a broker see them, through a running proxy."""

from __future__ import annotations

import socket
from itertools import pairwise

from sniproxy.events import Result
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from tests.faults.faulty import (
    CONNECT,
    CONNECTED,
    PING,
    PONG,
    TOPIC,
    FaultCase,
    commands,
    fault,
    located,
    lookup,
    only,
    producer,
    receipt,
    send,
    subscribe,
    until_applied,
)
from tests.support.sockets import in_thread, read_exactly, read_to_end


class RelayTests(FaultCase):
    """Each action."""

    async def passes(self, source: socket.socket, target: socket.socket, data: bytes) -> None:
        """Bytes pass unchanged."""
        source.sendall(data)
        self.assertEqual(data, await in_thread(read_exactly, target, len(data)))

    async def test_reset(self) -> None:
        """The client gets what came before, then a reset; so does the broker. The record names the fault."""
        client, broker = await self.open(fault(action="reset", on="LOOKUP_RESPONSE", nth=2, name="bad day"))
        await self.passes(client, broker, CONNECT + lookup(1) + lookup(2))
        broker.sendall(CONNECTED + located(1) + located(2))
        self.assertEqual(CONNECTED + located(1), await in_thread(read_exactly, client, len(CONNECTED + located(1))))
        for sock in (client, broker):
            with self.assertRaises(ConnectionResetError):
                await in_thread(read_to_end, sock)
        record = await self.through.ended()
        self.assertEqual((Result.RESET, ("bad day",)), (record.result, record.faults))

    async def test_half_close(self) -> None:
        """The client gets a FIN in place of the command, and its own bytes still pass."""
        client, broker = await self.open(fault(action="half_close", on="PONG", sender="broker"))
        await self.passes(broker, client, CONNECTED)
        broker.sendall(PONG + CONNECTED)
        self.assertEqual(b"", await in_thread(read_to_end, client))
        await self.passes(client, broker, PING + CONNECT)
        client.close()
        self.assertEqual(b"", await in_thread(read_to_end, broker))
        self.assertEqual(Result.OK, (await self.through.ended()).result)

    async def test_cut(self) -> None:
        """The client gets the first half of the frame, then a FIN."""
        client, broker = await self.open(fault(action="cut", on="CONNECTED"))
        broker.sendall(CONNECTED)
        self.assertEqual(CONNECTED[: len(CONNECTED) // 2], await in_thread(read_to_end, client))
        self.assertIn("cut", (await self.through.ended()).reason)

    async def test_drop(self) -> None:
        """Answers to PING do not arrive, other commands do; a payload is dropped with its command."""
        client, broker = await self.open(fault(action="drop", on="PONG") + fault(action="drop", on="SEND", nth=2))
        broker.sendall(PONG + CONNECTED + PONG)
        self.assertEqual(CONNECTED, await in_thread(read_exactly, client, len(CONNECTED)))
        client.sendall(send(1, 0) + send(1, 1, b"x" * 300_000) + send(1, 2))
        expected = send(1, 0) + send(1, 2)
        self.assertEqual(expected, await in_thread(read_exactly, broker, len(expected)))

    async def test_delay(self) -> None:
        """A command and what follows it wait; the other direction does not."""
        client, broker = await self.open(fault(action="delay", seconds=2, on="CONNECTED"))
        broker.sendall(PING + CONNECTED + PONG)
        self.assertEqual(PING, await in_thread(read_exactly, client, len(PING)))
        await self.passes(client, broker, CONNECT)
        broker.sendall(PING)
        broker.shutdown(socket.SHUT_WR)
        await self.passes(client, broker, CONNECT)
        client.setblocking(False)
        self.assertRaises(BlockingIOError, client.recv, 1)
        client.settimeout(30)
        await until_applied(self.through, 1)
        self.clock.advance(2)
        self.assertEqual(CONNECTED + PONG + PING, await in_thread(read_to_end, client))
        await self.passes(client, broker, CONNECT)

    async def test_stop(self) -> None:
        """No more bytes of the broker come, and the connection stays open; a reset of the broker ends it."""
        client, broker = await self.open(fault(action="stop", on="SEND_RECEIPT"))
        await self.passes(client, broker, CONNECT)
        broker.sendall(CONNECTED + receipt(1, 1) + PING)
        self.assertEqual(CONNECTED, await in_thread(read_exactly, client, len(CONNECTED)))
        self.clock.advance(10)
        await self.passes(client, broker, PING * 1000)
        client.setblocking(False)
        self.assertRaises(BlockingIOError, client.recv, 1)
        client.settimeout(30)
        broker.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        broker.close()
        with self.assertRaises(ConnectionResetError):
            await in_thread(read_to_end, client)

    async def test_rate(self) -> None:
        """Bytes come at the rate, in order and all."""
        client, broker = await self.open(fault(action="rate", rate=100, on="CONNECTED"))
        data = CONNECTED + b"".join(located(number) for number in range(20))
        broker.sendall(data)
        broker.shutdown(socket.SHUT_WR)
        got, sizes = b"", [0]
        while len(got) < len(data):
            self.clock.advance(1)
            client.settimeout(0.02)
            try:
                got += await in_thread(client.recv, 1 << 16)
            except TimeoutError:
                pass
            sizes.append(len(got))
        self.assertEqual(data, got)
        self.assertLessEqual(max(after - before for before, after in pairwise(sizes)), 210)
        self.assertEqual(b"", await in_thread(read_to_end, client))

    async def test_error(self) -> None:
        """A request is answered with the error, with its id, and the broker does not get it; others pass."""
        client, broker = await self.open(
            fault(action="error", error="TooManyRequests", on="LOOKUP", times=1, message="busy")
            + fault(action="error", error="ServiceNotReady", on="PRODUCER")
            + fault(action="error", error="ChecksumError", on="SEND")
        )
        client.sendall(CONNECT + lookup(7) + lookup(8) + producer(1, 9) + send(1, 5) + PING)
        expected = CONNECT + lookup(8) + PING
        self.assertEqual(expected, await in_thread(read_exactly, broker, len(expected)))
        broker.close()
        (_, found), (name, failed), (_, refused) = commands(await in_thread(read_to_end, client))
        self.assertEqual((7, found.Failed, "busy"), (found.request_id, found.response, found.message))
        self.assertEqual(pb.ServerError.TooManyRequests, found.error)
        self.assertEqual(("ERROR", 9, pb.ServerError.ServiceNotReady), (name, failed.request_id, failed.error))
        self.assertEqual(
            (1, 5, pb.ServerError.ChecksumError), (refused.producer_id, refused.sequence_id, refused.error)
        )

    async def test_error_in_place(self) -> None:
        """The broker's answer is replaced by the error."""
        client, broker = await self.open(fault(action="error", error="ServiceNotReady", on="LOOKUP_RESPONSE"))
        broker.sendall(located(3) + PING)
        broker.close()
        (_, found), (last, _) = commands(await in_thread(read_to_end, client))
        self.assertEqual((3, pb.ServerError.ServiceNotReady, "PING"), (found.request_id, found.error, last))

    async def test_redirect(self) -> None:
        """The lookup of one topic leads to another broker."""
        client, broker = await self.open(
            fault(action="redirect", on="LOOKUP_RESPONSE", url="pulsar://b.test:6650", topic="orders")
        )
        await self.passes(client, broker, lookup(1, "persistent://public/default/other") + lookup(2))
        broker.sendall(located(2) + located(1))
        broker.close()
        (_, moved), (_, other) = commands(await in_thread(read_to_end, client))
        self.assertEqual(
            (2, moved.Redirect, "pulsar://b.test:6650"), (moved.request_id, moved.response, moved.brokerServiceUrl)
        )
        self.assertEqual(
            (1, other.Connect, "pulsar://a.test:6650"), (other.request_id, other.response, other.brokerServiceUrl)
        )

    async def test_close_producer(self) -> None:
        """The client's producer is closed behind the broker's receipt, with a broker to connect to."""
        client, broker = await self.open(
            fault(action="close_producer", on="SEND_RECEIPT", nth=2, url="pulsar+ssl://b.test:6651", topic=TOPIC)
        )
        await self.passes(client, broker, producer(4, 1) + send(4, 0) + send(4, 1))
        broker.sendall(receipt(4, 0) + receipt(4, 1) + PING)
        broker.close()
        names = commands(await in_thread(read_to_end, client))
        self.assertEqual(["SEND_RECEIPT", "SEND_RECEIPT", "CLOSE_PRODUCER", "PING"], [name for name, _ in names])
        closed = names[2][1]
        self.assertEqual((4, "pulsar+ssl://b.test:6651"), (closed.producer_id, closed.assignedBrokerServiceUrlTls))

    async def test_close_consumer(self) -> None:
        """The consumer is closed at the client and at the broker, whose answer the client does not get."""
        client, broker = await self.open(fault(action="close_consumer", on="FLOW"))
        await self.passes(client, broker, subscribe(2, 1))
        client.sendall(write(pb.CommandFlow(consumer_id=2, messagePermits=5)))
        self.assertEqual(2, only(await in_thread(client.recv, 1000)).consumer_id)
        (name, _), (closes, close) = commands(await in_thread(broker.recv, 1000))
        self.assertEqual(("FLOW", "CLOSE_CONSUMER", 2), (name, closes, close.consumer_id))
        broker.sendall(write(pb.CommandSuccess(request_id=close.request_id)) + PING)
        self.assertEqual(PING, await in_thread(read_exactly, client, len(PING)))

    async def test_migrate(self) -> None:
        """The client learns that its topic has moved to another cluster."""
        client, broker = await self.open(fault(action="migrate", on="PRODUCER_SUCCESS", url="pulsar://blue.test:6650"))
        await self.passes(client, broker, producer(4, 1))
        broker.sendall(write(pb.CommandProducerSuccess(request_id=1, producer_name="p")))
        broker.close()
        _, (_, moved) = commands(await in_thread(read_to_end, client))
        self.assertEqual((4, moved.Producer), (moved.resource_id, moved.resource_type))
        self.assertEqual("pulsar://blue.test:6650", moved.brokerServiceUrl)

    async def test_bytes(self) -> None:
        """A connection is cut after a number of the broker's bytes, also in the middle of a frame."""
        client, broker = await self.open(fault(action="cut", after_bytes=len(CONNECTED) + 3))
        broker.sendall(CONNECTED + CONNECTED)
        self.assertEqual(CONNECTED + CONNECTED[:3], await in_thread(read_to_end, client))

    async def test_seconds(self) -> None:
        """A connection is reset after a number of seconds."""
        client, broker = await self.open(fault(action="reset", after_seconds=5, sender="client"))
        await self.passes(client, broker, CONNECT)
        await self.passes(broker, client, CONNECTED)
        self.clock.advance(5)
        for sock in (client, broker):
            with self.assertRaises(ConnectionResetError):
                await in_thread(read_to_end, sock)
