"""Tests for sniproxy.config.health."""

from __future__ import annotations

from sniproxy.config.health import describe_health
from sniproxy.config.parser import parse
from sniproxy.routing.health import Health
from tests.support.configerrors import ErrorCase
from tests.support.proxies import LISTENER


class HealthTests(ErrorCase):
    """[health] and balance."""

    def test_default(self) -> None:
        """By default targets are neither checked nor ejected, and take turns."""
        configuration = parse(LISTENER + '[default]\ntarget = "a"\n', "x.toml")
        self.assertEqual(Health(None, 5.0, 2, 3, 0.0), configuration.health)
        assert configuration.default is not None
        self.assertFalse(configuration.default.least_connections)

    def test_keys(self) -> None:
        """Each key sets its field."""
        text = (
            LISTENER
            + '[[route]]\nserver_name = "a.test"\ntarget = "a"\nbalance = "least_connections"\n'
            + '[default]\ntarget = "b"\nbalance = "round_robin"\n'
            + '[health]\ncheck = "tls"\ninterval = 2\nrise = 1\nfall = 4\neject = 30\n'
        )
        configuration = parse(text, "x.toml")
        self.assertEqual(Health("tls", 2.0, 1, 4, 30.0), configuration.health)
        assert configuration.default is not None
        self.assertEqual(
            (True, False), (configuration.routes[0].least_connections, configuration.default.least_connections)
        )

    def test_bad(self) -> None:
        """The error for an invalid value has its place and the cure."""
        for text, said in (
            ('[health]\ncheck = "http"', 'health.check = "http": write "tcp" or "tls"'),
            ("[health]\ninterval = 0", "health.interval = 0.0: must be a number of seconds from 0.1"),
            ("[health]\ninterval = nan", "health.interval = nan"),
            ("[health]\nrise = 0", "health.rise = 0: must be a number from 1 to 100"),
            ("[health]\nfall = 101", "health.fall = 101"),
            ("[health]\neject = -1", "health.eject = -1.0: must be a number of seconds; 0 disables ejection"),
            ('[default]\ntarget = "a"\nbalance = "random"', 'default.balance = "random": write round_robin or least'),
            (
                '[[route]]\nserver_name = "a"\ntarget = "a"\nbalance = "x"',
                'route[0].balance = "x": write round_robin or least_connections',
            ),
        ):
            self.refused_at_end(text, said)

    def test_described(self) -> None:
        """Health checks and ejection are described in one line."""
        for health, said in (
            (Health(), "off"),
            (Health("tcp"), "tcp every 5 s, rise 2, fall 3"),
            (Health(eject=30.0, fall=4), "eject 30 s after 4 failed connects"),
            (
                Health("tls", 0.5, 1, 1, 1.5),
                "tls every 0.5 s, rise 1, fall 1, eject 1.5 s after 1 failed connects",
            ),
        ):
            self.assertEqual(said, describe_health(health))
