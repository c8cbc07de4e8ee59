"""The status of a TLSRoute as the Gateway API wants it written: each controller its own entries. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from sniproxy.resolvers.kubernetes.gatewayobjects import ParentRef, TLSRoute
from sniproxy.resolvers.kubernetes.listeners import Condition
from sniproxy.resolvers.kubernetes.tlsroutes import ParentResult

MAX_PARENTS = 32
"""Entries of a status (Gateway API)."""

Entry = dict[str, Any]


def status_patch(route: TLSRoute, results: Iterable[ParentResult], controller: str, now: str) -> Entry | None:
    """The merge patch that makes our entries of a status right, and leaves those of other controllers.

    It holds only for the version of the route that was read: the API server refuses it if the route has changed.

    @param results: one for each parentRef that names our Gateway. @param controller: our controllerName.
    @param now: the time of day as in RFC 3339. @return: None: the status is right.
    """
    before = list((route.status and route.status.parents) or ())
    own = [one for one in before if one.get("controllerName") == controller]
    after = [one for one in before if one.get("controllerName") != controller]
    for result in results:
        parent = _parent(result.parent)
        old = next((one for one in own if one.get("parentRef") == parent), {})
        conditions = _conditions(old, result, route.metadata.generation, now)
        after.append({"parentRef": parent, "controllerName": controller, "conditions": conditions})
    after = after[:MAX_PARENTS]
    if sorted(map(_text, after)) == sorted(map(_text, before)):
        return None
    return {"metadata": {"resourceVersion": route.metadata.resource_version}, "status": {"parents": after}}


def _parent(parent: ParentRef) -> Entry:
    """A parentRef as the API has it."""
    return {name: value for name, value in msgspec.to_builtins(parent).items() if value is not None}


def _conditions(old: Entry, result: ParentResult, generation: int, now: str) -> list[Entry]:
    """The conditions of an entry: ours merged, others unchanged."""
    found = [one for one in old.get("conditions") or () if isinstance(one, dict)]
    for kind, condition in (("Accepted", result.accepted), ("ResolvedRefs", result.resolved)):
        places = [place for place, one in enumerate(found) if one.get("type") == kind]
        before = found[places[0]] if places else {}
        after = _condition(kind, condition, before, generation, now)
        if places:
            found[places[0]] = after
        else:
            found.append(after)
    return found


def _condition(kind: str, condition: Condition, before: Entry, generation: int, now: str) -> Entry:
    seen = before.get("observedGeneration")
    if isinstance(seen, int) and seen > generation:
        return before  # written about a newer version of the route than the one that was read
    status = "True" if condition.good else "False"
    same = before.get("status") == status and isinstance(before.get("lastTransitionTime"), str)
    return {
        "type": kind,
        "status": status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": generation,
        "lastTransitionTime": before["lastTransitionTime"] if same else now,
    }


def _text(entry: Entry) -> bytes:
    return msgspec.json.encode(entry, order="deterministic")
