"""What a client asked that waits for its answer, and who it says it is. Pure.

Credentials are held as the client sent them, without a name of their own (commands.proto), so that no text of a message
has them.
"""

from __future__ import annotations

import attrs
from google.protobuf.unknown_fields import UnknownFieldSet

from sniproxy.client.logins import Login, add_auth_data
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import CommandError, fields_of, read
from sniproxy.pulsar.frames import FrameError
from sniproxy.pulsar.walker import FrameWalker
from sniproxy.util.bounded import BoundedMap
from sniproxy.util.buffered import Share

MAX_REQUESTS = 5000
"""Lookups without an answer that are remembered; as many as a Java client has under way by default."""

MAX_LOOKUP_BYTES = 8192
"""Bytes of a LOOKUP that is remembered; for a longer one no redirect is followed."""

MAX_BYTES = 1 << 20
"""Bytes of all lookups of one client that are remembered; more push out the oldest."""

_Base = pb.BaseCommand
_AUTH_DATA = 2  # the number of AuthData's field auth_data


@attrs.frozen
class Replayed(Login):
    """A client's own CONNECT, said again to another broker.

    @ivar command: without the broker that it named.
    """

    command: pb.CommandConnect = attrs.field(factory=pb.CommandConnect, repr=False)

    def connect(self, proxy_to_broker_url: str = "") -> pb.CommandConnect:
        again = pb.CommandConnect()
        again.CopyFrom(self.command)
        if self.data:  # the client has renewed what it authenticates itself by
            add_auth_data(again, self.data)
        return again


class PendingRequests:
    """Watches what a client sends on the connection that it looks topics up by.

    @param connect: its CONNECT.
    @ivar readable: its frames are read; False: they could not be, and nothing is known any more.
    """

    def __init__(self, connect: pb.CommandConnect) -> None:
        command = pb.CommandConnect()
        command.CopyFrom(connect)
        command.ClearField("proxy_to_broker_url")
        self.readable = True
        self._login = Replayed(connect.auth_method_name, command=command)
        self._walker = FrameWalker(wanted=(_Base.LOOKUP, _Base.AUTH_RESPONSE))
        self._lookups: BoundedMap[int, pb.CommandLookupTopic] = BoundedMap(MAX_REQUESTS)
        self._bytes = 0
        self._share = Share()

    @property
    def login(self) -> Login:
        """Who the client is, by its newest credentials."""
        return self._login

    def client(self, data: bytes) -> None:
        """Bytes behind CONNECT."""
        if not self.readable:
            return
        try:
            for frame in self._walker.feed(data):
                if frame.complete:
                    self._hear(fields_of(read(frame.command)))
        except (FrameError, CommandError):  # whom it talks to will say so
            self.readable = False
        self._share.holds(self._bytes + self._walker.held)

    def answered(self, request_id: int) -> pb.CommandLookupTopic | None:
        """The LOOKUP that has this number, which is then forgotten; None: it is not known."""
        kept = self._forget(request_id)
        self._share.holds(self._bytes + self._walker.held)
        return kept

    def end(self) -> None:
        """The client has gone: nothing is held any more."""
        self._share.holds(0)

    def _forget(self, request_id: int) -> pb.CommandLookupTopic | None:
        kept = self._lookups.pop(request_id)
        if kept is None:
            return None
        self._bytes -= kept.value.ByteSize()
        return kept.value

    def _hear(self, fields: object) -> None:
        if isinstance(fields, pb.CommandLookupTopic):
            if fields.ByteSize() <= MAX_LOOKUP_BYTES:
                self._forget(fields.request_id)
                self._bytes += fields.ByteSize()
                pushed_out = self._lookups.put(fields.request_id, fields, 0.0)
                if pushed_out is not None:
                    self._bytes -= pushed_out.value.ByteSize()
                while self._bytes > MAX_BYTES:
                    self._forget(next(iter(self._lookups)))
        elif isinstance(fields, pb.CommandAuthResponse):
            unknown = UnknownFieldSet(fields.response)
            for field in (unknown[at] for at in range(len(unknown))):
                if field.field_number == _AUTH_DATA and isinstance(field.data, bytes):
                    self._login = attrs.evolve(self._login, data=field.data)
        else:
            raise CommandError("a command with more than one type")
