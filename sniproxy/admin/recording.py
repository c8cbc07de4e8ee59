"""Recordings by the admin endpoint: C{POST /record}. The answer has no end; each line is a message in JSON.

The first message has the names of the listeners, C{{"recording": [...]}}; L{sniproxy.server.recordings} has the others.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.server import Request

from sniproxy.admin.messagestream import JSON_LINES, MessageStream
from sniproxy.admin.query import ErrorAnswer, number_of, texts_of
from sniproxy.admin.sources import StatusSource
from sniproxy.util.text import bounded, printable

log = Logger()

RECORD = "/record"

ONE_PROCESS = "a recording is of one process: start the proxy without workers, or record a capture"
"""Why a supervisor of workers makes none."""


class CannotRecord(Exception):
    """A recording cannot begin. The message says why, with the cure."""


def record(request: Request, source: StatusSource) -> tuple[str, Deferred[bytes]]:
    """Answer a request for a recording. @return: the media type; a Deferred, which ends the recording if cancelled.

    @raise ErrorAnswer: 400: the query is wrong; 409: it cannot begin.
    """
    # Imported where they are needed: nearly all proxies record nothing.
    from sniproxy.conversation.recorder import Recording
    from sniproxy.conversation.schema import Secrecy

    known = {each.value: each for each in Secrecy}
    keep = _texts(request, b"keep")
    for each in keep:
        if each not in known:
            raise ErrorAnswer(400, f"keep = {printable(each)}: write one of {', '.join(known)}")
    defaults = Recording()
    what = Recording(
        keep=frozenset(known[each] for each in keep),
        topics=_texts(request, b"topic"),
        max_frames=number_of(request, b"max_frames") or defaults.max_frames,
        max_bytes=number_of(request, b"max_bytes") or defaults.max_bytes,
    )
    stream = MessageStream(request)
    try:
        names, stop = source.record(_texts(request, b"listener"), what, stream.send)
    except CannotRecord as error:
        raise ErrorAnswer(409, printable(str(error))) from error
    struck = ", ".join(each for each in known if each not in keep)
    shown = ", ".join(map(bounded, names))
    log.warn("admin: recording {names}; struck out: {struck}", names=shown, struck=struck or "nothing")
    stream.start()
    stream.send(json.dumps({"recording": names}), True)

    def ended(_: Any) -> None:
        stop()
        log.info("admin: the recording of {names} has ended", names=shown)

    return JSON_LINES, Deferred(ended)


def _texts(request: Request, name: bytes) -> list[str]:
    return texts_of(request, name) if (request.args or {}).get(name) else []
