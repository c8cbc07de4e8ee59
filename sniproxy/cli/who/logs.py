"""Searches access logs for connections by the address that the target shows as its client."""

from __future__ import annotations

import gzip
import json
import os
import re
import zlib
from collections.abc import Callable, Collection, Iterator
from typing import Any, BinaryIO, cast

_GZIP = b"\x1f\x8b"
_DRAW_LINES = 2000  # between two updates of the progress bar
_LOCAL = b'"upstream_local": "%b"'
_CLIENT = b'"client": "%b"'
_HEADER_SENT = b'"header_sent": true'


class LogError(Exception):
    """A log cannot be read. The message has the reason."""


def find(path: str, addresses: Collection[str], progress: Callable[[int, int], None]) -> Iterator[dict[str, Any]]:
    """The records of a log, plain or compressed by gzip, whose C{upstream_local} is one of the addresses, and
    those whose C{client} is one, if the target got a PROXY protocol header with it.

    Lines that are not JSON, such as a line that is being written, are skipped.

    @param addresses: C{host:port}, in the shortest form.
    @param progress: called now and then with the bytes read so far and the size of the file.
    @raise LogError: the log cannot be read.
    """
    if not addresses:
        return
    # One search for all addresses, before a line is parsed: nearly no line has one of them.
    has_local, has_client = _search(_LOCAL, addresses), _search(_CLIENT, addresses)
    try:
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            compressed = raw.peek(2)[:2] == _GZIP
            lines = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw
            for number, line in enumerate(lines):
                if not number % _DRAW_LINES:
                    progress(raw.tell(), size)
                # The field is near the end: searched from there, it costs less than half.
                wanted = has_local(line) or (line.rfind(_HEADER_SENT) >= 0 and has_client(line))
                if wanted and (record := _record(line)) is not None:
                    yield record
    except (OSError, EOFError, zlib.error) as error:
        raise LogError(getattr(error, "strerror", None) or str(error)) from error


def _search(field: bytes, addresses: Collection[str]) -> Callable[[bytes], re.Match[bytes] | None]:
    return re.compile(b"|".join(re.escape(field % one.encode()) for one in addresses)).search


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
