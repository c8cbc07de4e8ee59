"""The checked configuration, as L{sniproxy.config.parser} makes it from a file or from options. Pure.

The classes are msgspec's, which are faster to define and to fill than attrs classes; there may be 10,000 routes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from sniproxy.config.inspectlog import InspectLog
from sniproxy.config.limits import Limits
from sniproxy.config.schema import Timeouts
from sniproxy.net.endpoints import Endpoint
from sniproxy.proxyprotocol.sending import SendProxy
from sniproxy.routing.clientlist import ClientList
from sniproxy.routing.health import Health
from sniproxy.routing.policy import Policy
from sniproxy.routing.templates import Template

if TYPE_CHECKING:
    from sniproxy.config.allowed import Allowed
    from sniproxy.config.fault import Fault
    from sniproxy.config.proxyprotocol import AcceptProxy
    from sniproxy.pulsar.serviceurl import ServiceURL, SniProxy

PULSAR = "pulsar"
"""The only inspector."""

DEFAULT = "default"
NO_SERVER_NAME = "no_server_name"
PLAINTEXT = "plaintext"
"""The names of the routes that have no server name."""


class Listener(msgspec.Struct, frozen=True):
    """A listener.

    @ivar name: in logs, and for a route's ``listener``. The default is the endpoint string as written.
    @ivar plaintext: the route of a plaintext listener. None: a TLS listener.
    @ivar termination: None: TLS stays end to end.
    @ivar inspect: whether Pulsar's commands are inspected. @ivar key: its key in the configuration.
    @ivar deferred_accept: the kernel holds a connection until the client has sent data.
    @ivar closed_when_down: the listener is closed while no target of this route is up. None: it is always open.
    @ivar proxy_protocol: None: it reads no PROXY protocol headers.
    """

    name: str
    endpoint: Endpoint
    key: str
    plaintext: Route | None = None
    termination: Termination | None = None
    inspect: bool = False
    deferred_accept: bool = False
    proxy_protocol: AcceptProxy | None = None
    closed_when_down: str | None = None


class Termination(msgspec.Struct, frozen=True):
    """TLS termination: paths of PEM files.

    @ivar certificates: the certificates for clients: a file, or a folder of files.
    @ivar trust: the CA of brokers' certificates. @ivar certificate: the certificate for brokers. None: none.
    @ivar key: its key in the configuration.
    """

    certificates: str
    trust: str
    certificate: str | None
    key: str


DEFAULT_DEADLINE_S = 5.0
"""Seconds for a resolver's answer: half of the default C{timeouts.connect}, which includes dialling."""

DEFAULT_STALE_S = 3600.0
"""Seconds after its ttl for which a cached answer is used while the resolver fails."""


class Bridge(msgspec.Struct, frozen=True):
    """A bridge: a plaintext listener, and the cluster that it connects to.

    @ivar proxy: the SNI proxy. None: brokers are dialled directly. @ivar trust: a PEM file with the brokers' CA.
    @ivar certificate: a PEM file with the certificate for brokers. None: none.
    @ivar allow: the allowed brokers. None: brokers that lookups through this bridge have returned.
    @ivar inspect: whether Pulsar's commands are inspected. @ivar key: its key in the configuration.
    @ivar send_proxy: None: brokers get no PROXY protocol header.
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
    send_proxy: SendProxy | None = None

    @property
    def destination(self) -> str:
        """The cluster and the proxy, for messages."""
        return f"{self.service_url} {f'via proxy {self.proxy}' if self.proxy else 'directly'}"


class ResolverTable(msgspec.Struct, frozen=True):
    """A resolver, a list of resolvers, or the targets of a route.

    @ivar kind: the plugin's name. @ivar options: the plugin's options. @ivar key: its key in the configuration.
    @ivar name: the NAME of C{[resolver.NAME]}. None: the targets of a route, or a list of resolvers.
    @ivar deadline: seconds for an answer. @ivar stale: seconds after its ttl for which an answer may be used.
    @ivar inner: the resolvers of a list, in order; empty: it is no list.
    @ivar templates: the parsed targets of a route.
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
        """For messages: ``resolver.brokers (type dns), then resolver.file (type file)``."""
        return ", then ".join(f"{table.key} (type {table.kind})" for table in self.members)

    @property
    def members(self) -> tuple[ResolverTable, ...]:
        """The resolvers of a list, in order, or itself."""
        return self.inner or (self,)


