"""What the resolver watches: the EndpointSlices of one Service, or the objects behind a Gateway's TLSRoutes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import attrs
from twisted.internet.defer import Deferred

from sniproxy.interfaces import Resolution
from sniproxy.resolvers.kubernetes.api import KubernetesAPI, Resource
from sniproxy.resolvers.kubernetes.backends import Cluster
from sniproxy.resolvers.kubernetes.endpoints import Network, collect
from sniproxy.resolvers.kubernetes.gatewayobjects import GROUP, Gateway, ReferenceGrant, TLSRoute
from sniproxy.resolvers.kubernetes.listeners import selects_namespaces
from sniproxy.resolvers.kubernetes.objects import EndpointSlice, Namespace, Service
from sniproxy.resolvers.kubernetes.options import GatewayOptions, ServiceOptions
from sniproxy.resolvers.kubernetes.pods import PodTable
from sniproxy.resolvers.kubernetes.statuswriter import StatusWriter
from sniproxy.resolvers.kubernetes.tlsroutes import RouteTable
from sniproxy.resolvers.kubernetes.watch import Watcher
from sniproxy.util.reactor import IReactor

DISCOVERY = "discovery.k8s.io"

ROUTE_VERSIONS = ("v1", "v1alpha3", "v1alpha2")
"""Versions of TLSRoute, newest first. The fields that we read are the same.

