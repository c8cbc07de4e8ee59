"""The targets of a proxy, as its admin endpoint shows them."""

from __future__ import annotations

from sniproxy.admin.slices import finish
from sniproxy.admin.sources import TargetStatus
from sniproxy.server.view import ServiceView


def targets_of(view: ServiceView) -> list[TargetStatus]:
    """All targets."""
    return finish(view.targets_steps(10_000))[0]