class Route(msgspec.Struct, frozen=True):
    """A route.

    @ivar server_name: the normalised pattern, or ``default`` or ``no_server_name``. Empty: hellos without a name, on
        the listener. @ivar listener: None: all.
    @ivar least_connections: balance by least connections instead of round robin.
    @ivar max_connections: concurrent connections. None: no limit. @ivar only_from: its clients. None: all.
    @ivar send_proxy: None: targets get no PROXY protocol header.
    @ivar from_client: targets are dialled from the client's address.
    """

    server_name: str
    listener: str | None
    resolver: ResolverTable
    least_connections: bool = False
    max_connections: int | None = None
    only_from: ClientList | None = None
    send_proxy: SendProxy | None = None
    from_client: bool = False

    @property
    def nameless(self) -> bool:
        """Whether it is for hellos without a server name."""
        return self.server_name in ("", NO_SERVER_NAME)

    @property
    def title(self) -> str:
        """For messages: ``a.test``, ``a.test (on public)``, ``[default]``."""
        name = f"[{self.server_name}]" if self.server_name in (DEFAULT, NO_SERVER_NAME) else self.server_name
        name = name or "(no server name)"
        return name if self.listener is None else f"{name} (on {self.listener})"


class AdminSettings(msgspec.Struct, frozen=True):
    """The admin endpoint.

    @ivar hosts: host names that requests may use, besides its addresses and ``localhost``.
    @ivar instance: the worker's index, from 0. None: there is one process.
    @ivar token_file: a file with the token for requests that change state. None: only a unix socket accepts these.
    """

    endpoint: Endpoint
    hosts: tuple[str, ...]
    instance: int | None = None
    token_file: str | None = None

    @property
    def supervisor_address(self) -> tuple[str, int] | None:
        """Host and port of the supervisor's endpoint, in a worker. None: unknown, or this is no worker."""
        host, port = self.endpoint.host, self.endpoint.port
        return (host, port) if self.instance is not None and host is not None and port else None


class Configuration(msgspec.Struct, frozen=True):
    """A checked configuration.

    @ivar filename: its file, for messages.
    @ivar access_log: a path; ``-``: standard output; None: the program's log.
    @ivar open_lines: seconds after which an open tunnel gets a line of the access log again. 0: it gets one, when it
        opens. None: it gets none.
    @ivar inspect_log: None: the inspector's events go to the program's log.
    @ivar admin: None: no admin endpoint.
    @ivar policy: restricts targets that clients' names form.
    @ivar reload_on_change: reload when the file changes, without a signal.
    @ivar health: health checks and ejection.
    @ivar workers: the number of processes.
    @ivar relay: of plain tunnels: ``engine``, ``python``, or ``auto``: the engine if it is installed.
    @ivar relay_threads: the engine's threads, in each process.
    @ivar log_format: of the program's log: ``text`` or ``json``.
    @ivar text: the file's text, for the lines of errors. Empty: the configuration came from options.
    @ivar faults: faults on purpose, in the order in which they are tried.
    @ivar notes: warnings about the file that the values do not show.
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
    relay: str = "auto"
    relay_threads: int = 1
    open_lines: float | None = None
    log_format: str = "text"
    text: str = ""
    notes: tuple[str, ...] = ()
    faults: tuple[Fault, ...] = ()

    @property
    def entrances(self) -> tuple[Listener | Bridge, ...]:
        """All listeners and bridges."""
        return (*self.listeners, *self.bridges)
