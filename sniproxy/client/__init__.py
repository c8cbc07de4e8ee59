"""PIP-60 for Twisted clients, and a small Pulsar client for tools and tests.

The names of ``endpoint`` are also names of this package, which imports them on use.

===================  ==================================================================
``endpoint``         a client endpoint that dials the proxy and sends the broker in SNI
``endpointparser``   the string form of the endpoint, a Twisted plugin
``brokers``          connects to brokers and keeps the sessions
``session``          one connection to a broker: login, requests and answers
``logins``           the credentials in CONNECT. Pure
``lookups``          finds the partitions and the owner of a topic, hop by hop
``redirects``        follows the redirects of a lookup. Pure
``topics``           topic names. Pure
``messages``         sends and receives single messages
``failures``         the exception, and the kinds of failure. Pure
``diagnosis``        turns TCP and TLS errors into failures with a cure
===================  ==================================================================

The Pulsar client does not retry. It answers PINGs and sends none.
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
