"""Loads the kernel relay if the configuration asks for it, or logs why it is unavailable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from sniproxy.relay.kernel.capabilities import drop_loading_capabilities
from sniproxy.util.reactor import IReactor

if TYPE_CHECKING:
    from sniproxy.relay.kernel.factory import KernelRelayFactory

log = Logger()


class KernelRelayLoader:
    """Loads the kernel relay of one proxy when a configuration first asks for it, and keeps it until L{close}.

    It does not try again after a failure: a self-test step that hangs would stop open tunnels at each reload.

    @ivar keep_capabilities: do not drop the process's capabilities: another program embeds the proxy.
    """

    def __init__(self, reactor: IReactor, keep_capabilities: bool = True) -> None:
        self.keep_capabilities = keep_capabilities
        self._reactor = reactor
        self._factory: KernelRelayFactory | None = None
        self._refusal = ""

    def open_if_wanted(self, wanted: bool) -> KernelRelayFactory | None:
        """@return: None if it is not wanted, or if it is unavailable; the log then has the reason."""
        if not wanted:
            return None
        if self._factory is None:
            if not self._refusal:
                self._open()
            if self._refusal:
                log.warn('relay = "kernel" unavailable: {why}; using the user-space relay', why=self._refusal)
        return self._factory

    def _open(self) -> None:
        # Imported here because few configurations need it.
        from sniproxy.relay.kernel import selftest
        from sniproxy.relay.kernel.factory import KernelRelayFactory, KernelRelayUnavailable

        try:
            selftest.run()
            self._factory = KernelRelayFactory(self._reactor)
        except KernelRelayUnavailable as error:
            self._refusal = str(error)
        else:
            pairs = self._factory.sockets.pairs
            log.info("relay: kernel relay ready for up to {pairs} tunnels; self-test passed", pairs=pairs)
        if not self.keep_capabilities:  # also after a failure, because it is not tried again
            drop_loading_capabilities()

    def close(self) -> None:
        """Unload it. Call this after the last tunnel has ended."""
        if self._factory is not None:
            self._factory.close()
            self._factory = None
