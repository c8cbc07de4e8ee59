"""The check of what target_source needs."""

from __future__ import annotations

import sys
from collections.abc import Callable

from msgspec.structs import replace
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError
from sniproxy.net import transparent
from sniproxy.server.capability import check_transparent, check_user
from sniproxy.server.workers.supervisor import Supervisor
from sniproxy.service import ProxyService
from tests.support.proxies import Proxy
from tests.support.reactor import as_reactor
from tests.support.sockets import SocketTestCase

LISTENER = '[[listener]]\nendpoint = "tcp:4443"\n'
ROUTES = """[[route]]
server_name = "a.test"
target = "10.0.0.7"
[[route]]
server_name = "b.test"
target = "10.0.0.8"
"""
SOURCE = 'target_source = "client"\n'


class TransparentTests(SynchronousTestCase):
    """A route is dialled from clients' addresses."""

    def why(self, text: str, check: Callable[..., None] = check_transparent, argument: object = None) -> str:
        error = self.assertRaises(ConfigError, check, parse(text, "x.toml"), argument or (lambda: "no right"))
        return str(error)

    def test_places(self) -> None:
        """The error names the line and the key of the first route that asks for it."""
        for text, place in (
            (LISTENER + ROUTES + SOURCE, "x.toml:9: route[1].target_source"),
            (LISTENER + '[default]\ntarget = "a.test"\n' + SOURCE, "x.toml:5: default.target_source"),
            (LISTENER + '[no_server_name]\ntarget = "a.test"\n' + SOURCE, "x.toml:5: no_server_name.target_source"),
            (LISTENER + 'plaintext = true\ntarget = "a.test"\n' + SOURCE, "x.toml:5: listener[0].target_source"),
        ):
            self.assertEqual(f'{place} = "client": no right', self.why(text))

    def test_without_text(self) -> None:
        """A configuration of a program that embeds the proxy may have no text, and so no lines."""
        found = replace(parse(LISTENER + ROUTES + SOURCE, "x.toml"), text="")
        error = self.assertRaises(ConfigError, check_transparent, found, lambda: "no right")
        self.assertEqual('x.toml: route[1].target_source = "client": no right', str(error))

    def test_right(self) -> None:
        """With the right, and where no route asks for it, there is no error; the system is asked only if needed."""
        check_transparent(parse(LISTENER + ROUTES + SOURCE, "x.toml"), lambda: None)
        check_transparent(parse(LISTENER + ROUTES, "x.toml"), lambda: self.fail("it was asked"))

    def test_user(self) -> None:
        """twistd --uid drops root's capabilities."""
        why = self.why(LISTENER + ROUTES + SOURCE, check_user, {"uid": 65534})
        self.assertIn('x.toml:9: route[1].target_source = "client": twistd --uid drops the capability', why)
        for twistd in ({"uid": None}, {"uid": 0}, {}, None):
            check_user(parse(LISTENER + ROUTES + SOURCE, "x.toml"), twistd)
        check_user(parse(LISTENER + ROUTES, "x.toml"), {"uid": 65534})


class PlacesTests(SocketTestCase):
    """Where the proxy checks it, without the capability."""

    def setUp(self) -> object:  # type: ignore[override]  # trial waits for it
        def refuse(sock: object) -> None:
            raise PermissionError

        self.patch(transparent, "_make_transparent", refuse)
        self.patch(sys, "platform", "linux")
        return super().setUp()

    def test_start(self) -> None:
        """The proxy does not start, nor do its workers."""
        configuration, reactor = parse(LISTENER + ROUTES + SOURCE, "x.toml"), as_reactor(Clock())
        for make in (
            lambda: ProxyService(configuration, reactor),
            lambda: Supervisor(configuration, reactor, str, []),
        ):
            self.assertIn("x.toml:9: route[1].target_source", str(self.assertRaises(ConfigError, make)))

    async def test_reload(self) -> None:
        """A reload fails, and the current configuration remains."""
        proxy = Proxy(self, ROUTES)
        before = proxy.service.configuration
        why = proxy.service.reload(lambda: parse(before.text + SOURCE, "x.toml"))
        self.assertIn("this process has neither CAP_NET_RAW nor CAP_NET_ADMIN", why or "")
        self.assertIs(before, proxy.service.configuration)
