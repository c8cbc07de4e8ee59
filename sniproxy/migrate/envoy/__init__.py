"""Reads Envoy's configuration. Pure.

L{sources} gathers listeners and clusters from the files, L{clusters} and L{filters} say where a filter chain leads,
L{chains} makes rules of the chains of one listener, and L{settings} what is one setting for the whole proxy here.
"""

from __future__ import annotations

from collections.abc import Sequence

from sniproxy.migrate.envoy.chains import ChainRule
from sniproxy.migrate.envoy.clusters import read_clusters
from sniproxy.migrate.envoy.filters import used_clusters
from sniproxy.migrate.envoy.listeners import read_listener
from sniproxy.migrate.envoy.messages import entries, text
from sniproxy.migrate.envoy.settings import health, timeouts, with_limits
from sniproxy.migrate.envoy.sources import Sources, gather
from sniproxy.migrate.formed import formed_policy
from sniproxy.migrate.model import Imported, Notes, SourceFile
from sniproxy.migrate.yamlnodes import YamlNode


def read(files: Sequence[SourceFile]) -> Imported:
    """Read bootstraps, xDS files and configuration dumps.

    @raise MigrateError: a file is no YAML or JSON, or no file has a listener.
    """
    report = Notes()
    sources = gather(files, report)
    chains = [chain for listener in sources.listeners for chain in _chains(listener)]
    used = {name for chain in chains for name in used_clusters(chain, set(sources.clusters))}
    clusters = read_clusters(sources, report, used)
    found = Imported(report=report)
    made: list[ChainRule] = []
    waits, proxies = [], []
    for node, name in zip(sources.listeners, _names(sources), strict=True):
        listener = read_listener(node, name, clusters, report)
        found.listeners += listener.tables
        made += listener.rules
        waits += [listener.waits] if listener.waits is not None else []
        proxies += [one.destination.proxy for one in listener.used if one.destination.proxy is not None]
    found.rules = with_limits(made, report)
    reached = [cluster for name, cluster in clusters.items() if name in used and not cluster.unusable]
    found.timeouts = timeouts(waits, reached, proxies, report)
    found.health = health(reached, report)
    ports = sorted({destination.dynamic_port for _, destination in made if destination.dynamic_port is not None})
    if ports:
        first = next(rule for rule, destination in made if destination.dynamic_port is not None)
        found.policy = formed_policy(ports, first.place, report)
    found.report = report.without_repeats()
    return found


def _chains(listener: YamlNode) -> list[YamlNode]:
    default = listener.get("default_filter_chain")
    return [*entries(listener, "filter_chains"), *([default] if default is not None else [])]


def _names(sources: Sources) -> list[str]:
    """A name for each listener, none twice."""
    found: list[str] = []
    for number, node in enumerate(sources.listeners, 1):
        name = text(node, "name") or f"listener-{number}"
        while name in found:
            name += f"-{number}"
        found.append(name)
    return found
