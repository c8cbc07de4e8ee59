"""What sniproxy adds to Twisted, as names: nothing of it is imported until it is used, a reactor least of all."""

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
    "the targets that the configuration names",
    "sniproxy.resolvers.static.make",
    "sniproxy.resolvers.static.OPTIONS",
)
file = LazyResolverMaker(
    "file",
    "names and targets in a file, which is read again when it changes",
    "sniproxy.resolvers.file.make",
    "sniproxy.resolvers.file.OPTIONS",
)
dns = LazyResolverMaker(
    "dns",
    "addresses and services in DNS, for as long as DNS says",
    "sniproxy.resolvers.dns.resolver.make",
    "sniproxy.resolvers.dns.resolver.OPTIONS",
)
pulsar = LazyResolverMaker(
    "pulsar",
    "the live brokers of a Pulsar cluster, as its admin API has them",
    "sniproxy.resolvers.pulsar.resolver.make",
    "sniproxy.resolvers.pulsar.resolver.OPTIONS",
)
http = LazyResolverMaker(
    "http",
    "a URL that is asked about each name, and answers in JSON",
    "sniproxy.resolvers.http.resolver.make",
    "sniproxy.resolvers.http.resolver.OPTIONS",
)
zookeeper = LazyResolverMaker(
    "zookeeper",
    "the live brokers of a Pulsar cluster, as its metadata in ZooKeeper have them",
    "sniproxy.resolvers.zookeeper.resolver.make",
    "sniproxy.resolvers.zookeeper.resolver.OPTIONS",
    "sniproxy[zookeeper]",
    ("kazoo",),
)
client = LazyEndpointParser("sniproxy", "sniproxy.client.from_string")
