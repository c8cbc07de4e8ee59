"""Tests for sniproxy.config.closing."""

from __future__ import annotations

from sniproxy.config.closing import closing_targets
from sniproxy.config.parser import parse
from tests.support.configerrors import ErrorCase

HEALTH = '[health]\ncheck = "tcp"\n'


def text(wanted: str, more: str = HEALTH, routes: str = "", endpoint: str = "tcp:4443") -> str:
    """A listener with closed_when_down."""
    listener = f'[[listener]]\nname = "front"\nendpoint = "{endpoint}"\nclosed_when_down = "{wanted}"\n'
    return listener + (routes or ROUTES) + more


ROUTES = """[[route]]
server_name = "vip.test"
target = ["10.0.0.7:6651", "10.0.0.8:6651"]
[[route]]
server_name = "*.form.test"
target = ["10.0.0.7:6651", "{1}.test:6651"]
[[route]]
server_name = "other.test"
listener = "other"
target = "10.0.0.9:6651"
"""
OTHER = '[[listener]]\nname = "other"\nendpoint = "tcp:4444"\n'


class ClosingTests(ErrorCase):
    """``closed_when_down``."""

    def targets(self, whole: str) -> list[str]:
        configuration = parse(whole, "f.toml")
        return [str(one) for one in closing_targets(configuration, configuration.listeners[0])]

    def test_targets(self) -> None:
        """Those of the route, in any case; of the listener's own route before that of all; or of the default."""
        self.assertEqual(["10.0.0.7:6651", "10.0.0.8:6651"], self.targets(text("VIP.test") + OTHER))
        own = '[[route]]\nserver_name = "vip.test"\nlistener = "front"\ntarget = "10.0.0.1:1"\n'
        self.assertEqual(["10.0.0.1:1"], self.targets(text("vip.test", own + HEALTH) + OTHER))
        default = '[default]\ntarget = "10.0.0.2:1"\n'
        self.assertEqual(["10.0.0.2:1"], self.targets(text("default", default + HEALTH) + OTHER))
        plain = parse('[[listener]]\nendpoint = "tcp:1"\n', "f.toml")
        self.assertEqual((), closing_targets(plain, plain.listeners[0]))

    def test_refused(self) -> None:
        """What the listener cannot follow is refused with the cure."""
        for whole, why in (
            (text("vip.test", ""), 'write [health] check = "tcp"'),
            (text("no.test"), "no route of this listener has this server_name; routes: vip.test, *.form.test"),
            (text("other.test"), "no route of this listener"),
            (text("default"), "no route of this listener"),
            (text("*.form.test"), "name a route with plain targets"),
            (text("vip.test", endpoint="systemd:domain=INET:name=x"), "systemd keeps the port open"),
            ("workers = 2\n" + text("vip.test"), "the supervisor of workers keeps the port open"),
            (text("a b"), "name the server_name of a route"),
        ):
            self.refused_file(whole + OTHER, "listener[0].closed_when_down = ", why)
        plain = '[[listener]]\nendpoint = "tcp:1"\nplaintext = true\ntarget = "a"\nclosed_when_down = "a"\n'
        self.refused_file(plain, "listener[0].closed_when_down", "only for listeners that use routes")
