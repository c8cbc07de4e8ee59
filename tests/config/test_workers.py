"""Tests for sniproxy.config.workers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.config.workers import FIRST_DELAY_S, MAX_DELAY_S, STABLE_S, SUPERVISED, for_worker, restart_delay

LISTENER = '[[listener]]\nendpoint = "tcp:4443:interface=127.0.0.1"\n'
BRIDGE = '[[bridge]]\nendpoint = "tcp:6650"\nservice_url = "pulsar+ssl://a.test:6651"\ntrust = "ca.pem"\n'


class WithWorkersTests(SynchronousTestCase):
    """with_workers: checks a configuration for workers."""

    def refused(self, text: str) -> str:
        return str(self.assertRaises(ConfigError, parse, text, "a.toml"))

    def test_shared(self) -> None:
        """With workers, or with reuse_port, listeners and bridges share their ports; the admin endpoint never does."""
        admin = '[admin]\nendpoint = "tcp:9090"\n'
        for text, shared, workers in (
            ("", False, 1),
            ("reuse_port = true\n", True, 1),
            ("workers = 2\n", True, 2),
            ("workers = 128\nreuse_port = true\n", True, 128),
        ):
            found = parse(text + LISTENER + BRIDGE + admin, "a.toml")
            self.assertEqual([shared, shared], [one.endpoint.shared for one in found.entrances], text)
            self.assertEqual(workers, found.workers)
            assert found.admin is not None
            self.assertFalse(found.admin.endpoint.shared)

    def test_number(self) -> None:
        """workers is a number from 1 to 128."""
        for number in ("0", "-1", "129"):
            self.assertIn(
                f"a.toml:1: workers = {number}: must be a number of processes",
                self.refused(f"workers = {number}\n" + LISTENER),
            )
        self.assertIn("workers", self.refused("workers = true\n" + LISTENER))

    def test_listeners(self) -> None:
        """Workers share named ports and sockets of systemd only."""
        for endpoint, why in (
            ("tcp:0", "a different free port; write a fixed port"),
            ("unix:/run/front", "cannot share a unix endpoint"),
        ):
            text = f'[[listener]]\nendpoint = "{endpoint}"\n'
            self.assertIn(why, self.refused("workers = 2\n" + text))
            parse(text, "a.toml")
        passed = parse('workers = 2\n[[listener]]\nendpoint = "systemd:domain=INET:name=front"\n', "a.toml")
        self.assertFalse(passed.listeners[0].endpoint.shared)

    def test_admin(self) -> None:
        """The admin endpoint is that of the supervisor: any will do."""
        for endpoint in ("tcp:65535", "tcp:0", "unix:/run/admin", "systemd:domain=INET:name=admin"):
            parse(f'workers = 3\n{LISTENER}[admin]\nendpoint = "{endpoint}"\n', "a.toml")


class ForWorkerTests(SynchronousTestCase):
    """for_worker: the configuration of one worker."""

    def test_own(self) -> None:
        """Only the supervisor reaches a worker's admin endpoint. A worker knows its index, and watches no file."""
        admin = '[admin]\nendpoint = "tcp:9090"\ntoken_file = "/run/token"\n'
        whole = parse(f"workers = 2\n{LISTENER}{admin}[reload]\non_change = true\n", "a.toml")
        found = for_worker(whole, 1)
        assert found.admin is not None
        self.assertEqual((SUPERVISED, 9090), (found.admin.endpoint.text, found.admin.endpoint.port))
        self.assertEqual((1, None), (found.admin.instance, found.admin.token_file))
        self.assertEqual(("0.0.0.0", 9090), found.admin.supervisor_address)
        assert whole.admin is not None
        self.assertIsNone(whole.admin.supervisor_address)
        self.assertFalse(found.reload_on_change)
        self.assertEqual(whole.listeners, found.listeners)

    def test_none(self) -> None:
        """Without an admin endpoint, workers have none."""
        self.assertIsNone(for_worker(parse("workers = 2\n" + LISTENER, "a.toml"), 1).admin)


class PauseTests(SynchronousTestCase):
    """pause: the delay before a worker is restarted."""

    def test_growing(self) -> None:
        """A worker that ran long is restarted at once; each early death doubles the delay, up to a bound."""
        self.assertEqual(0.0, restart_delay(STABLE_S, MAX_DELAY_S))
        pauses = [0.0]
        for _ in range(10):
            pauses.append(restart_delay(0.1, pauses[-1]))
        self.assertEqual([0.0, FIRST_DELAY_S, 2 * FIRST_DELAY_S, 4 * FIRST_DELAY_S], pauses[:4])
        self.assertEqual(MAX_DELAY_S, pauses[-1])
