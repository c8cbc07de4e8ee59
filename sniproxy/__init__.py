"""sniproxy: a layer-4 SNI proxy for Apache Pulsar, as PIP-60 describes.

The packages in the order in which they take part (docs/architecture.md has the picture and the imports):

===============  =============================================================================
``tap``          entry point of ``twistd sniproxy``
``config``       from TOML text to a checked configuration
``service``      ``ProxyService``: starts, reloads and drains; other Twisted programs embed it
``server``       builds the parts, listens, tracks connections, feeds observers; workers
``net``          sockets: accept, read the hello, look names up, dial, veto, close
``connection``   the stages of one connection, from admission to the record of its end
``tls``          ClientHello, alerts; certificates, keys and TLS contexts
``routing``      from a server name to a route, and the order of its targets
``resolvers``    from a server name to targets: a folder or file for each type, and the cache
``relay``        moves the bytes of tunnels
``bridge``       plaintext Pulsar clients to brokers behind an SNI proxy
``events``       the record of a connection, and the closed set of results
``logs``         access log, twistd's log, log of refused connections
``inspector``    reads Pulsar commands in tunnels and captures; the ledger of topics
``admin``        the HTTP endpoint: page, JSON, Prometheus metrics
``ctl``          entry point of ``sniproxyctl``; ``cli`` has its commands
``client``       an endpoint and a small Pulsar client with PIP-60's settings
``pulsar``       Pulsar's frames, commands and service URLs
``interfaces``   the types for resolver plugins
``testing``      tests for resolver plugins; an embedded Pulsar cluster for tests of clients
``demo``         the tour of ``make run``
``util``         small helpers
``talk``         deprecated names of ``client``
===============  =============================================================================
"""

__version__ = "0.1.0"
