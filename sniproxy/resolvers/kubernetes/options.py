"""Options of the C{kubernetes} resolver: where the API server is, what to watch, which names."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Any

import attrs

from sniproxy.interfaces import BadOption, Kind, Option
from sniproxy.resolvers.http.client import CERTIFICATE, TOKEN_FILE, TRUST, Credentials
from sniproxy.resolvers.kubernetes.endpoints import Network
from sniproxy.resolvers.kubernetes.pods import NameTemplate, parse_template
from sniproxy.resolvers.options import check_server_url
from sniproxy.resolvers.pulsar.options import read_service_names
from sniproxy.util.names import host_port

SERVICE_ACCOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"
"""The folder in which Kubernetes mounts a pod's token, namespace and the CA of the API server."""

IN_CLUSTER = "https://kubernetes.default.svc"
"""The API server of every cluster, by DNS, so that a configuration for a pod can be checked elsewhere, too."""

OPTIONS = (
    Option("service", Kind.TEXT, "headless Service whose pods get names", None),
    Option("name", Kind.TEXTS, 'names of a pod, from {pod} and {ordinal}, as in "{pod}.pulsar.example.com"', ()),
    Option("service_name", Kind.TEXTS, "names that lead to any ready pod: the host of the clients' service URL", ()),
    Option("port", Kind.TEXT, 'name or number of the port, as in "pulsarssl"; default: the only port', None),
    Option("gateway", Kind.TEXT, "Gateway whose TLSRoutes are the routes, instead of service", None),
    Option("sections", Kind.TEXTS, "listeners of the Gateway to serve; default: all with TLS passthrough", ()),
    Option("all_namespaces", Kind.FLAG, "read TLSRoutes and Services of all namespaces", False),
    Option("write_status", Kind.FLAG, "write the status of TLSRoutes", False),
    Option("controller", Kind.TEXT, "controllerName in that status", "sniproxy/gateway"),
    Option("namespace", Kind.TEXT, "namespace of service or gateway; default: the proxy's own", None),
    Option("networks", Kind.TEXTS, "networks of the pods; default: all but loopback, link-local and multicast", ()),
    Option("server", Kind.TEXT, "URL of the API server; default: that of the proxy's own cluster", None),
    Option("timeout", Kind.NUMBER, "seconds until a request times out", 10.0),
    Option("keep", Kind.NUMBER, "seconds to use what was read last while the API server does not answer", 86400.0),
    attrs.evolve(TRUST, help="PEM of the CAs of the API server; default: the proxy's own cluster's"),
    attrs.evolve(TOKEN_FILE, help="file with a token, reloaded when it changes; default: the pod's own"),
    CERTIFICATE,
)

_DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_CONTROLLER = re.compile(r"[a-z0-9][-a-z0-9.]{0,200}/[A-Za-z0-9/._~%-]{1,50}")
_GATEWAY_ONLY = {"sections": (), "all_namespaces": False, "write_status": False}
_SERVICE_ONLY = {"name": (), "service_name": (), "port": None}


@attrs.frozen
class ServiceOptions:
    """What to watch for a Service. @ivar port: as in L{sniproxy.resolvers.kubernetes.endpoints.collect}."""

    service: str
    names: tuple[NameTemplate, ...]
    service_names: tuple[str, ...]
    port: str | None


@attrs.frozen
class GatewayOptions:
    """What to watch for a Gateway. @ivar sections: empty: all. @ivar controller: None: write no status."""

    gateway: str
    sections: tuple[str, ...]
    all_namespaces: bool
    controller: str | None


@attrs.frozen
class ClusterOptions:
    """The API server and what both kinds of resolver need."""

    server: str
    credentials: Credentials
    namespace: str
    networks: tuple[Network, ...]
    timeout: float
    keep: float