Only in C{v1alpha2} C{hostnames} is optional: a route without them has all names of its listeners.
"""

T = TypeVar("T")


class NameTable(Protocol):
    """What names lead to at one time. Two tables are equal if their answers are."""

    notes: tuple[str, ...]
    """What is ignored, and why, for the log."""
    problems: tuple[str, ...]
    """Those that the operator should know."""

    @property
    def summary(self) -> str:
        """What it has, in a few words."""

    @property
    def described(self) -> Mapping[str, str]:
        """What each name is."""

    def names(self) -> Iterator[str]:
        """The names whose removal is no reason for an alert at once."""

    def knows(self, name: str | None) -> bool:
        """Whether a name leads, or will lead, to something."""

    def resolution(self, name: str | None) -> Resolution:
        """The answer. @raise Refused: the name leads nowhere. @raise Unavailable: it leads nowhere now."""

    def changes(self, before: Any) -> str:
        """The differences to an earlier table, each after a semicolon."""


class Source(Protocol):
    """Watches, and makes a table of what they have read."""

    def start(self, changed: Callable[[], None]) -> None:
        """Start the watches. @param changed: called when objects or errors have changed."""

    def stop(self) -> Deferred[None]:
        """Stop all."""

    def watchers(self) -> Sequence[Watcher[Any]]:
        """The watches whose objects the table needs."""

    def table(self) -> NameTable:
        """The table of the current objects."""

    def write(self, table: NameTable) -> None:
        """Write the status of what a table is made of, if the configuration says so."""

    def trouble(self) -> str | None:
        """An error that does not affect the answers. None: there is none."""


@attrs.define
class ServiceSource:
    """The EndpointSlices of a Service."""

    reactor: IReactor
    api: KubernetesAPI
    options: ServiceOptions
    namespace: str
    networks: Sequence[Network]
    _slices: Watcher[EndpointSlice] | None = None

    def start(self, changed: Callable[[], None]) -> None:
        selectors = {"labelSelector": f"kubernetes.io/service-name={self.options.service}"}
        resource = Resource("endpointslices", DISCOVERY, ("v1",), self.namespace, selectors)
        self._slices = Watcher(self.reactor, self.api, resource, EndpointSlice, changed)
        self._slices.start()

    def stop(self) -> Deferred[None]:
        for watcher in self.watchers():
            watcher.stop()
        return self.api.close()

    def watchers(self) -> Sequence[Watcher[Any]]:
        return [] if self._slices is None else [self._slices]

    def table(self) -> PodTable:
        objects = [] if self._slices is None else self._slices.store.objects.values()
        found = collect(objects, self.options.port, self.networks)
        service = f"{self.namespace}/{self.options.service}"
        return PodTable(service, found, self.options.names, self.options.service_names)

    def write(self, table: NameTable) -> None:
        """A Service has no status of ours."""

    def trouble(self) -> str | None:
        return None


class GatewaySource:
    """The TLSRoutes of a Gateway, and what they refer to."""

    def __init__(
        self,
        reactor: IReactor,
        api: KubernetesAPI,
        options: GatewayOptions,
        namespace: str,
        networks: Sequence[Network],
    ) -> None:
        self._reactor = reactor
        self._api = api
        self._options = options
        self._networks = networks
        self._changed: Callable[[], None] = lambda: None
        everywhere = None if options.all_namespaces else namespace
        named = {"fieldSelector": f"metadata.name={options.gateway}"}
        self._title = f"Gateway {namespace}/{options.gateway}"
        self._gateways = self._watcher(Resource("gateways", GROUP, ("v1",), namespace, named), Gateway)
        self._routes = self._watcher(Resource("tlsroutes", GROUP, ROUTE_VERSIONS, everywhere), TLSRoute)
        self._services = self._watcher(Resource("services", "", ("v1",), everywhere), Service)
        self._slices = self._watcher(Resource("endpointslices", DISCOVERY, ("v1",), everywhere), EndpointSlice)
        self._watchers: list[Watcher[Any]] = [self._gateways, self._routes, self._services, self._slices]
        self._grants: Watcher[ReferenceGrant] | None = None
        if options.all_namespaces:
            grants = Resource("referencegrants", GROUP, ("v1", "v1beta1"), None)
            self._grants = self._watcher(grants, ReferenceGrant, optional=True)
            self._watchers.append(self._grants)
        self._namespaces: Watcher[Namespace] | None = None
        self._cluster: Cluster | None = None
        self._writer: StatusWriter | None = None
        if options.controller is not None:
            self._writer = StatusWriter(reactor, api, self._routes, options.controller)

    def start(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        for watcher in self._watchers:
            watcher.start()

    def stop(self) -> Deferred[None]:
        for watcher in self._watchers:
            watcher.stop()
        if self._namespaces is not None:
            self._namespaces.stop()
        if self._writer is not None:
            self._writer.stop()
        return self._api.close()

    def watchers(self) -> Sequence[Watcher[Any]]:
        self._watch_namespaces()
        return self._watchers if self._namespaces is None else [*self._watchers, self._namespaces]

    def _watch_namespaces(self) -> None:
        """Read Namespaces while a listener selects them: it needs a permission for all of them.

        Without it no other listener is affected, so they are optional.
        """
        gateway = self._gateway()
        wanted = self._options.all_namespaces and gateway is not None and selects_namespaces(gateway)
        if self._namespaces is None and wanted:
            self._namespaces = self._watcher(Resource("namespaces", "", ("v1",)), Namespace, optional=True)
            self._namespaces.start()
        elif self._namespaces is not None and not wanted:
            self._namespaces.stop()
            self._namespaces = None

    def table(self) -> RouteTable:
        grants = () if self._grants is None else self._grants.store.objects.values()
        slices = self._slices.store.objects.values()
        self._cluster = Cluster(self._services.store.objects, slices, grants, self._networks, self._cluster)
        labels = None
        if self._namespaces is not None and self._namespaces.lists:
            labels = {one.metadata.name: one.metadata.labels or {} for one in self._namespaces.store.objects.values()}
        routes = self._routes.store.objects.values()
        return RouteTable(self._title, self._gateway(), routes, self._cluster, self._options.sections, labels)

    def write(self, table: NameTable) -> None:
        if self._writer is not None and isinstance(table, RouteTable):
            self._writer.write(table.results)

    def trouble(self) -> str | None:
        return None if self._writer is None else self._writer.error

    def _gateway(self) -> Gateway | None:
        return next(iter(self._gateways.store.objects.values()), None)

    def _watcher(self, resource: Resource, kind: type[T], optional: bool = False) -> Watcher[T]:
        return Watcher(self._reactor, self._api, resource, kind, lambda: self._changed(), optional)
