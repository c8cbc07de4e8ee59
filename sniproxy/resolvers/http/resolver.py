"""The C{http} resolver: requests a URL for each name and reads targets from the JSON answer."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import DeferredSemaphore
from zope.interface import implementer

from sniproxy.interfaces import (
    BadOption,
    IServerNameResolver,
    Kind,
    Option,
    Refused,
    Request,
    Resolution,
    Unavailable,
)
from sniproxy.resolvers.http.answer import (
    BadAnswer,
    Condition,
    FoundTargets,
    KeyPath,
    TargetPaths,
    extract_targets,
    parse_json,
    parse_native,
    parse_path,
    parse_refusal,
)
from sniproxy.resolvers.http.client import (
    CERTIFICATE,
    TOKEN_FILE,
    TRUST,
    Credentials,
    HTTPAnswer,
    HTTPClient,
    HTTPFailure,
    body_excerpt,
    display_url,
)
from sniproxy.resolvers.http.request import (
    BadRequestTemplate,
    BodyTemplate,
    URLTemplate,
    check_placeholders,
    fill,
    parse_body,
    parse_url,
)
from sniproxy.resolvers.options import bad_file
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded

MAX_BYTES = 2**20
"""Bytes of an answer."""

MAX_CONCURRENT = 32
"""Concurrent requests, each on its own connection. Clients choose the names, so this protects the server."""

CONNECT_TIMEOUT_S = 10.0
"""Seconds to connect. The query's timeout is usually shorter."""

OPTIONS = (
    Option("url", Kind.TEXT, "URL to request, with placeholders: https://registry.internal/names/{server_name}"),
    Option("body", Kind.TEXT, "JSON to POST, whose texts may have placeholders; default: send a GET", None),
    Option("items", Kind.TEXT, "path of the list of targets: keys with dots between them", None),
    Option("host", Kind.TEXTS, "path of an item's host or host:port; of several, the first with a value", None),
    Option(
        "port", Kind.TEXT, 'path of an item\'s port, or the port: "6651"; default: the port in host, else 6651', None
    ),
    Option("weight", Kind.TEXT, "path of an item's weight; default: 1", None),
    Option("where", Kind.TEXTS, "path=value, with placeholders; items that do not match all are ignored", None),
    Option("base64", Kind.FLAG, "send texts of body, and read host, in base64, as etcd needs", False),
    Option("ttl", Kind.NUMBER, "seconds to cache an answer that has no ttl", 10.0),
    TOKEN_FILE,
    Option("header", Kind.TEXT, 'header that has the token, as "X-Consul-Token"; default: a bearer token', None),
    TRUST,
    CERTIFICATE,
)


@implementer(IServerNameResolver)
class HTTPResolver:
    """Made by L{make}.

    @param paths: where targets are in the answer. None: answers have sniproxy's own format.
    @param where: conditions whose values may have placeholders.
    @param header: the header that has the token. None: the token is a bearer token.
    @param ttl: seconds to cache an answer that has no ttl.
    """

    def __init__(
        self,
        client: HTTPClient,
        url: URLTemplate,
        body: BodyTemplate | None,
        paths: TargetPaths | None,
        where: Sequence[Condition],
        header: str | None,
        ttl: float,
    ) -> None:
        self._client = client
        self._url = url
        self._body = body
        self._paths = paths
        self._where = where
        self._header = header
        self._ttl = ttl
        self._slots = DeferredSemaphore(MAX_CONCURRENT)

    async def resolve(self, request: Request) -> Resolution:
        """@raise Refused: the server does not know the name. @raise Unavailable: the request failed."""
        try:
            url = self._url.fill(request)
            body = None if self._body is None else self._body.fill(request)
            wanted = [(path, fill(text, request)) for path, text in self._where]
        except BadRequestTemplate as error:
            raise Refused(f"cannot form a request for this name: {error}") from error
        await self._slots.acquire()
        try:
            self._client.reload_files()
            answer = await self._client.request(url, self._headers(), body)
        except HTTPFailure as error:
            raise Unavailable(str(error)) from error
        finally:
            self._slots.release()
        try:
            return self._read_answer(url, answer, wanted)
        except BadAnswer as error:
            raise Unavailable(f"{display_url(url)}: {error}") from error

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json"}
        if self._body is not None:
            headers["Content-Type"] = "application/json"
        if self._client.token is not None:
            name, before = (self._header, "") if self._header else ("Authorization", "Bearer ")
            headers[name] = before + self._client.token
        return headers

    def _read_answer(self, url: str, answer: HTTPAnswer, wanted: Sequence[Condition]) -> Resolution:
        if answer.status == 404:
            raise _refused(parse_refusal(answer.body), f"{display_url(url)}: 404, no such name")
        if answer.status != 200:
            raise Unavailable(f"{display_url(url)}: {_status(answer)}")
        document = parse_json(answer.body)
        found = parse_native(document) if self._paths is None else extract_targets(document, self._paths, wanted)
        if not found.targets:
            raise _refused(found, f"{display_url(url)}: no targets in the answer")
        return Resolution(found.targets, self._ttl if found.ttl is None else found.ttl)


