"""The factory of kernel relays."""

from __future__ import annotations

import errno
import os

from sniproxy.events import Result
from sniproxy.net.closer import LingeringCloser
from sniproxy.relay.kernel import factory
from sniproxy.relay.kernel.factory import KernelRelayFactory, KernelRelayUnavailable
from sniproxy.relay.relay import Ending
from tests.relay.kernel.support import KernelTestCase, sockmap
from tests.support.reactor import reactor
from tests.support.sockets import connected, in_thread, read_exactly, read_to_end


class FactoryTests(KernelTestCase):
    """KernelRelayFactory."""

    async def test_relay(self) -> None:
        """Two connections get a relay; without a free slot they get none."""
        sockmap()
        one = KernelRelayFactory(reactor, 1)
        closer = LingeringCloser(reactor)
        (client, ours), (target, other) = connected(), connected()
        relay = one.relay(ours, other, b"head", closer=closer, idle=0.0, half_closed=9.0)
        assert relay is not None
        done = relay.run()
        self.assertIsNone(one.relay(ours, other, b"", closer=closer, idle=0.0, half_closed=9.0))
        self.assertEqual(b"head", await in_thread(read_exactly, target, 4))
        client.close()
        self.assertEqual(b"", await in_thread(read_to_end, target))
        target.close()
        self.assertEqual(Ending(Result.OK), await done)
        await closer.settled()
        one.close()

    def test_why(self) -> None:
        """An error of the kernel is reported with its cure."""
        for number, cure in ((errno.EPERM, "CAP_BPF and CAP_NET_ADMIN"), (errno.EINVAL, "BPF_STREAM_PARSER")):

            def refused(pairs: int, number: int = number) -> None:
                raise OSError(number, os.strerror(number))

            self.patch(factory, "SocketMap", refused)
            error = self.assertRaises(KernelRelayUnavailable, KernelRelayFactory, reactor)
            self.assertIn(os.strerror(number), str(error))
            self.assertIn(cure, str(error))
