"""The Twisted plugins of sniproxy, by dotted names: their code, and a reactor, are imported only on use."""

from twisted.application.service import ServiceMaker

from sniproxy.client.endpointparser import LazyEndpointParser
from sniproxy.resolvers import LazyResolverMaker

command = ServiceMaker(
    "sniproxy",
    "sniproxy.tap",
    "A layer-4 proxy that routes TLS by server name, for Apache Pulsar's PIP-60.",
    "sniproxy",
)
static = LazyResolverMaker(
    "static",
    "targets from the configuration",
    "sniproxy.resolvers.static.make",
    "sniproxy.resolvers.static.OPTIONS",
)
refuse = LazyResolverMaker(
    "refuse",
    "refuses every name",
    "sniproxy.resolvers.refuse.make",
    "sniproxy.resolvers.refuse.OPTIONS",
)
file = LazyResolverMaker(
    "file",
    "names and targets from a file, reloaded when it changes",
    "sniproxy.resolvers.file.make",
    "sniproxy.resolvers.file.OPTIONS",
)
dns = LazyResolverMaker(
    "dns",
    "addresses or SRV records from DNS, cached for their TTL",
    "sniproxy.resolvers.dns.resolver.make",
    "sniproxy.resolvers.dns.resolver.OPTIONS",
)
pulsar = LazyResolverMaker(
    "pulsar",
    "live brokers of a Pulsar cluster, from its admin API",
    "sniproxy.resolvers.pulsar.resolver.make",
    "sniproxy.resolvers.pulsar.resolver.OPTIONS",
)
http = LazyResolverMaker(
    "http",
    "targets from an HTTP service that answers in JSON",
    "sniproxy.resolvers.http.resolver.make",
    "sniproxy.resolvers.http.resolver.OPTIONS",
)
zookeeper = LazyResolverMaker(
    "zookeeper",
    "live brokers of a Pulsar cluster, from its metadata in ZooKeeper",
    "sniproxy.resolvers.zookeeper.resolver.make",
    "sniproxy.resolvers.zookeeper.resolver.OPTIONS",
    "sniproxy[zookeeper]",
    ("kazoo",),
)
kubernetes = LazyResolverMaker(
    "kubernetes",
    "pods of a Kubernetes Service, or TLSRoutes of a Gateway, from the Kubernetes API",
    "sniproxy.resolvers.kubernetes.resolver.make",
    "sniproxy.resolvers.kubernetes.options.OPTIONS",
)
client = LazyEndpointParser("sniproxy", "sniproxy.client.from_string")
