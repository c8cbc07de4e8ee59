"""sniproxy: the layer-4 proxy that Apache Pulsar's PIP-60 asks for.

The map of the house, in the order in which a connection meets it (docs/explanation/architecture.md has the picture):

==================  =====================================================================================
``wire``            pure: bytes in, values out. The ClientHello reader, TLS alerts, what is not TLS
``names``           pure: server names, wildcards, IP literals: how they are written and compared
``text``            pure: how texts and numbers are written for people
``routing``         pure: from a server name to a route, from a route to its targets in turn
``policy``          pure: where clients may lead the proxy to; ``policycheck`` says what is odd about it
``schema``          pure: the tables and keys of a configuration file, and errors in its own terms
``config``          pure: TOML text in, a checked ``Configuration`` out, or an error that names the cure
``events``          pure: what is known of a connection, and the closed set of its results
``interfaces``      the words that resolver plugins are written against
``resolvers``       one file a resolver; found through ``twisted.plugin``
``net``             the only room with sockets: accept, hello, dial, relay, and closing in order
``conversation``    one coroutine: the life of a connection
``journal``         the access log
``inspector``       looks at what passes through plaintext listeners, and keeps the ledger of topics
``admin``           what the proxy does right now, over HTTP: page, JSON, Prometheus
``siderooms``       opens, feeds and closes these three as the configuration asks
``build``           from a configuration to resolvers, routes, endpoints
``service``         starts and drains it all; what other Twisted programs embed
``tap``             the command line of ``twistd sniproxy``
``workers``         several processes that serve one configuration, and their supervisor
``pulsar``          pure: Pulsar's frames and commands, what they say, who owns which topic
``capture``         pure: packet captures: files, packets, TCP streams
``ctl``             the command line of ``sniproxyctl``; ``topictable`` and ``adminclient`` are its
``demo``            the embedded stand-in cluster and the tour that ``make run`` shows
==================  =====================================================================================
"""

__version__ = "0.1.0"
