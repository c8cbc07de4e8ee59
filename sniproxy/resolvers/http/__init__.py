"""The C{http} resolver: queries an HTTP service that answers with targets in JSON.

- ``resolver``: the resolver and its options;
- ``request``: URL and body, with placeholders;
- ``client``: the HTTP client, which the C{pulsar} resolver uses, too;
- ``answer``: reads targets from JSON.
"""
