"""The story of a world, for people: its plan, what happened, how it ended."""

from __future__ import annotations

from collections.abc import Iterator

from tests.simulation.world import World

MAX_SHOWN = 400
"""Lines of a story that are shown, at most: its beginning and its end."""


def tell(world: World) -> Iterator[str]:
    """The lines of the story."""
    plan = world.plan
    yield f"seed {plan.seed}"
    yield "the plan:"
    yield from (f"  {line}" for line in plan.lines())
    yield "what happened:"
    lines = world.story
    if len(lines) > MAX_SHOWN:
        yield from lines[: MAX_SHOWN // 2]
        yield f"  ... {len(lines) - MAX_SHOWN} lines ..."
        lines = lines[-MAX_SHOWN // 2 :]
    yield from lines
    for client in world.clients:
        yield f"{client.name}: {client.result or 'no record'}"
    yield f"broken: {world.violation}" if world.violation else "all invariants hold"
    yield f"digest {world.digest:08x}"
