"""Answers lookups: partitions, owners, and the topics of a namespace. Pure."""

from __future__ import annotations

from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.topicname import namespace_of
from sniproxy.testing.pulsar.hidden import number_of
from sniproxy.testing.pulsar.session import ClientSession, with_url

_MODE = 3  # of GET_TOPICS_OF_NAMESPACE
_SCHEMES = {0: "persistent://", 1: "non-persistent://", 2: ""}


def answer_partitions(session: ClientSession, request: pb.CommandPartitionedTopicMetadata) -> None:
    """PARTITIONED_METADATA."""
    session.answer(
        pb.CommandPartitionedTopicMetadataResponse(
            partitions=session.cluster.partition_count(request.topic),
            request_id=request.request_id,
            response=pb.CommandPartitionedTopicMetadataResponse.Success,
        )
    )


def answer_lookup(session: ClientSession, request: pb.CommandLookupTopic) -> None:
    """LOOKUP: the owner's URL, or a redirect to another broker."""
    session.report("LOOKUP", request.topic)
    cluster = session.cluster
    redirect = cluster.redirect(request.topic) or session.broker
    answer = pb.CommandLookupTopicResponse(
        response=pb.CommandLookupTopicResponse.Connect, request_id=request.request_id, authoritative=True
    )
    if redirect != session.broker:
        answer.response = pb.CommandLookupTopicResponse.Redirect
        url = cluster.urls[redirect]
    else:
        url = cluster.urls[cluster.owner(request.topic)]
    with_url(answer, "brokerServiceUrl", "brokerServiceUrlTls", url)
    session.answer(answer)


def answer_topics(session: ClientSession, request: pb.CommandGetTopicsOfNamespace) -> None:
    """GET_TOPICS_OF_NAMESPACE: all topics that have been used. The client applies its pattern."""
    scheme = _SCHEMES.get(number_of(request, _MODE, 0), "")
    names = [
        name for name in session.cluster.topics if name.startswith(scheme) and namespace_of(name) == request.namespace
    ]
    session.answer(pb.CommandGetTopicsOfNamespaceResponse(request_id=request.request_id, topics=sorted(names)))
