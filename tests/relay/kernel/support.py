"""One gate for all tests: it is the kernel's, and stands as long as the process does."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.trial.unittest import SkipTest

from sniproxy.relay.kernel.sockmap import SocketMap
from sniproxy.relay.kernel.watch import ReadyWatch

_gates: list[SocketMap] = []
_watches: list[ReadyWatch] = []


def sockmap() -> SocketMap:
    """Skips the calling test where the kernel does not let us forward."""
    if not _gates:
        try:
            _gates.append(SocketMap(512))
        except OSError as error:
            raise SkipTest(f"kernel capability missing: forwarding between sockets ({error})") from error
    return _gates[0]


def watch() -> ReadyWatch:
    """The one beside it."""
    if not _watches:
        _watches.append(ReadyWatch(reactor, sockmap().ring))
    return _watches[0]
