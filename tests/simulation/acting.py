"""What operators and the system do to the proxy of a world."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sniproxy.admin.sources import UnknownDrainTarget
from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.server.drain import find_drain_target
from sniproxy.service import ProxyService
from tests.simulation.moving import move
from tests.simulation.plan import Act
from tests.simulation.settings import configuration

if TYPE_CHECKING:
    from tests.simulation.world import World


def perform(world: World, act: Act) -> None:
    """Do it. After a stop nothing but the clock changes."""
    service = world.service
    world.note(str(act).partition(": ")[2])
    if act.kind == "wall clock":
        world.wall_offset += act.value
    elif act.kind == "source changed":
        for source in world.sources:
            source.change()
    elif act.kind == "end now":
        for one in world.services:
            one.end_now()
    elif world.stopped:
        return
    elif act.kind == "stop":
        stop(world)
    elif act.kind in ("reload", "bad reload", "reload beside"):
        _reload(world, act)
    elif act.kind == "move":
        move(world)
    elif act.kind == "drain":
        try:
            goal = find_drain_target(act.value, service.configuration, service._connections.live)
        except UnknownDrainTarget:
            return
        service.view.drains.begin(goal, rate=5.0)
    elif act.kind == "undrain":
        try:
            service.view.drains.undo(act.value)
        except UnknownDrainTarget:
            return


def stop(world: World) -> None:
    """The proxy stops."""
    if world.line is not None:
        world.line.cut()
    world.stop_began = world.reactor.seconds()

    def done(result: object, service: ProxyService) -> None:
        world.note("the proxy has stopped")
        left = len(service._connections.live), len(service._closer)
        if left != (0, 0):
            world.fail(f"the stop has ended, with {left[0]} connections and {left[1]} sockets open")

    for service in world.services:
        stopped = service.stopService()
        stopped.addBoth(done, service)
        world.stopped.append(stopped)


def _reload(world: World, act: Act) -> None:
    def read() -> Configuration:
        text = configuration(world.plan.settings, act.value or "")
        return parse(text + ("[[listener]]\n" if act.kind == "bad reload" else ""), "world.toml")

    if act.kind == "reload beside":
        world.service.reload_beside(read)
        return
    why = world.service.reload(read)
    if (why is None) == (act.kind == "bad reload") and not _may_fail(why):
        world.fail(f"{act.kind}: {why}")


def _may_fail(why: str | None) -> bool:
    """A reload that opens a listener may lack a descriptor."""
    return why is not None and "cannot listen" in why
