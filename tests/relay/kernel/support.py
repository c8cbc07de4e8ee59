"""One L{SocketMap} for all tests, which stays loaded until the process ends."""

from __future__ import annotations

from twisted.trial.unittest import SkipTest

from sniproxy.relay.kernel.sockmap import SocketMap
from sniproxy.relay.kernel.watch import ReadyWatch
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase

_maps: list[SocketMap] = []
_watches: list[ReadyWatch] = []


def sockmap() -> SocketMap:
    """The shared map. Skips the calling test if the kernel refuses it."""
    if not _maps:
        try:
            _maps.append(SocketMap(512))
        except OSError as error:
            raise SkipTest(f"kernel capability missing: forwarding between sockets ({error})") from error
    return _maps[0]


def watch() -> ReadyWatch:
    """The shared watch of its sockets."""
    if not _watches:
        _watches.append(ReadyWatch(reactor, sockmap().ring))
    return _watches[0]


class KernelTestCase(SocketTestCase):
    """Opens the shared map before the open descriptors are listed, because the map stays open after the test."""

    async def setUp(self) -> None:  # type: ignore[override]  # trial awaits it
        try:
            sockmap()
        except SkipTest:  # some tests do not need it
            pass
        await super().setUp()
