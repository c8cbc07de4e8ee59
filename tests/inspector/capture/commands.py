"""Pulsar frames for the tests of captures."""

from __future__ import annotations

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write

CONNECT = write(pb.CommandConnect(client_version="test"))


CONNECTED = write(pb.CommandConnected(server_version="test"))


LOOKUP = write(pb.CommandLookupTopic(topic="t", request_id=1))


SEND = write(pb.CommandSend(producer_id=1, sequence_id=2), b"\0\0\0\0payload")
