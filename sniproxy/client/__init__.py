"""The clients' side: PIP-60 for Twisted's clients, and a small Pulsar client for tools and tests.

The names of ``endpoint`` are also names of this package; it imports them when they are used.

=============  =====================================================================================================
``endpoint``   an endpoint that dials the proxy and puts the broker's name into SNI
``failures``   the kinds of failure, and the one exception; pure
``logins``     what a client says in CONNECT of who it is; pure
``redirects``  from a broker's answer to the next lookup, or to the owner; pure
``topics``     how topics are written; pure
``diagnosis``  from errors of TCP and TLS to a failure that names the cure
``session``    one connection: requests, answers, PING
``brokers``    dials brokers, directly or through a proxy, and keeps the sessions
``lookups``    partitions and the owner of a topic, each redirect as a value
``messages``   produces a message, reads messages
=============  =====================================================================================================

The Pulsar client retries nothing. It answers PINGs and sends none.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sniproxy.client.endpoint import (
        CONNECT_SECONDS as CONNECT_SECONDS,
    )
    from sniproxy.client.endpoint import (
        BadPem as BadPem,
    )
    from sniproxy.client.endpoint import (
        BadServiceURL as BadServiceURL,
    )
    from sniproxy.client.endpoint import (
        ClientCertificate as ClientCertificate,
    )
    from sniproxy.client.endpoint import (
        ProxyProtocol as ProxyProtocol,
    )
    from sniproxy.client.endpoint import (
        ProxySettings as ProxySettings,
    )
    from sniproxy.client.endpoint import (
        ServiceURL as ServiceURL,
    )
    from sniproxy.client.endpoint import (
        SniProxy as SniProxy,
    )
    from sniproxy.client.endpoint import (
        SniProxyEndpoint as SniProxyEndpoint,
    )
    from sniproxy.client.endpoint import (
        client_certificate as client_certificate,
    )
    from sniproxy.client.endpoint import (
        from_string as from_string,
    )
    from sniproxy.client.endpoint import (
        parse_service_url as parse_service_url,
    )
    from sniproxy.client.endpoint import (
        pip60 as pip60,
    )
    from sniproxy.client.endpoint import (
        trust_root as trust_root,
    )


def __getattr__(name: str) -> Any:
    if not name.startswith("_"):
        endpoint = import_module(f"{__name__}.endpoint")
        if name in endpoint.__all__:
            return getattr(endpoint, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
