"""The objects of the Kubernetes API, with the fields that the resolver reads. Pure.

The field names are those of the API, in snake case. The API may write null for an empty list or map.
"""

from __future__ import annotations

import msgspec


class Fields(msgspec.Struct, rename="camel"):
    """Base of all objects and their parts. Unknown fields are ignored."""


class Metadata(Fields):
    """Metadata of an object or a bookmark."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: str | None = None
    labels: dict[str, str] | None = None


class Bare(Fields):
    """An object of any kind."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)


class Conditions(Fields):
    """Conditions of an endpoint. None: unknown."""

    ready: bool | None = None
    serving: bool | None = None
    terminating: bool | None = None


class ObjectReference(Fields):
    """The object that an endpoint represents."""

    kind: str = ""
    namespace: str = ""
    name: str = ""
    uid: str = ""


class SliceEndpoint(Fields):
    """One endpoint of a slice."""

    addresses: list[str] | None = None
    conditions: Conditions | None = None
    hostname: str | None = None
    target_ref: ObjectReference | None = None


class SlicePort(Fields):
    """A port of all endpoints of a slice. @ivar port: None: all ports."""

    name: str | None = None
    port: int | None = None
    protocol: str | None = None


class EndpointSlice(Fields):
    """C{discovery.k8s.io/v1} EndpointSlice."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)
    address_type: str = ""
    endpoints: list[SliceEndpoint] | None = None
    ports: list[SlicePort] | None = None


class ServicePort(Fields):
    """A port of a Service."""

    name: str | None = None
    port: int = 0
    protocol: str | None = None


class ServiceSpec(Fields):
    """The specification of a Service."""

    type: str | None = None
    ports: list[ServicePort] | None = None


class Service(Fields):
    """C{v1} Service."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)
    spec: ServiceSpec = msgspec.field(default_factory=ServiceSpec)


class Namespace(Fields):
    """C{v1} Namespace."""

    metadata: Metadata = msgspec.field(default_factory=Metadata)


class ListMetadata(Fields):
    """Metadata of one page of a list. @ivar continue_: the token for the next page. Empty or None: the last page."""

    resource_version: str = ""
    continue_: str | None = msgspec.field(default=None, name="continue")


class Page(Fields):
    """One page of a list."""

    metadata: ListMetadata = msgspec.field(default_factory=ListMetadata)
    items: list[msgspec.Raw] | None = None


class Event(Fields):
    """One event of a watch."""

    type: str
    object: msgspec.Raw


class Status(Fields):
    """C{v1} Status: an error."""

    code: int = 0
    reason: str = ""
    message: str = ""