def read_cluster(
    options: Mapping[str, Any], environ: Mapping[str, str], folder: str = SERVICE_ACCOUNT
) -> ClusterOptions:
    """@param environ: the environment. @param folder: as L{SERVICE_ACCOUNT}. @raise BadOption: an option is invalid."""
    if options["timeout"] <= 0:
        raise BadOption("timeout", options["timeout"], "write a number of seconds, more than 0")
    if options["keep"] < 0:
        raise BadOption("keep", options["keep"], "write a number of seconds, 0 or more")
    server = options["server"]
    trust, token = options["trust"], options["token_file"]
    if server is None:
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "")
        server = IN_CLUSTER
        if host:
            server = f"https://{host_port(host.strip('[]'), int(port) if port.isascii() and port.isdigit() else 443)}"
        trust = trust or _existing(folder, "ca.crt")
        token = token or (None if options["certificate"] else _existing(folder, "token"))
    check_server_url("server", server, "write scheme, host and port, as in https://10.96.0.1:443")
    if not server.startswith("https:"):
        for key in ("token_file", "certificate", "trust"):
            if options[key] is not None:
                raise BadOption(key, options[key], "this option needs https; write server = https://")
    namespace = options["namespace"] or _own_namespace(folder)
    if namespace is None:
        raise BadOption("namespace", None, "this process does not run in a pod; name the namespace")
    _check_label("namespace", namespace)
    networks = []
    for text in options["networks"]:
        try:
            networks.append(ipaddress.ip_network(text))
        except ValueError as error:
            raise BadOption("networks", text, f"{error}; write networks, as in 10.0.0.0/8") from error
    credentials = Credentials(trust, options["certificate"], token)
    return ClusterOptions(
        server.rstrip("/"), credentials, namespace, tuple(networks), options["timeout"], options["keep"]
    )


def read_mode(options: Mapping[str, Any]) -> ServiceOptions | GatewayOptions:
    """What to watch. @raise BadOption: an option is missing, invalid, or does not go with another one."""
    service, gateway = options["service"], options["gateway"]
    if (service is None) == (gateway is None):
        raise BadOption(
            "service", service, "write either service, for the pods of a Service, or gateway, for TLSRoutes"
        )
    unused = _GATEWAY_ONLY if gateway is None else _SERVICE_ONLY
    for key, default in unused.items():
        if options[key] != default:
            needed = "gateway" if gateway is None else "service"
            raise BadOption(key, options[key], f"this option needs the option {needed}")
    if gateway is not None:
        _check_name("gateway", gateway)
        for section in options["sections"]:
            _check_name("sections", section)
        controller = options["controller"]
        if not _CONTROLLER.fullmatch(controller):
            raise BadOption("controller", controller, "write a domain and a path, as in example.com/sniproxy")
        written = controller if options["write_status"] else None
        return GatewayOptions(gateway, tuple(options["sections"]), options["all_namespaces"], written)
    _check_label("service", service)
    templates = []
    for text in options["name"]:
        try:
            templates.append(parse_template(text))
        except ValueError as error:
            raise BadOption("name", text, str(error)) from error
    service_names = read_service_names(options)
    if not templates and not service_names:
        raise BadOption("name", None, "name the pods, the service, or both, as in {pod}.pulsar.example.com")
    return ServiceOptions(service, tuple(templates), service_names, options["port"])


def _existing(folder: str, name: str) -> str | None:
    path = os.path.join(folder, name)
    return path if os.path.exists(path) else None


def _own_namespace(folder: str) -> str | None:
    try:
        with open(os.path.join(folder, "namespace"), encoding="ascii") as file:
            return file.read(300).strip() or None
    except (OSError, ValueError):
        return None


def _check_label(key: str, text: str) -> None:
    if not _DNS_LABEL.fullmatch(text):
        raise BadOption(key, text, "write its name in Kubernetes: lower-case letters, digits and -")


def _check_name(key: str, text: str) -> None:
    if len(text) > 253 or not all(_DNS_LABEL.fullmatch(label) for label in text.split(".")):
        raise BadOption(key, text, "write its name in Kubernetes: lower-case letters, digits, - and dots")
