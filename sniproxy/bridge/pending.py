"""A client's lookups that wait for an answer, and its newest credentials. Pure.

Credentials are kept in a field without a name in commands.proto, so that no message text shows them.
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
from sniproxy.util.buffered import BufferAccount, Share

MAX_REQUESTS = 5000
"""Lookups without an answer that are remembered: the default limit of concurrent lookups of a Java client."""

MAX_LOOKUP_BYTES = 8192
"""Largest LOOKUP in bytes that is remembered. No redirect is followed for a larger one."""

MAX_BYTES = 1 << 20
"""Bytes of all remembered lookups of one client. Beyond it the oldest are forgotten."""

_Base = pb.BaseCommand
_AUTH_DATA = 2  # the number of AuthData's field auth_data


@attrs.frozen
class Replayed(Login):
    """A client's own CONNECT, for another broker.

    @ivar command: without C{proxy_to_broker_url}.
    """

    command: pb.CommandConnect = attrs.field(factory=pb.CommandConnect, repr=False)

    def connect(self, proxy_to_broker_url: str = "") -> pb.CommandConnect:
        again = pb.CommandConnect()
        again.CopyFrom(self.command)
        if self.data:  # the client has renewed its credentials
            add_auth_data(again, self.data)
        return again


class PendingLookups:
    """Reads what a client sends on its lookup connection.

    @param connect: its CONNECT. @param account: counts the bytes of remembered lookups.
    @ivar readable: the frames are valid so far. False: one was not, and no more are read.
    """

    def __init__(self, connect: pb.CommandConnect, account: BufferAccount) -> None:
        command = pb.CommandConnect()
        command.CopyFrom(connect)
        command.ClearField("proxy_to_broker_url")
        self.readable = True
        self._login = Replayed(connect.auth_method_name, command=command)
        self._walker = FrameWalker(wanted=(_Base.LOOKUP, _Base.AUTH_RESPONSE))
        self._lookups: BoundedMap[int, pb.CommandLookupTopic] = BoundedMap(MAX_REQUESTS)
        self._bytes = 0
        self._share = Share(account)

    @property
    def login(self) -> Login:
        """The client's CONNECT with its newest credentials."""
        return self._login

    def client(self, data: bytes) -> None:
        """Read the next bytes after CONNECT."""
        if not self.readable:
            return
        try:
            for frame in self._walker.feed(data):
                if frame.complete:
                    self._read_command(fields_of(read(frame.command)))
        except (FrameError, CommandError):  # the broker will end the connection
            self.readable = False
        self._share.holds(self._bytes + self._walker.held)

    def take(self, request_id: int) -> pb.CommandLookupTopic | None:
        """Remove and return the LOOKUP with this request id. None: it is not known."""
        kept = self._forget(request_id)
        self._share.holds(self._bytes + self._walker.held)
        return kept

    def end(self) -> None:
        """The connection has ended: stop counting its bytes."""
        self._share.holds(0)

    def _forget(self, request_id: int) -> pb.CommandLookupTopic | None:
        kept = self._lookups.pop(request_id)
        if kept is None:
            return None
        self._bytes -= kept.value.ByteSize()
        return kept.value

    def _read_command(self, fields: object) -> None:
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
