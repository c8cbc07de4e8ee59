"""The C{http} resolver: queries an HTTP service that answers with targets in JSON.

- ``resolver``: the resolver and its options;
- ``request``: URL and body, with placeholders;
- ``client``: the HTTP client, which the C{pulsar} and C{kubernetes} resolvers use, too; ``bodies``: reads bodies;
- ``answer``: reads targets from JSON.
"""
