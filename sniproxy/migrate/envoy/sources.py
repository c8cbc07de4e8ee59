"""Gathers listeners, clusters and endpoints from Envoy's files. Pure.

A file is a bootstrap (YAML or JSON), a resource file of the file-based xDS, or what C{/config_dump} of the admin
interface prints.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from sniproxy.migrate.envoy.messages import entries, snake, text
from sniproxy.migrate.model import MigrateError, Notes, SourceFile
from sniproxy.migrate.yamlnodes import YamlNode, documents

_DUMP = "write the output of http://ADMIN/config_dump?include_eds to a file, and import that"

_EFFECTIVE = ("static_listeners", "dynamic_listeners", "static_clusters", "dynamic_active_clusters")
_ENDPOINTS = ("static_endpoint_configs", "dynamic_endpoint_configs")
_IGNORED = frozenset(("node", "admin", "stats_sinks", "stats_config", "stats_flush_interval", "tracing", "watchdogs",
    "layered_runtime", "overload_manager", "bootstrap_extensions", "static_resources", "dynamic_resources",
    "hds_config", "flags_path", "runtime", "resources", "version_info", "configs", "cluster_manager",
    "@type", "listeners", "clusters",
))  # fmt: skip


@attrs.define
class Sources:
    """What the files contain. @ivar assignments: of EDS, by name of the service or cluster."""

    listeners: list[YamlNode] = attrs.field(factory=list)
    clusters: dict[str, YamlNode] = attrs.field(factory=dict)
    assignments: dict[str, YamlNode] = attrs.field(factory=dict)
    dynamic: list[YamlNode] = attrs.field(factory=list)


def gather(files: Sequence[SourceFile], report: Notes) -> Sources:
    """Read all files.

    @raise MigrateError: a file is no YAML or JSON, or no file has a listener.
    """
    found = Sources()
    for file in files:
        for document in documents(file):
            _document(snake(document), found, report)
    _dynamic(found, files, report)
    if files and not found.listeners:
        names = ", ".join(file.name for file in files)
        raise MigrateError(f"{names}: no listener of Envoy; import a bootstrap with static_resources, or {_DUMP}")
    return found


def _document(document: YamlNode, found: Sources, report: Notes) -> None:
    resources = document.get("static_resources") or document
    for listener in entries(resources, "listeners"):
        found.listeners.append(listener)
    for cluster in entries(resources, "clusters"):
        _cluster(cluster, found, report)
    for resource in entries(document, "resources"):
        _resource(resource, found, report)
    for config in entries(document, "configs"):
        _dumped(config, found, report)
    dynamic = document.get("dynamic_resources")
    if dynamic is not None:
        found.dynamic.append(dynamic)
    for key, value in document.items():
        if key not in _IGNORED and isinstance(value.value, dict | list):
            report.left_out(value.place, f"{key} is not read")


def _cluster(cluster: YamlNode, found: Sources, report: Notes) -> None:
    name = text(cluster, "name")
    if name in found.clusters:
        report.left_out(cluster.place, f"a second cluster named {name}; the first is used", decides=True)
    else:
        found.clusters[name] = cluster


def _resource(resource: YamlNode, found: Sources, report: Notes) -> None:
    """A resource of a discovery response."""
    kind = text(resource, "@type").rpartition(".")[2]
    if kind == "Listener":
        found.listeners.append(resource)
    elif kind == "Cluster":
        _cluster(resource, found, report)
    elif kind == "ClusterLoadAssignment":
        found.assignments.setdefault(text(resource, "cluster_name"), resource)


def _dumped(config: YamlNode, found: Sources, report: Notes) -> None:
    """A part of C{/config_dump}. Its bootstrap repeats static listeners and clusters, so it is not read."""
    for key in _EFFECTIVE:
        for entry in entries(config, key):
            state = entry.get("active_state") or entry
            listener, cluster = state.get("listener"), state.get("cluster")
            if listener is not None:
                found.listeners.append(listener)
            if cluster is not None:
                _cluster(cluster, found, report)
    for key in _ENDPOINTS:
        for entry in entries(config, key):
            assignment = entry.get("endpoint_config")
            if assignment is not None:
                found.assignments.setdefault(text(assignment, "cluster_name"), assignment)


def _dynamic(found: Sources, files: Sequence[SourceFile], report: Notes) -> None:
    """Report where Envoy gets the rest of its configuration, except from files that were read."""
    names = {file.base for file in files}
    for resources in found.dynamic:
        for key, config in resources.items():
            path = text(config, "path_config_source", "path") or text(config, "path")
            if key.endswith("_config") and (not path or path.rpartition("/")[2] not in names):
                report.left_out(config.place, f"Envoy gets resources from elsewhere ({key}); {_DUMP}", decides=True)


def eds_name(cluster: YamlNode) -> str:
    """The name of a cluster's endpoints in EDS."""
    return text(cluster, "eds_cluster_config", "service_name") or text(cluster, "name")
