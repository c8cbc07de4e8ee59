"""Kubernetes manifests: the objects of several YAML documents and lists. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from sniproxy.migrate.model import MigrateError, Notes, Place, SourceFile
from sniproxy.migrate.yamlnodes import YamlNode, documents

GATEWAY_GROUP = "gateway.networking.k8s.io"
MAX_NESTED_LISTS = 3

_OTHER_ROUTES = ("HTTPRoute", "GRPCRoute", "TCPRoute", "UDPRoute")


@attrs.frozen
class Manifest:
    """An object. @ivar created: its C{creationTimestamp}; empty: unknown."""

    kind: str
    group: str
    namespace: str
    name: str
    created: str
    node: YamlNode

    @property
    def place(self) -> Place:
        return attrs.evolve(self.node.place, key=f"{self.kind} {self.namespace}/{self.name}")

    @property
    def age(self) -> tuple[bool, str, str]:
        """Sorts the older first, as Gateway API decides conflicts: by time, then by C{namespace/name}."""
        return not self.created, self.created, f"{self.namespace}/{self.name}"


@attrs.define
class Manifests:
    """The objects of all files, by kind."""

    found: dict[str, list[Manifest]] = attrs.field(factory=dict)

    def all(self, kind: str) -> Sequence[Manifest]:
        return self.found.get(kind, ())

    def one(self, kind: str, namespace: str, name: str) -> Manifest | None:
        """The object of this name. None: no file has it."""
        return next((one for one in self.all(kind) if (one.namespace, one.name) == (namespace, name)), None)


def string(node: YamlNode | None, *keys: str) -> str:
    """A text; empty without it."""
    found = None if node is None else node.at(*keys)
    return "" if found is None else found.text()


def whole(node: YamlNode | None, *keys: str) -> int | None:
    """A whole number, 0 or more. None: absent, or no such number."""
    found = string(node, *keys)
    return int(found) if found.isascii() and found.isdigit() and len(found) <= 9 else None


def items(node: YamlNode | None, *keys: str) -> Sequence[YamlNode]:
    """The items of a list; empty without it."""
    found = None if node is None else node.at(*keys)
    return () if found is None else found.list()


def load(files: Sequence[SourceFile], report: Notes) -> Manifests:
    """Read all manifests.

    @raise MigrateError: a file is no YAML, or no file has a TLSRoute.
    """
    found = Manifests()
    for file in files:
        for document in documents(file):
            for one in _objects(document, 0):
                if found.one(one.kind, one.namespace, one.name) is not None:
                    report.left_out(one.place, "a second object of this name; the first is used", decides=True)
                    continue
                found.found.setdefault(one.kind, []).append(one)
                if one.kind in _OTHER_ROUTES and one.group == GATEWAY_GROUP:
                    report.left_out(one.place, "only TLSRoutes are read: this proxy routes by the server name of TLS")
    if files and not found.all("TLSRoute"):
        names = ", ".join(file.name for file in files)
        cure = "write the output of kubectl get tlsroutes,gateways,services,referencegrants -A -o yaml to a file"
        raise MigrateError(f"{names}: no TLSRoute; {cure}, and import that")
    return found


def _objects(node: YamlNode, depth: int) -> Iterator[Manifest]:
    kind = string(node, "kind")
    listed = node.get("items")
    if kind.endswith("List") and listed is not None:
        for one in listed.list() if depth < MAX_NESTED_LISTS else ():
            yield from _objects(one, depth + 1)
    elif kind:
        group, slash, _ = string(node, "apiVersion").partition("/")
        meta = node.get("metadata")
        created = string(meta, "creationTimestamp")
        namespace = string(meta, "namespace") or "default"
        yield Manifest(kind, group if slash else "", namespace, string(meta, "name"), created, node)
