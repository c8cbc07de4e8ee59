"""Brokers whose answers a test scripts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from google.protobuf.message import Message
from twisted.internet.protocol import Protocol, ServerFactory

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import fields_of, read, write
from sniproxy.pulsar.frames import FrameReader

TOPIC = "persistent://public/default/t"
SCALABLE = "topic://public/default/s"
VIP = "pulsar-vip.test"
B1, B2 = "broker-1.pulsar.test", "broker-2.pulsar.test"

Answer = pb.CommandLookupTopicResponse
Partitions = pb.CommandPartitionedTopicMetadataResponse
PULSAR_5 = pb.FeatureFlags(supports_scalable_topics=True)
#: What a broker says to a command: its type's name in the protocol, and its fields.
Script = Callable[[str, Any], Iterable[Message | bytes]]


def url(name: str) -> str:
    """The service URL of a broker with this name."""
    return f"pulsar+ssl://{name}:6651"


class _Broker(Protocol):
    def __init__(self, factory: Scripted) -> None:
        self._factory = factory
        self._reader = FrameReader()

    def dataReceived(self, data: bytes) -> None:
        assert self.transport is not None
        for frame in self._reader.feed(data):
            command = read(frame.command)
            name, fields = pb.BaseCommand.Type.Name(command.type), fields_of(command)
            self._factory.heard.append((name, fields))
            for answer in self._factory.script(name, fields):
                if answer == b"":
                    self.transport.loseConnection()
                else:
                    self.transport.write(answer if isinstance(answer, bytes) else write(answer))


class Scripted(ServerFactory):
    """Brokers with a script; empty bytes in an answer close the connection. @ivar heard: the commands received."""

    noisy = False

    def __init__(self, script: Script) -> None:
        self.script = script
        self.heard: list[tuple[str, Any]] = []

    def buildProtocol(self, addr: object) -> Protocol:
        return _Broker(self)


def connected(version: str = "scripted", features: pb.FeatureFlags | None = None) -> pb.CommandConnected:
    """The answer to CONNECT."""
    return pb.CommandConnected(
        server_version=version, protocol_version=20, max_message_size=5 << 20, feature_flags=features
    )


def polite(script: Script, features: pb.FeatureFlags | None = None) -> Script:
    """Answer CONNECT, and the partition lookup with no partitions; the script answers the rest."""

    def both(name: str, fields: Any) -> Iterable[Message | bytes]:
        if name == "CONNECT":
            return [connected(features=features)]
        if name == "PARTITIONED_METADATA":
            return [Partitions(request_id=fields.request_id, response=Partitions.Success, partitions=0)]
        return script(name, fields)

    return both


def lookup_answer(fields: Any, kind: Any, url: str = "", **more: Any) -> Answer:
    """``Connect``, ``Redirect`` or ``Failed``, with a URL by its scheme."""
    answer = Answer(request_id=fields.request_id, response=kind, **more)
    if url.startswith("pulsar+ssl:"):
        answer.brokerServiceUrlTls = url
    elif url:
        answer.brokerServiceUrl = url
    return answer


def layout_answer(fields: Any, controller: str | None = None, segments: int = 2) -> pb.CommandScalableTopicUpdate:
    """A layout whose first segment is sealed; the others share the hashes."""
    dag = pb.ScalableTopicDag(epoch=3, controller_broker_url=controller)
    dag.segments.add(segment_id=0, hash_start=0, hash_end=0xFFFF, state=pb.ScalableTopicSegment.SEALED)
    for number in range(1, segments):
        start, end = (0x10000 * at // (segments - 1) for at in (number - 1, number))
        dag.segments.add(segment_id=number, hash_start=start, hash_end=end - 1)
        dag.segment_brokers.add(segment_id=number, broker_url=f"pulsar://{B1}:6650")
    return pb.CommandScalableTopicUpdate(session_id=fields.session_id, dag=dag)


def scalable(controller: str | None = None, segments: int = 2) -> Script:
    """A broker of Pulsar 5 that owns all topics. Its layout has a controller with this URL."""

    def script(name: str, fields: Any) -> Iterable[Message | bytes]:
        if name == "SCALABLE_TOPIC_LOOKUP":
            return [layout_answer(fields, controller, segments)]
        return [lookup_answer(fields, Answer.Connect, url(B1))] if name == "LOOKUP" else []

    return polite(script, PULSAR_5)
