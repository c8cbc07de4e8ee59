"""Opens the kernel's way when it is asked for, or says in one line why not: then tunnels go the next best way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.logger import Logger

from sniproxy.relay.kernel.capabilities import give_up_what_loading_needs

if TYPE_CHECKING:
    from sniproxy.relay.kernel.forwarding import Forwarding

log = Logger()


class KernelRelays:
    """The kernel's way of a proxy: opened at most once, when a configuration first asks for it.

    Nor is it tried twice: a step of the self-test that hangs would stop living tunnels at each reload.

    @ivar keep: the program embeds the proxy, and its capabilities are its own affair.
    """

    def __init__(self, reactor: Any, keep: bool = True) -> None:
        self.keep = keep
        self._reactor = reactor
        self._forwarding: Forwarding | None = None
        self._refusal = ""

    def forwarding(self, wanted: bool) -> Forwarding | None:
        """@return: None: it is not wanted, or it cannot be; then the log says why, and the cure."""
        if not wanted:
            return None
        if self._forwarding is None:
            if not self._refusal:
                self._open()
            if self._refusal:
                log.warn('relay = "kernel" unavailable: {why}; using the user-space relay', why=self._refusal)
        return self._forwarding

    def _open(self) -> None:
        # Imported here: few ask for it.
        from sniproxy.relay.kernel import selftest
        from sniproxy.relay.kernel.forwarding import CannotForward, Forwarding

        try:
            selftest.prove()
            self._forwarding = Forwarding(self._reactor)
        except CannotForward as error:
            self._refusal = str(error)
        else:
            pairs = self._forwarding.gate.pairs
            log.info("relay: kernel relay ready for up to {pairs} tunnels; self-test passed", pairs=pairs)
        if not self.keep:  # nor are they of use where it cannot be, for it is not tried again
            give_up_what_loading_needs()

    def close(self) -> None:
        """No tunnel is left."""
        if self._forwarding is not None:
            self._forwarding.close()
            self._forwarding = None
