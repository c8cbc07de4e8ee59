"""Prepares the dial of a route whose only target is an IP address: the target and its veto are the same each time.

The veto of an address can change when the listeners change, and where a listener is bound to all addresses also when
this machine gets another address. So a plan holds for one state of the listeners, and none is made in the second case.
"""

from __future__ import annotations

from collections.abc import Callable

from sniproxy.interfaces import Target
from sniproxy.net.veto import LoopGuard
from sniproxy.routing.router import DialPlan, LiveRoute
from sniproxy.routing.targetstats import address
from sniproxy.util.names import ip_literal


def plan_of(route: LiveRoute, veto: Callable[[Target, str | None], str | None], guard: LoopGuard) -> DialPlan | None:
    """The plan of a route, made again after a change of the listeners.

    @param veto: of the route's configuration; see L{sniproxy.net.dialer.Veto}. @param guard: what it asks.
    @return: None: its connections are resolved and dialled one by one.
    """
    if route.planned_at != guard.changes:
        route.plan, route.planned_at = _make(route, veto, guard), guard.changes
    return route.plan


def _make(route: LiveRoute, veto: Callable[[Target, str | None], str | None], guard: LoopGuard) -> DialPlan | None:
    fixed = None if route.fixed is None else route.fixed()
    if fixed is None or len(fixed.targets) != 1:
        return None
    target = fixed.targets[0]
    host, port = target.host, target.port
    # What a client has formed differs from one client to the next.
    if target.client_formed or target.addresses or ip_literal(host) is None or not guard.is_settled(host, port):
        return None
    if veto(target, None) is not None or veto(target, host) is not None:
        return None  # the dial reports the reason
    return DialPlan((target,), str(target), address(target), host, port)
