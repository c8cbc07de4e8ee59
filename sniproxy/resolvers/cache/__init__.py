"""What the proxy adds to every resolver.

- ``cache``: L{CachedResolver<sniproxy.resolvers.cache.cache.CachedResolver>}, which adds a timeout and keeps answers;
- ``singleflight``: connections with the same query share one;
- ``breaker``: the circuit breaker;
- ``outcomes``: turns what a plugin returned or raised into an answer, a refusal or a failure;
- ``fallback``: asks several resolvers in order.
"""
