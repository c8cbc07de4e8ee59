"""Plugin file by which ``twistd sniproxy`` finds the resolver. It does not import the resolver."""

from sniproxy.resolvers import LazyResolverMaker

numbered = LazyResolverMaker(
    "numbered",
    "brokers behind one host, each at its own port, by the number in the name",
    "sniproxy_numbered.resolver.make",
    "sniproxy_numbered.resolver.OPTIONS",
)
