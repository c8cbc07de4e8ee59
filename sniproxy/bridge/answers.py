"""Rewrites a broker's commands so that clients connect to the bridge only. Pure.

Trials with real clients have shown that each rewrite is needed:

* A lookup's ``Connect`` gets a plain URL of the owner and ``proxy_through_service_url`` (fields 1 and 8).
* A ``Redirect`` is followed by the bridge: Java and C++ clients would dial its URL, past the bridge.
* An answer without a TLS URL becomes ``Failed``.
* CLOSE_PRODUCER and CLOSE_CONSUMER (PIP-307) get a plain URL of the new owner, which the client names in CONNECT.
* TOPIC_MIGRATED (PIP-188) gets the URL of the other cluster's bridge. Without one it is dropped.
* SCALABLE_TOPIC_UPDATE loses all URLs: the controller has no TLS URL, and a client of a Pulsar proxy needs none. It
  looks segments up, and subscribes at any broker, which forwards that to the controller.
* WATCH_TC_ASSIGNMENTS_UPDATE (PIP-473) gets a plain URL of each transaction coordinator's leader, which the client
  names in CONNECT. Leaders that the bridge does not connect to are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from sniproxy.bridge.pending import PendingLookups
from sniproxy.config.allowed import Allowing, Broker
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, fields_of, number_name, read, text, type_name, write
from sniproxy.pulsar.frames import MAX_FRAME_BYTES, FrameError
from sniproxy.pulsar.serviceurl import BadServiceURL, parse_service_url
from sniproxy.util.names import host_port

_Base = pb.BaseCommand
Response = pb.CommandLookupTopicResponse

TYPES = (
    _Base.CONNECTED, _Base.LOOKUP_RESPONSE, _Base.CLOSE_PRODUCER, _Base.CLOSE_CONSUMER, _Base.TOPIC_MIGRATED,
    _Base.SCALABLE_TOPIC_UPDATE, _Base.WATCH_TC_ASSIGNMENTS_UPDATE,
)  # fmt: skip
"""Commands of a broker that are read, and rewritten if they name brokers. CONNECTED has the frame limit."""

HEADER_BYTES = 10 * 1024
"""Bytes that a frame may have beside its message."""

MAX_PROBLEMS = 5
"""Lines in the log for one list of transaction coordinators."""

NO_TLS_URL = (
    "names no TLS URL{listener}: the bridge reaches brokers by TLS only; give the broker a pulsar+ssl:// listener "
    "(advertisedListeners, or brokerServicePortTls)"
)


def plain_url(broker: Broker) -> str:
    """The URL by which the client names the broker in CONNECT. It never dials it."""
    return f"pulsar://{host_port(*broker)}"


def tls_broker(message: Any, field: str) -> Broker | None:
    """The broker of the TLS URL in a message. None: the field is missing or malformed."""
    url = text(message, field, 1000)
    if not url:
        return None
    try:
        parsed = parse_service_url(url)
    except BadServiceURL:
        return None
    return parsed.hosts[0] if parsed.tls else None


def failed(request_id: int, message: str) -> bytes:
    """A lookup answer C{Failed}. Clients log the message and try again."""
    return write(
        Response(response=Response.Failed, request_id=request_id, error=pb.ServerError.ServiceNotReady, message=message)
    )


@attrs.frozen
class BridgeCallbacks:
    """Functions that L{Answers} call.

    @ivar follow: follows a Redirect to a LOOKUP; the final answer is sent later. False: too many are followed.
    @ivar elsewhere: the plain URL of another cluster's bridge, by the broker in that cluster's service URL, or None.
    @ivar warn: logs a warning.
    """

    follow: Callable[[pb.CommandLookupTopic, Response], bool]
    elsewhere: Callable[[Broker], str | None]
    warn: Callable[[str], None]


class Answers:
    """Rewrites the commands of one broker on one connection.

    @param pending: the client's lookups. None: the client named the broker in CONNECT, and sends no lookups.
    @param names_owners: CLOSE_* name the new owner. False: they do not, and the client looks its topic up again.
    @ivar limit: the largest frame in bytes, from the broker's CONNECTED.
    """

    def __init__(
        self, allowing: Allowing, callbacks: BridgeCallbacks, pending: PendingLookups | None, names_owners: bool
    ) -> None:
        self.limit = MAX_FRAME_BYTES
        self._allowing = allowing
        self._callbacks = callbacks
        self._pending = pending
        self._names_owners = names_owners

    def __call__(self, kind: int, frame: bytes) -> bytes:
        """The bytes to send instead of a frame of one of L{TYPES}.

        @raise FrameError: it cannot be parsed. Passed on, it could lead the client past the bridge.
        """
        try:
            base = read(frame[8:])
            if base.type != kind:
                raise CommandError(f"it is also {type_name(base)}")
        except CommandError as error:
            raise FrameError(f"the broker's {number_name(kind)} cannot be read: {error}") from error
        command = fields_of(base)
        match kind:
            case _Base.CONNECTED:
                return self._connected(command, frame)
            case _Base.SCALABLE_TOPIC_UPDATE:
                return _without_brokers(command, frame)
            case _Base.WATCH_TC_ASSIGNMENTS_UPDATE:
                return self._coordinators(command, frame)
            case _Base.LOOKUP_RESPONSE:
                return self._lookup(command, frame)
            case _Base.TOPIC_MIGRATED:
                return self._migrated(command)
        return self._close(command, frame)

    def final(self, answer: Response, lookup: pb.CommandLookupTopic | None) -> bytes:
        """The frame for a lookup answer that is no Redirect. @param lookup: None: it is not known."""
        if answer.response != Response.Connect or not answer.HasField("response"):
            return write(answer)
        broker = tls_broker(answer, "brokerServiceUrlTls")
        if broker is None:
            listener = text(lookup, "advertised_listener_name") if lookup is not None else None
            problem = NO_TLS_URL.format(listener=f" for the listener {listener}" if listener else "")
            self._callbacks.warn(f"a lookup's answer {problem}")
            return failed(answer.request_id, f"the broker's answer {problem}")
        why = self._denies(broker)
        if why is not None:
            self._callbacks.warn(f"a lookup's answer names {host_port(*broker)}: {why}")
            return failed(answer.request_id, f"the owner is {host_port(*broker)}, but {why}")
        answer.brokerServiceUrl = plain_url(broker)
        answer.proxy_through_service_url = True
        return write(answer)

    def _connected(self, connected: pb.CommandConnected, frame: bytes) -> bytes:
        if connected.max_message_size > 0:
            self.limit = connected.max_message_size + HEADER_BYTES
        return frame

    def _denies(self, broker: Broker) -> str | None:
        """Why the client may not connect to a broker that another broker has named. None: it may."""
        self._allowing.record_named(broker)
        return self._allowing.denies(broker)

    def _coordinators(self, update: pb.CommandWatchTcAssignmentsUpdate, frame: bytes) -> bytes:
        """The leaders of transaction coordinators, or an error if the client can reach none of them."""
        assignments = update.snapshot.assignments
        if not assignments:
            return frame
        problems = []
        for at in reversed(range(len(assignments))):
            broker = tls_broker(assignments[at], "broker_service_url_tls")
            why = NO_TLS_URL.format(listener="") if broker is None else self._denies(broker)
            if broker is not None and why is None:
                assignments[at].broker_service_url = plain_url(broker)
                continue
            named = "" if broker is None else f"is {host_port(*broker)}, but "
            problems.append(f"the leader of a transaction coordinator {named}{why}")
            del assignments[at]
        for problem in list(dict.fromkeys(problems))[:MAX_PROBLEMS]:
            self._callbacks.warn(problem)
        if not assignments:
            update.ClearField("snapshot")
            update.error, update.message = pb.ServerError.ServiceNotReady, problems[0]
        return write(update)

    def _lookup(self, answer: Response, frame: bytes) -> bytes:
        lookup = None if self._pending is None else self._pending.take(answer.request_id)
        if answer.HasField("response") and answer.response == Response.Failed:
            return frame
        if answer.response != Response.Redirect or not answer.HasField("response"):
            return self.final(answer, lookup)
        if lookup is None:
            return failed(answer.request_id, "the broker redirects a lookup that the bridge has not seen; try again")
        if not self._callbacks.follow(lookup, answer):
            return failed(answer.request_id, "the bridge follows too many redirects for this client; try again later")
        return b""

    def _close(self, command: pb.CommandCloseProducer | pb.CommandCloseConsumer, frame: bytes) -> bytes:
        broker = tls_broker(command, "assignedBrokerServiceUrlTls")
        if broker is not None and self._denies(broker) is None and self._names_owners:
            command.assignedBrokerServiceUrl = plain_url(broker)
            return write(command)
        if not (command.HasField("assignedBrokerServiceUrl") or command.HasField("assignedBrokerServiceUrlTls")):
            return frame
        command.ClearField("assignedBrokerServiceUrl")
        command.ClearField("assignedBrokerServiceUrlTls")
        return write(command)

    def _migrated(self, command: pb.CommandTopicMigrated) -> bytes:
        broker = tls_broker(command, "brokerServiceUrlTls")
        where = None if broker is None else self._callbacks.elsewhere(broker)
        if where is None:
            cluster = "a cluster without a TLS URL" if broker is None else f"the cluster at {host_port(*broker)}"
            cure = "" if broker is None else f"; add a [[bridge]] with service_url = pulsar+ssl://{host_port(*broker)}"
            self._callbacks.warn(f"a topic has migrated to {cluster}, and no bridge leads there{cure}")
            return b""
        command.brokerServiceUrl = where
        return write(command)


def _without_brokers(update: pb.CommandScalableTopicUpdate, frame: bytes) -> bytes:
    """A scalable topic's layout without the URLs of brokers. An error, or a layout without them, passes unchanged."""
    layout = update.dag
    if not (
        layout.segment_brokers
        or layout.HasField("controller_broker_url")
        or layout.HasField("controller_broker_url_tls")
    ):
        return frame
    for field in ("segment_brokers", "controller_broker_url", "controller_broker_url_tls"):
        layout.ClearField(field)
    return write(update)
