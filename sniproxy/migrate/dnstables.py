"""Resolver tables for targets that the original looks up at name servers of its own. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs


@attrs.define
class DnsTables:
    """The C{[resolver.NAME]} tables of one import. @ivar tables: by name."""

    tables: dict[str, Mapping[str, Any]] = attrs.field(factory=dict)

    def name(self, target: str, servers: Sequence[str], families: Sequence[str] = ()) -> str:
        """The name of the resolver for a target.

        @param target: may have placeholders. @param families: of C{ipv4} and C{ipv6}, those that are not looked up.
        """
        table: dict[str, Any] = {"type": "dns", "target": target, "servers": list(servers)}
        table.update(dict.fromkeys(families, False))
        for name, known in self.tables.items():
            if known == table:
                return name
        name = "dns" if not self.tables else f"dns-{len(self.tables) + 1}"
        self.tables[name] = table
        return name
