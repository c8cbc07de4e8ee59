"""Scripted resolvers for the tests of explain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from zope.interface import implementer

from sniproxy.interfaces import (
    IWatchingResolver,
    Refused,
    Request,
    Resolution,
    Target,
    Unavailable,
    WatchState,
)
from sniproxy.server import resolverset
from tests.support.sockets import SocketTestCase


@implementer(IWatchingResolver)
class Scripted:
    """A watching resolver with scripted answers. @ivar asked: the requests."""

    def __init__(self, answer: Callable[[Request], Any], state: WatchState) -> None:
        self.answer = answer
        self.known = state
        self.asked: list[Request] = []

    def start(self, changed: Callable[[], None]) -> None:
        """Nothing to start."""

    def stop(self) -> None:
        """Nothing to stop."""

    def state(self) -> WatchState:
        return self.known

    def resolve(self, request: Request) -> Any:
        self.asked.append(request)
        return self.answer(request)


def refuses(request: Request) -> Resolution:
    raise Refused("not here")


def fails(request: Request) -> Resolution:
    raise Unavailable("ZooKeeper is silent")


def answers(*targets: str) -> Callable[[Request], Resolution]:
    return lambda request: Resolution([Target(target, 6651) for target in targets], 30)


def tables(*names: str, server_name: str = "*.z.test", more: str = "") -> str:
    """A route with resolvers of these names, whose type does not exist."""
    listed = ", ".join(f'"{name}"' for name in names)
    text = f"[[route]]\nserver_name = '{server_name}'\nresolver = [{listed}]\n{more}"
    return text + "".join(f'[resolver.{name}]\ntype = "scripted"\noptions = "{name}"\n' for name in names)


def script(case: SocketTestCase, **scripted: Scripted) -> None:
    """Replace the resolvers of these names."""

    def make(kind: str, options: Any, *_: Any) -> Any:
        return scripted[options["options"]]

    case.patch(resolverset, "make_resolver", make)
