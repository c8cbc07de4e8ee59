"""Searches access logs for connections by the proxy's address towards the target."""

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
_FIELD = b'"upstream_local": "%b"'


class LogError(Exception):
    """A log cannot be read. The message has the reason."""


def find(path: str, addresses: Collection[str], progress: Callable[[int, int], None]) -> Iterator[dict[str, Any]]:
    """The records of a log, plain or compressed by gzip, whose C{upstream_local} is one of the addresses.

    Lines that are not JSON, such as a line that is being written, are skipped.

    @param progress: called now and then with the bytes read so far and the size of the file.
    @raise LogError: the log cannot be read.
    """
    if not addresses:
        return
    # One search for all addresses, before a line is parsed: nearly no line has one of them.
    wanted = re.compile(b"|".join(re.escape(_FIELD % one.encode()) for one in addresses)).search
    try:
        with open(path, "rb") as raw:
            size = os.fstat(raw.fileno()).st_size
            compressed = raw.peek(2)[:2] == _GZIP
            lines = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if compressed else raw
            for number, line in enumerate(lines):
                if not number % _DRAW_LINES:
                    progress(raw.tell(), size)
                if wanted(line) and (record := _record(line)) is not None:
                    yield record
    except (OSError, EOFError, zlib.error) as error:
        raise LogError(getattr(error, "strerror", None) or str(error)) from error


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None
