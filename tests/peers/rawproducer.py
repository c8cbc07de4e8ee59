"""A producer by hand, over any socket: for tests that choose its address, or what it sends first."""

from __future__ import annotations

import socket

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import read, type_name, write
from sniproxy.pulsar.frames import FrameReader
from tests.peers.middleboxes import TIMEOUT_S


def create_producer(sock: socket.socket, topic: str, first: bytes = b"") -> list[str]:
    """Connect and create a producer, which lasts as long as the socket is open.

    `first`: sent before. Returns the types of the answers, until the producer or the end. Raises OSError.
    """
    sock.settimeout(TIMEOUT_S)
    connect = pb.CommandConnect(client_version="test", protocol_version=20)
    producer = pb.CommandProducer(topic=topic, producer_id=1, request_id=1, producer_name="by-hand")
    sock.sendall(first + write(connect) + write(producer))
    reader, types = FrameReader(), list[str]()
    while "PRODUCER_SUCCESS" not in types:
        try:
            data = sock.recv(65536)
        except ConnectionResetError:
            break
        if not data:
            break
        types += [type_name(read(frame.command)) for frame in reader.feed(data)]
    return types
