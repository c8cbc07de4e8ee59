"""Reads the configuration of Apache Traffic Server: its SNI routing (``tunnel_route``). Pure.

* L{sniproxy.migrate.ats.files}: which file is which
* L{sniproxy.migrate.ats.entries}: ``sni.yaml``
* L{sniproxy.migrate.ats.serverconfig}: the older ``ssl_server_name.config``
* L{sniproxy.migrate.ats.destinations}: ``tunnel_route`` to a target
* L{sniproxy.migrate.ats.addresses}: ``ip_allow`` and other lists of addresses
* L{sniproxy.migrate.ats.records}: ``records.yaml`` and ``records.config``; L{sniproxy.migrate.ats.ports}: their ports
* L{sniproxy.migrate.ats.rules}: entries to rules
* L{sniproxy.migrate.ats.termination}: listeners that end TLS, for ``partial_blind_route``
* L{sniproxy.migrate.ats.settings}: timeouts, limits, policy, and what is left out

Facts were taken from Traffic Server's documentation and from its behaviour (9.2 in tests/peers, where it is run).
"""

from __future__ import annotations

from sniproxy.migrate.ats.reader import read

__all__ = ["read"]
