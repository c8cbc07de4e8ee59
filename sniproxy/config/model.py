"""What a checked configuration is: values, as L{sniproxy.config.parser} makes them of a file or of options. Pure.

They are msgspec's: there may be very many, and both they and their classes are made faster than those of attrs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from sniproxy.config.inspectlog import InspectLog
from sniproxy.config.limits import Limits
from sniproxy.config.schema import Timeouts
from sniproxy.net.endpoints import Endpoint
from sniproxy.routing.health import Health
from sniproxy.routing.policy import Policy
from sniproxy.routing.templates import Template

if TYPE_CHECKING:
    from sniproxy.config.allowed import Allowed
    from sniproxy.pulsar.serviceurl import ServiceURL, SniProxy

PULSAR = "pulsar"
"""The one inspector."""

DEFAULT = "default"
NO_SERVER_NAME = "no_server_name"
PLAINTEXT = "plaintext"
"""What the routes are called that no server name leads to."""


class Listener(msgspec.Struct, frozen=True):
    """@ivar name: in the log, and for a route's ``listener``; unless given, the endpoint string as written.

    @ivar plaintext: where its connections lead, for no hello names it. None: TLS, by the routes.
    @ivar termination: None: TLS stays end to end.
    @ivar inspect: Pulsar's commands are read as they pass. @ivar key: where it stands in the configuration.
    @ivar deferred_accept: the kernel keeps a client back until it has said something.
    """

    name: str
    endpoint: Endpoint
    key: str
    plaintext: Route | None = None
    termination: Termination | None = None
    inspect: bool = False
    deferred_accept: bool = False


class Termination(msgspec.Struct, frozen=True):
    """TLS that ends at the proxy: paths of PEM files.

    @ivar certificates: what clients are shown: a file, or a folder of files. @ivar trust: for brokers' certificates.
    @ivar certificate: what brokers are shown. None: nothing.
    @ivar key: where it stands in the configuration.
    """

    certificates: str
    trust: str
    certificate: str | None
    key: str


DEFAULT_DEADLINE_S = 5.0
"""Seconds that a resolver has for an answer: half of what C{timeouts.connect} gives it and all targets together."""

DEFAULT_STALE_S = 3600.0
"""Seconds for which an answer may be used after its ttl, while the resolver fails."""


class Bridge(msgspec.Struct, frozen=True):
    """A plaintext listener of the bridge, and the cluster that it leads to.

    @ivar proxy: None: brokers are dialled by their own names. @ivar trust: a path of PEM.
    @ivar certificate: a path of PEM. None: brokers are shown none.
    @ivar allow: None: brokers that an answer through this bridge has named.
    @ivar inspect: Pulsar's commands are read as they pass. @ivar key: where it stands in the configuration.
    """

    name: str
    endpoint: Endpoint
    service_url: ServiceURL
    proxy: SniProxy | None
    trust: str
    certificate: str | None
    allow: tuple[Allowed, ...] | None
    inspect: bool
    key: str

    @property
    def destination(self) -> str:
        """For people: where it leads all its clients, and how."""
        return f"{self.service_url} {f'via proxy {self.proxy}' if self.proxy else 'directly'}"


class ResolverTable(msgspec.Struct, frozen=True):
    """@ivar kind: the plugin's name. @ivar options: for it. @ivar key: where it stands in the configuration.

    @ivar name: of a C{[resolver.NAME]}. None: the targets of a route, or a list of resolvers.
    @ivar inner: the resolvers that are asked in order; empty: it is one itself.
    @ivar templates: the targets of a route, read: there may be very many routes, and each target is read once.
    """

    kind: str
    options: Mapping[str, Any]
    key: str
    name: str | None = None
    deadline: float = DEFAULT_DEADLINE_S
    stale: float = DEFAULT_STALE_S
    inner: tuple[ResolverTable, ...] = ()
    templates: tuple[Template, ...] = ()

    @property
    def title(self) -> str:
        """For people: ``resolver.brokers (type dns), then resolver.file (type file)``."""
        return ", then ".join(f"{table.key} (type {table.kind})" for table in self.inner or (self,))


class Route(msgspec.Struct, frozen=True):
    """@ivar server_name: the normalised pattern, or ``default`` or ``no_server_name``. @ivar listener: None: all.

    @ivar least: the target with the fewest connections is next, not the one whose turn it is.
    @ivar max_connections: at once. None: no limit.
    """

    server_name: str
    listener: str | None
    resolver: ResolverTable
    least: bool = False
    max_connections: int | None = None


class AdminSettings(msgspec.Struct, frozen=True):
    """@ivar hosts: names by which it may be asked for, beside its addresses and ``localhost``.

    @ivar instance: which of several workers it tells of, from 0. None: there is one process.
    @ivar token_file: a file with the token of changing requests. None: only a unix socket takes these.
    """

    endpoint: Endpoint
    hosts: tuple[str, ...]
    instance: int | None = None
    token_file: str | None = None


class Configuration(msgspec.Struct, frozen=True):
    """A whole configuration, checked. @ivar access_log: a path; ``-``: standard output; None: the program's own log.

    @ivar admin: None: there is no admin endpoint.
    @ivar policy: where targets may be that clients help to form.
    @ivar health: how targets are looked after.
    @ivar reload_on_change: the file is read again when it changes, without a signal.
    @ivar bridges: there may be none, or nothing else.
    @ivar limits: how many connections there may be.
    @ivar kernel_relay: the kernel forwards tunnels, where it can.
    @ivar inspect_log: None: what inspectors see goes to the program's own log.
    @ivar workers: processes that serve it side by side.
    @ivar notes: warnings about what the file has and the values no longer show.
    @ivar text: of the file, for the lines of errors. Empty: it came as options.

    @ivar filename: where it came from, for messages.
    """

    filename: str
    listeners: tuple[Listener, ...]
    routes: tuple[Route, ...]
    default: Route | None
    no_server_name: Route | None
    timeouts: Timeouts
    access_log: str | None
    inspect_log: InspectLog | None = None
    admin: AdminSettings | None = None
    policy: Policy = msgspec.field(default_factory=Policy)
    reload_on_change: bool = False
    health: Health = msgspec.field(default_factory=Health)
    bridges: tuple[Bridge, ...] = ()
    limits: Limits = msgspec.field(default_factory=Limits)
    workers: int = 1
    kernel_relay: bool = False
    text: str = ""
    notes: tuple[str, ...] = ()

    @property
    def entrances(self) -> tuple[Listener | Bridge, ...]:
        """All that clients come in by."""
        return (*self.listeners, *self.bridges)