def _refused(found: FoundTargets, default: str) -> Refused:
    reason = found.reason or default
    return Refused(reason) if found.ttl is None else Refused(reason, found.ttl)


def _status(answer: HTTPAnswer) -> str:
    if 300 <= answer.status < 400:
        there = bounded(answer.location.partition("?")[0] or "nowhere", 150)
        return f"redirect to {there} not followed; set url to the final address"
    if answer.status in (401, 403):
        cure = "access denied; check token_file, header or certificate"
        return f"{answer.status}, {cure}{body_excerpt(answer.body)}"
    return f"{answer.status}{body_excerpt(answer.body)}"


def make(options: Mapping[str, Any], reactor: IReactor) -> HTTPResolver:
    """@raise BadOption: an option or a file is invalid."""
    # The query may have a secret.
    shown = display_url(options["url"]) if "@" not in options["url"] else "..."
    try:
        url = parse_url(options["url"])
    except BadRequestTemplate as error:
        raise BadOption("url", shown, str(error)) from error
    try:
        body = None if options["body"] is None else parse_body(options["body"], options["base64"])
    except BadRequestTemplate as error:
        raise BadOption("body", options["body"], str(error)) from error
    if options["ttl"] < 0:
        raise BadOption("ttl", options["ttl"], "write a number of seconds, 0 or more")
    header, token, certificate = options["header"], options["token_file"], options["certificate"]
    if header is not None and (token is None or not re.fullmatch(r"[A-Za-z0-9-]+", header)):
        raise BadOption("header", header, 'write the name of a header, as in "X-Consul-Token", and token_file')
    if certificate is not None and not url.text.startswith("https:"):
        raise BadOption("certificate", certificate, "a client certificate needs https; write url = https://")
    paths, where = _paths(options), [_condition(text) for text in options["where"] or ()]
    try:
        credentials = Credentials(options["trust"], certificate, token)
        client = HTTPClient(reactor, credentials, CONNECT_TIMEOUT_S, MAX_BYTES, persistent=False)
    except HTTPFailure as error:
        raise bad_file(options, error) from error
    return HTTPResolver(client, url, body, paths, where, header, options["ttl"])


def _paths(options: Mapping[str, Any]) -> TargetPaths | None:
    if not options["host"]:
        for key in ("items", "port", "weight", "where", "base64"):
            if options[key]:
                raise BadOption(
                    key, options[key], "this option describes another format of the answer; write host, too"
                )
        return None
    items, port, weight = (None if options[key] is None else options[key] for key in ("items", "port", "weight"))
    hosts = tuple(_path("host", text) for text in options["host"])
    return TargetPaths(
        hosts,
        () if items is None else _path("items", items),
        None if port is None else _port(port),
        None if weight is None else _path("weight", weight),
        options["base64"],
    )


def _port(text: str) -> KeyPath | int:
    if not (text.isascii() and text.isdigit()):
        return _path("port", text)
    if not (len(text) <= 5 and 1 <= int(text) <= 65535):
        raise BadOption("port", text, "a port is a number from 1 to 65535")
    return int(text)


def _path(key: str, text: str) -> KeyPath:
    try:
        return parse_path(text)
    except ValueError as error:
        raise BadOption(key, text, str(error)) from error


def _condition(text: str) -> Condition:
    path, equals, value = text.partition("=")
    if not equals:
        raise BadOption("where", text, "write path=value, as in conditions.ready=true")
    try:
        check_placeholders(value)
    except BadRequestTemplate as error:
        raise BadOption("where", text, str(error)) from error
    return _path("where", path), value
