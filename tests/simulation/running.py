"""Runs seeds: alone, many, and with a plan that gets shorter."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.logger import globalLogBeginner

from tests.simulation.plan import Client, Plan, draw
from tests.simulation.world import World

MAX_RUNS = 400
"""Runs that shrinking a plan takes, at most."""


def quiet_log() -> None:
    """Write no log lines of the proxy: worlds look at them by an observer of their own."""
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)


def run_seed(seed: object) -> World:
    """Run the world of a seed."""
    return run_plan(draw(seed))


def run_plan(plan: Plan) -> World:
    """Run the world of a plan. An exception of the world itself is a violation, too."""
    world = World(plan)
    try:
        world.run()
    except Exception as error:
        world.fail(f"the world broke: {type(error).__name__}: {error}")
    return world


def violation_of(seed: object) -> str:
    """What a seed's world breaks. Empty: nothing."""
    return run_seed(seed).violation


def shrink(plan: Plan, broken: Callable[[Plan], bool] | None = None) -> Plan:
    """The shortest plan found that still breaks: parts are removed one by one, until none can be.

    @param broken: whether a plan still shows the fault. None: it breaks any invariant.
    """
    still = broken or (lambda one: bool(run_plan(one).violation))
    runs = 0
    changed = True
    while changed:
        changed = False
        for field in ("acts", "outages", "faults", "clients"):
            parts = getattr(plan, field)
            for number in range(len(parts) - 1, -1, -1):
                if runs >= MAX_RUNS:
                    return plan
                runs += 1
                shorter = attrs.evolve(plan, **{field: parts[:number] + parts[number + 1 :]})
                if still(shorter):
                    plan, parts, changed = shorter, getattr(shorter, field), True
        for number, client in enumerate(plan.clients):
            for simpler in _simpler(client):
                if runs >= MAX_RUNS:
                    return plan
                runs += 1
                clients = (*plan.clients[:number], simpler, *plan.clients[number + 1 :])
                if still(attrs.evolve(plan, clients=clients)):
                    plan, changed = attrs.evolve(plan, clients=clients), True
                    break
    return plan


def _simpler(client: Client) -> list[Client]:
    """The same client with one step or one piece of its hello less."""
    found: list[Client] = []
    for field in ("steps", "target_steps", "pieces"):
        parts = getattr(client, field)
        found += [attrs.evolve(client, **{field: parts[:n] + parts[n + 1 :]}) for n in range(len(parts))]
    return found
