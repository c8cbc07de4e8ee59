"""What C{top} knows of the running proxies at one moment. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from sniproxy.cli.rates import Rates


@attrs.frozen
class Query:
    """Which tunnels to ask an endpoint for. @ivar limit: 0: none.

    @ivar filter: a text that they contain. @ivar sort: an order of C{/tunnels}. @ivar offset: how many to skip.
    """

    limit: int = 0
    filter: str = ""
    sort: str = "newest"
    offset: int = 0


@attrs.frozen
class TunnelPage:
    """Some tunnels. @ivar matched: how many match the filter. @ivar offset: the number of the first of C{tunnels}.

    @ivar query: what was asked for.
    """

    query: Query
    matched: int = 0
    tunnels: Sequence[Mapping[str, Any]] = ()
    offset: int = 0


@attrs.frozen
class Reading:
    """The merged answers of all endpoints that answer.

    @ivar status: the merged C{/status}; None: no endpoint has answered yet. @ivar rates: the sum of their rates.
    @ivar page: tunnels; None: not asked for, or the proxy's release has no C{/tunnels}. @ivar instances: how many
    endpoints answered. @ivar errors: why the others do not, by URL. @ivar stale_s: seconds since C{status} was true; 0
    while an endpoint answers. @ivar notice: how the last change ended, for some seconds.
    """

    status: Mapping[str, Any] | None = None
    rates: Rates = attrs.Factory(Rates)
    page: TunnelPage | None = None
    instances: int = 0
    errors: Mapping[str, str] = attrs.Factory(dict)
    stale_s: float = 0.0
    notice: str = ""
