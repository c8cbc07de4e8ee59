"""State that the connections of one bridge share."""

from __future__ import annotations

from pathlib import Path

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.bridge import runtime
from sniproxy.bridge.runtime import REPEAT_INTERVAL_S, BridgeRuntime, Trust, make_trust
from sniproxy.bridge.stream import MAX_COMMAND_BYTES
from sniproxy.client.logins import NO_LOGIN
from sniproxy.config.parser import parse
from sniproxy.tls.pem import certificates
from tests.tls.material import CA, issued

TABLE = '[[bridge]]\nendpoint = "tcp:{port}"\nservice_url = "pulsar+ssl://{hosts}"\ntrust = "ca.pem"\n'


def trust() -> Trust:
    return make_trust(certificates("ca.pem", CA.cert_pem.bytes()), issued("own.test"))


class BridgeRuntimeTests(SynchronousTestCase):
    """BridgeRuntime."""

    def setUp(self) -> None:
        self.clock = Clock()
        text = TABLE.format(port=6650, hosts="a.test,b.test:1,c.test") + TABLE.format(port=6750, hosts="green.test")
        configuration = parse(text, str(Path("f.toml")))
        self.blue, self.green = (
            BridgeRuntime(bridge, trust, self.clock.seconds, 10.0) for bridge in configuration.bridges
        )
        for bridge in (self.blue, self.green):
            bridge.settle(None, [self.blue, self.green])

    def test_service(self) -> None:
        """Each connection begins with the next host of the service URL; the others follow in order."""
        hosts = [("a.test", 6651), ("b.test", 1), ("c.test", 6651)]
        self.assertEqual(
            [hosts, [*hosts[1:], hosts[0]], [hosts[2], *hosts[:2]], hosts], [self.blue.service() for _ in range(4)]
        )

    def test_elsewhere(self) -> None:
        """Another bridge is found by the host of its service URL, and marked as a target of migrations."""
        self.assertIsNone(self.blue.elsewhere(("green.test", 6651), "127.0.0.1"))
        for address, expected in (
            (("127.0.0.1", 6750), "pulsar://127.0.0.1:6750"),
            (("0.0.0.0", 6750), "pulsar://10.0.0.7:6750"),
            (("::", 6750), "pulsar://10.0.0.7:6750"),
        ):
            self.green.address = address
            self.assertEqual(expected, self.blue.elsewhere(("green.test", 6651), "10.0.0.7"))
        self.assertTrue(self.green.named_before and not self.blue.named_before)
        self.assertIsNone(self.blue.elsewhere(("a.test", 6651), ""))
        self.assertIsNone(self.blue.elsewhere(("green.test", 6652), ""))

    def test_trust(self) -> None:
        """Redirects and tunnels use the current trust and certificate."""
        access = self.blue.access(NO_LOGIN)
        self.assertEqual(MAX_COMMAND_BYTES, access.max_frame_bytes)
        self.assertTrue(access.tls and access.certificate is not None and access.trust is not None)
        self.assertIsNone(make_trust([issued("a.test").chain[0]], None).certificate)
        self.assertIsNotNone(self.blue.tls().connection("a.test"))

    def test_warn(self) -> None:
        """The same warning is logged once a minute, a different one at once."""
        said: list[str] = []
        self.patch(runtime.log, "warn", lambda form, **values: said.append(values["message"]))
        for message in ("one", "one", "two"):
            self.blue.warn(message)
        self.clock.advance(REPEAT_INTERVAL_S)
        self.blue.warn("one")
        self.assertEqual(["one", "two", "one"], said)
