"""`target_source = "client"` with a real broker: it shows the client's own address, where TLS passes through."""

from __future__ import annotations

import json
import socket
import ssl

from twisted.trial.unittest import SkipTest

from sniproxy.net.transparent import why_unavailable
from tests.peers.case import PulsarTestCase
from tests.peers.cluster import Broker
from tests.peers.middleboxes import CLIENT_HOST, TIMEOUT_S
from tests.peers.proxy import Program
from tests.peers.rawproducer import create_producer


class TargetSourceTests(PulsarTestCase):
    """All is on loopback, where the way back needs no routing; tests.net.test_transparent has networks in between."""

    def setUp(self) -> None:
        """Skip the test without the right to dial from other addresses."""
        super().setUp()
        if why := why_unavailable():
            raise SkipTest(why)
        self.cluster = self.lab.cluster

    def program(self, broker: Broker, source: str) -> Program:
        """A proxy that ends with the test. `source`: a line of the route."""
        folder = self.lab.new_folder()
        program = Program(
            folder,
            '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\n'
            f'[[route]]\nserver_name = "{broker.name}"\ntarget = "127.0.0.1:{broker.tls}"\n{source}'
            f'[access_log]\npath = "{folder}/access.jsonl"\n',
        )
        self.addCleanup(program.stop)
        return program

    def shown(self, topic: str, source: str) -> tuple[str, str]:
        """The address of a producer as the broker shows it, and `upstream_local` of the access log.

        `topic`: without `persistent://`; each test has its own, because a broker forgets a producer some time later.
        """
        broker = self.cluster.owner(topic)
        program = self.program(broker, source)
        context = ssl.create_default_context(cafile=str(self.lab.material.trust))
        with socket.socket() as plain:
            plain.settimeout(TIMEOUT_S)
            plain.bind((CLIENT_HOST, 0))
            plain.connect(("127.0.0.1", program.port))
            with context.wrap_socket(plain, server_hostname=broker.name) as secure:
                self.assertEqual("PRODUCER_SUCCESS", create_producer(secure, f"persistent://{topic}")[-1])
                (found,) = self.cluster.admin("GET", f"/admin/v2/persistent/{topic}/stats")["publishers"]
        program.stop()
        (line,) = (json.loads(line) for line in program.access_log.read_text().splitlines())
        return found["address"].lstrip("/"), line["upstream_local"]

    def test_client(self) -> None:
        """The broker's topic stats have the client's address, with a port of the proxy that the access log has, too."""
        shown, logged = self.shown("public/default/source-client", 'target_source = "client"\n')
        self.assertEqual((CLIENT_HOST, logged), (shown.rpartition(":")[0], shown))

    def test_without(self) -> None:
        """Without it, they have the proxy's."""
        shown, logged = self.shown("public/default/source-own", "")
        self.assertEqual(("127.0.0.1", logged), (shown.rpartition(":")[0], shown))
