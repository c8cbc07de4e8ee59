"""The C{dns} resolver: looks up addresses or SRV records of a name, with their TTLs.

- ``resolver``: the resolver and its options;
- ``client``: one lookup at several name servers, with ``udpsocket`` and ``stream`` for TCP;
- ``servers``: which name servers were silent lately;
- ``resolvconf``: parses resolv.conf and addresses of name servers;
- ``wire``: builds queries and reads answers;
- ``gathering``: waits for several lookups, of which some may be late.
"""
