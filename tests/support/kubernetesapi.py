"""A small Kubernetes API on loopback: lists in pages, watches with bookmarks, status patches, and what goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IListeningPort
from twisted.internet.ssl import ContextFactory
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from tests.support.reactor import reactor

Object = dict[str, Any]
Key = tuple[str, str, str]
"""Plural, namespace and name."""

VERSIONS = {
    "endpointslices": ("discovery.k8s.io", "v1"),
    "services": ("", "v1"),
    "namespaces": ("", "v1"),
    "gateways": ("gateway.networking.k8s.io", "v1"),
    "tlsroutes": ("gateway.networking.k8s.io", "v1"),
    "referencegrants": ("gateway.networking.k8s.io", "v1"),
}
"""Group and version that the cluster has of each kind. Tests may change it."""


class KubernetesServer(Resource):
    """The API server.

    @ivar objects: all objects. @ivar version: the newest resourceVersion. @ivar oldest: watches from before expire.
    @ivar asked: verb, plural and parameters of each request. @ivar tokens: the token of each request.
    @ivar refused: the status for requests, by verb and plural. The verb C{continue} means later pages of a list.
    @ivar silent: whether requests get no answer.
    @ivar accepted: the valid tokens. None: all requests are allowed.
    @ivar page: objects of one page. @ivar patched: fires with the next patch.
    """

    isLeaf = True

    def __init__(self, case: TestCase, tls: ContextFactory | None = None) -> None:
        super().__init__()
        self.objects: dict[Key, Object] = {}
        self.version, self.oldest = 100, 0
        self.history: list[tuple[int, str, Key, Object]] = []
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.tokens: list[str | None] = []
        self.refused: dict[tuple[str, str], int] = {}
        self.versions = dict(VERSIONS)
        self.accepted: set[str] | None = None
        self.silent = False
        self.page = 500
        self.patches: list[tuple[Key, Object]] = []
        self._watches: list[tuple[Request, str, str, dict[str, str]]] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        self._tls = tls
        self._port = 0
        self._listening: IListeningPort | None = None
        self._connections: list[Any] = []
        self.open()
        case.addCleanup(self.close)

    @property
    def url(self) -> str:
        """For the option server."""
        return f"{'http' if self._tls is None else 'https'}://127.0.0.1:{self._port}"

    def open(self) -> None:
        """Listen. A second call listens at the same port."""
        site = Site(self)
        site.displayTracebacks = False
        site.noisy = False
        build = site.buildProtocol

        def remembered(addr: Any) -> Any:
            protocol = build(addr)
            self._connections.append(protocol)
            return protocol

        site.buildProtocol = remembered  # type: ignore[method-assign]
        listen: Any = reactor
        if self._tls is None:
            self._listening = listen.listenTCP(self._port, site, interface="127.0.0.1")
        else:
            self._listening = listen.listenSSL(self._port, site, self._tls, interface="127.0.0.1")
        assert self._listening is not None
        address: Any = self._listening.getHost()
        self._port = address.port

    async def close(self) -> None:
        """Stop listening, and cut all connections."""
        listening, self._listening = self._listening, None
        if listening is not None:
            stopped: Any = listening.stopListening()
            self.cut()
            await stopped

    def cut(self) -> None:
        """Cut all connections."""
        self._watches.clear()
        connections, self._connections = self._connections, []
        for one in connections:
            transport = one._channel.transport
            if transport is not None and self._tls is None:
                transport.abortConnection()

    def put(self, plural: str, document: Object) -> Object:
        """Create or replace an object. @return: as stored."""
        self.version += 1
        metadata = dict(document.get("metadata", {}))
        metadata.setdefault("namespace", "pulsar" if plural != "namespaces" else "")
        metadata["resourceVersion"] = str(self.version)
        key = (plural, metadata["namespace"], metadata["name"])
        before = self.objects.get(key)
        generation = 1 if before is None else before["metadata"]["generation"] + (document != before)
        metadata.setdefault("generation", generation)
        stored = {**document, "metadata": metadata}
        self.objects[key] = stored
        self._event("ADDED" if before is None else "MODIFIED", key, stored)
        return stored

    def delete(self, plural: str, name: str, namespace: str = "pulsar") -> None:
        """Delete an object."""
        self.version += 1
        key = (plural, namespace, name)
        gone = self.objects.pop(key)
        self._event("DELETED", key, {**gone, "metadata": {**gone["metadata"], "resourceVersion": str(self.version)}})

    def bookmark(self, plural: str) -> None:
        """Send a bookmark to the watches of a kind."""
        self.send(plural, {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self.version)}}})

    def expire(self, plural: str) -> None:
        """Forget the history, and end the watches of a kind with 410."""
        self.oldest = self.version
        error = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}
        self.send(plural, {"type": "ERROR", "object": error})
        self.end(plural)

    def send(self, plural: str, event: Object | bytes) -> None:
        """Send an event, or bytes, to the watches of a kind."""
        data = event if isinstance(event, bytes) else json.dumps(event).encode() + b"\n"
        for request, kind, _, _ in self._watches:
            if kind == plural:
                request.write(data)

    def end(self, plural: str) -> None:
        """End the watches of a kind, as the API server does after timeoutSeconds."""
        for watch in [one for one in self._watches if one[1] == plural]:
            self._watches.remove(watch)
            watch[0].finish()

    def watching(self, plural: str) -> int:
        """The number of watches of a kind."""
        return sum(one[1] == plural for one in self._watches)

    def requests(self, verb: str, plural: str) -> list[dict[str, str]]:
        """The parameters of the requests of a verb and kind."""
        return [parameters for asked, kind, parameters in self.asked if (asked, kind) == (verb, plural)]

    def until(self, condition: Callable[[], bool]) -> Deferred[None]:
        """@return: fires after the request with which the condition becomes true."""
        reached: Deferred[None] = Deferred()
        self._waiting.append((condition, reached))
        self._check()
        return reached

    def render(self, request: Request) -> Any:
        path, parameters = _parsed(request)
        found = self._place(path)
        token = request.getHeader("authorization")
        self.tokens.append(None if token is None else token.removeprefix("Bearer "))
        request.notifyFinish().addBoth(lambda _: self._forget(request))
        reactor.callLater(0, self._check)
        if self.silent:
            return NOT_DONE_YET
        if found is None:
            return _failed(request, 404, "NotFound")
        plural, namespace, name = found
        verb = "patch" if request.method == b"PATCH" else "watch" if "watch" in parameters else "list"
        self.asked.append((verb, plural, parameters))
        if self.accepted is not None and self.tokens[-1] not in self.accepted:
            return _failed(request, 401, "Unauthorized")
        status = self.refused.get((verb, plural))
        if status is None and "continue" in parameters:
            status = self.refused.get(("continue", plural))
        if status is not None:
            return _failed(request, status, "Forbidden")
        if verb == "patch":
            return self._patch(request, (plural, namespace, name))
        request.setHeader("content-type", "application/json")
        if verb == "watch":
            return self._watch(request, plural, namespace, parameters)
        return self._list(plural, namespace, parameters)

    def _list(self, plural: str, namespace: str, parameters: dict[str, str]) -> bytes:
        first = int(parameters.get("continue", "0"))
        chosen = [
            one for key, one in sorted(self.objects.items()) if _selected(key, one, plural, namespace, parameters)
        ]
        metadata: Object = {"resourceVersion": str(self.version)}
        if len(chosen) > first + self.page:
            metadata["continue"] = str(first + self.page)
        return json.dumps({"metadata": metadata, "items": chosen[first : first + self.page]}).encode()

    def _watch(self, request: Request, plural: str, namespace: str, parameters: dict[str, str]) -> Any:
        since = int(parameters["resourceVersion"])
        if since < self.oldest:
            return _failed(request, 410, "Expired")
        request.write(b"")
        self._watches.append((request, plural, namespace, parameters))
        for version, kind, key, stored in self.history:
            if version > since and _selected(key, stored, plural, namespace, parameters):
                request.write(json.dumps({"type": kind, "object": stored}).encode() + b"\n")
        return NOT_DONE_YET

    def _patch(self, request: Request, key: Key) -> bytes:
        assert request.content is not None
        patch = json.loads(request.content.read())
        before = self.objects.get(key)
        if before is None:
            return _failed(request, 404, "NotFound")
        wanted = patch.get("metadata", {}).get("resourceVersion")
        if wanted is not None and wanted != before["metadata"]["resourceVersion"]:
            return _failed(request, 409, "Conflict")
        self.patches.append((key, patch))
        metadata = {name: value for name, value in before["metadata"].items() if name != "resourceVersion"}
        stored = self.put(key[0], {**before, "metadata": metadata, "status": patch["status"]})
        return json.dumps(stored).encode()

    def _event(self, kind: str, key: Key, stored: Object) -> None:
        self.history.append((self.version, kind, key, stored))
        for request, plural, namespace, parameters in self._watches:
            if _selected(key, stored, plural, namespace, parameters):
                request.write(json.dumps({"type": kind, "object": stored}).encode() + b"\n")

    def _place(self, path: str) -> Key | None:
        """Plural, namespace and name of a path. None: the cluster has no such kind in this version."""
        parts = iter(path.strip("/").split("/"))
        group = next(parts, "") if next(parts, "") == "apis" else ""
        version = next(parts, "")
        rest = list(parts)
        namespace = ""
        if rest[:1] == ["namespaces"] and len(rest) > 2:
            namespace, rest = rest[1], rest[2:]
        plural = rest[0] if rest else ""
        if self.versions.get(plural) != (group, version):
            return None
        return plural, namespace, rest[1] if len(rest) > 1 else ""

    def _forget(self, request: Request) -> None:
        self._watches = [one for one in self._watches if one[0] is not request]

    def _check(self) -> None:
        waiting, self._waiting = self._waiting, []
        for condition, reached in waiting:
            if condition():
                reached.callback(None)
            else:
                self._waiting.append((condition, reached))


def endpoint_slice(
    name: str, *endpoints: Object, ports: Any = ({"name": "tls", "port": 6651},), family: str = "IPv4", **labels: str
) -> Object:
    """An EndpointSlice of the Service C{broker}."""
    metadata = {"name": name, "labels": {"kubernetes.io/service-name": "broker", **labels}}
    return {"metadata": metadata, "addressType": family, "endpoints": list(endpoints), "ports": list(ports)}


def pod(name: str, address: str, **conditions: bool) -> Object:
    """The endpoint of a pod, ready unless the conditions say otherwise."""
    reference = {"kind": "Pod", "name": name, "namespace": "pulsar", "uid": f"uid-{name}"}
    conditions = {"ready": True, "serving": conditions.get("ready", True), "terminating": False, **conditions}
    return {"addresses": [address], "conditions": conditions, "hostname": name, "targetRef": reference}


def _selected(key: Key, stored: Object, plural: str, namespace: str, parameters: dict[str, str]) -> bool:
    return key[0] == plural and namespace in ("", key[1]) and all(_selects(key, stored, parameters))


def _selects(key: Key, stored: Object, parameters: dict[str, str]) -> Iterator[bool]:
    if "labelSelector" in parameters:
        label, _, value = parameters["labelSelector"].partition("=")
        yield stored["metadata"].get("labels", {}).get(label) == value
    if "fieldSelector" in parameters:
        yield parameters["fieldSelector"] == f"metadata.name={key[2]}"


def _parsed(request: Request) -> tuple[str, dict[str, str]]:
    parts = urlsplit(request.uri.decode())
    return parts.path, {name: values[0] for name, values in parse_qs(parts.query).items()}


def _failed(request: Request, status: int, reason: str) -> bytes:
    request.setResponseCode(status)
    return json.dumps({"kind": "Status", "code": status, "reason": reason, "message": f"said {reason}"}).encode()
