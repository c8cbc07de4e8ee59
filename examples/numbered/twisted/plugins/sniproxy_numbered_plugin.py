"""By this file ``twistd sniproxy`` finds the resolver. It names it and imports nothing of it."""

from sniproxy.resolvers import LazyResolverMaker

numbered = LazyResolverMaker(
    "numbered",
    "brokers behind one host, each at a port of its own, by the number in their names",
    "sniproxy_numbered.resolver.make",
    "sniproxy_numbered.resolver.OPTIONS",
)
