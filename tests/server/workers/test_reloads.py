"""Tests for sniproxy.server.workers.reloads."""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.model import Configuration
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.server.workers.admin.state import SupervisorState
from sniproxy.server.workers.post import REFUSED, RELOAD, RELOADED
from sniproxy.server.workers.reloads import WorkersReload
from tests.server.workers.handovers import TEXT

OTHER = TEXT.replace("4443", "4444")


class FakeSupervisor:
    """Two workers. @ivar sent: the orders to them."""

    def __init__(self) -> None:
        self.configuration, self.current_text = parse(TEXT, "x.toml"), TEXT
        self.sent: list[tuple[str, str]] = []

    def check(self, read: Callable[[], Configuration]) -> Callable[[bool], None]:
        configuration = read()

        def use(wanted: bool) -> None:
            self.configuration, self.current_text = configuration, OTHER

        return use

    def tell(self, what: str, text: str = "") -> None:
        self.sent.append((what, text))


class ReloadTests(SynchronousTestCase):
    """WorkersReload."""

    def setUp(self) -> None:
        self.supervisor = FakeSupervisor()
        self.state = SupervisorState(self.supervisor.configuration, lambda: 5.0)
        self.reloads = WorkersReload(self.supervisor, self.state, lambda: (0, 1))

    def reload(self) -> None:
        self.assertIsNone(self.reloads.reload(lambda: parse(OTHER, "x.toml")))
        self.assertEqual([(RELOAD, OTHER)], self.supervisor.sent)

    def answer(self, *answers: str) -> tuple[str, int, int]:
        """The workers answer. @return: the text in use, and the results so far."""
        for index, what in enumerate(answers):
            self.reloads.answered(index, what)
        return self.supervisor.current_text, self.state.reloads.succeeded, self.state.reloads.failed

    def test_loaded(self) -> None:
        """All workers load it."""
        self.reload()
        self.assertEqual((OTHER, 1, 0), self.answer(RELOADED, RELOADED))

    def test_refused_by_some(self) -> None:
        """A worker refuses it: it stays, and the reload has failed."""
        self.reload()
        self.assertEqual((OTHER, 0, 1), self.answer(REFUSED, RELOADED))

    def test_refused_by_all(self) -> None:
        """All refuse it: the one before is used again. A later refusal changes nothing."""
        self.reload()
        self.assertEqual((TEXT, 0, 1), self.answer(REFUSED, REFUSED))
        self.assertEqual((TEXT, 0, 1), self.answer(REFUSED))

    def refuse(self, error: Exception) -> str:
        def read() -> Configuration:
            raise error

        why = self.reloads.reload(read)
        assert why is not None
        self.assertEqual([(REFUSED, why)], self.supervisor.sent)
        self.assertEqual((TEXT, why), (self.supervisor.current_text, self.state.reloads.error))
        return why

    def test_invalid(self) -> None:
        """It is invalid: the workers hear why."""
        self.assertEqual("bad", self.refuse(ConfigError("bad")))

    def test_broken(self) -> None:
        """A plugin raises."""
        self.assertEqual("internal error while reading it: ZeroDivisionError: x", self.refuse(ZeroDivisionError("x")))
        self.assertEqual(1, len(self.flushLoggedErrors(ZeroDivisionError)))
