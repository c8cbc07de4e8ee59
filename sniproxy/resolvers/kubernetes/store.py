"""The objects of one watch: a list, then events. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from sniproxy.resolvers.kubernetes.objects import Bare, Event, Metadata, Page, Status
from sniproxy.util.text import bounded

MAX_OBJECTS = 50_000
"""Objects of one watch."""

MAX_EVENT_BYTES = 4 * 2**20
"""Bytes of one event. An object has at most 1.5 MiB in etcd, and JSON takes more room."""

GONE = 410
"""The status of a version that the API server has forgotten."""


class BadData(Exception):
    """The API server sent data that cannot be used. The text says why; it is bounded."""


class Expired(Exception):
    """The API server no longer has the version from which to watch; list again."""


class WatchError(Exception):
    """The API server ended the watch with an error."""


T = TypeVar("T")


class ObjectStore(Generic[T]):
    """The objects of one kind, by namespace and name.

    @param kind: the type of the objects, of L{sniproxy.resolvers.kubernetes.objects}.
    @ivar version: the C{resourceVersion} from which to watch. Empty: list first.
    @ivar skipped: objects of the last list and of later events that could not be read, by namespace and name.
    """

    def __init__(self, kind: type[T]) -> None:
        self._decoder = msgspec.json.Decoder(kind)
        self.objects: dict[tuple[str, str], T] = {}
        self.skipped: dict[tuple[str, str], str] = {}
        self.version = ""

    def replace(self, pages: list[bytes]) -> None:
        """Replace all objects by those of a list. @param pages: at least one.

        @raise BadData: a page is invalid, or there are too many objects; the previous objects stay.
        """
        found: dict[tuple[str, str], T] = {}
        skipped: dict[tuple[str, str], str] = {}
        version = ""
        for body in pages:
            page = read_page(body)
            version = page.metadata.resource_version
            for raw in page.items or ():
                self._put(raw, found, skipped)
        if not version:
            raise BadData("the list has no resourceVersion")
        self.objects, self.skipped, self.version = found, skipped, version

    def apply(self, line: bytes) -> bool:
        """Apply one event of a watch. @return: whether an object was added, changed or removed.

        @raise Expired: list again. @raise WatchError: watch again. @raise BadData: the event is invalid.
        """
        try:
            event = _EVENT.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise BadData(f"invalid event: {bounded(str(error))}") from error
        if event.type == "ERROR":
            raise _error_of(event.object)
        metadata = _metadata(event.object)
        if event.type in ("ADDED", "MODIFIED"):
            self._put(event.object, self.objects, self.skipped)
        elif event.type == "DELETED":
            key = (metadata.namespace, metadata.name)
            self.objects.pop(key, None)
            self.skipped.pop(key, None)
        elif event.type != "BOOKMARK":
            raise BadData(f"unknown event {bounded(event.type, 40)}")
        if metadata.resource_version:
            self.version = metadata.resource_version
        return event.type != "BOOKMARK"

    def _put(self, raw: msgspec.Raw, objects: dict[tuple[str, str], T], skipped: dict[tuple[str, str], str]) -> None:
        metadata = _metadata(raw)
        key = (metadata.namespace, metadata.name)
        try:
            objects[key] = self._decoder.decode(raw)
            skipped.pop(key, None)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            objects.pop(key, None)
            skipped[key] = bounded(str(error), 150)
        if len(objects) + len(skipped) > MAX_OBJECTS:
            raise BadData(f"more than {MAX_OBJECTS} objects")


class LineSplitter:
    """Splits the bytes of a watch into events, one a line."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def split(self, data: bytes) -> Iterator[bytes]:
        """The lines that end in these bytes. @raise BadData: a line is longer than L{MAX_EVENT_BYTES}."""
        *lines, rest = data.split(b"\n")
        for line in lines:
            self._add(line)
            whole = bytes(self._rest)
            self._rest.clear()
            if whole.strip():
                yield whole
        self._add(rest)

    def _add(self, data: bytes) -> None:
        self._rest += data
        if len(self._rest) > MAX_EVENT_BYTES:
            raise BadData(f"an event has more than {MAX_EVENT_BYTES} bytes")


def read_page(body: bytes) -> Page:
    """One page of a list. @raise BadData: it is none."""
    try:
        return _PAGE.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadData(f"invalid list: {bounded(str(error))}") from error


def read_status(body: bytes) -> Status:
    """The error in the body of an answer. It is empty if the body is no Status."""
    try:
        return _STATUS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Status()


def _error_of(raw: msgspec.Raw) -> Exception:
    status = read_status(bytes(raw))
    if status.code == GONE or status.reason in ("Gone", "Expired"):
        return Expired(bounded(status.message))
    return WatchError(bounded(f"{status.code} {status.reason}: {status.message}"))


def _metadata(raw: msgspec.Raw) -> Metadata:
    try:
        return _BARE.decode(raw).metadata
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadData(f"an object has no valid metadata: {bounded(str(error))}") from error


_EVENT = msgspec.json.Decoder(Event)
_PAGE = msgspec.json.Decoder(Page)
_STATUS = msgspec.json.Decoder(Status)
_BARE = msgspec.json.Decoder(Bare)
