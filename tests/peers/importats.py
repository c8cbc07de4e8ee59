"""Asks a real Traffic Server, and then the proxy on the import of its configuration."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from tests.peers.case import ProxyTestCase
from tests.peers.cluster import free_ports
from tests.peers.needs import require, require_private_hosts
from tests.peers.proxy import Program
from tests.peers.trafficserver import IP_ALLOW, TrafficServer
from tests.support.differential import Backends, reached
from tests.support.twistdprocess import ENVIRONMENT

Name = str | None
Question = tuple[Name, int, str | None, bytes]
"""A name, the index of a port, the client's address, and a PROXY protocol header."""

HOST = f"127.{64 + os.getpid() // 256 % 128}.{os.getpid() % 256}.{{}}"
"""Addresses of backends, on loopback: others for each process, because all backends have the same port."""
BROKER_PORT = 6651
REFUSED = "(refused)"


class ImportCase(ProxyTestCase):
    """Asks Traffic Server, and then the proxy on the same ports."""

    def setUp(self) -> None:
        """Skip the tests without Traffic Server; start backends."""
        require("traffic_server")
        super().setUp()
        self.inside = require_private_hosts()
        self.backends = Backends(self)
        self.ports = free_ports(2)

    def backend(self, number: int, port: int = BROKER_PORT) -> str:
        """A backend of its own address. Returns the address."""
        host = HOST.format(number)
        self.backends.add(f"{number}:{port}" if port == BROKER_PORT else f"{number}:own", host, port)
        return host

    def records(self, text: str, flags: str = "") -> str:
        """The text of records.config."""
        ports = " ".join(f"{port}:ssl:ip-in=127.0.0.1{flags}" for port in self.ports)
        return text.format(ports=ports, first=self.ports[0], second=self.ports[1])

    @contextmanager
    def traffic_server(self, files: Mapping[str, str], hosts: Mapping[str, str]) -> Iterator[None]:
        """Traffic Server, with these files and host names."""
        pair = next(iter(self.lab.material.brokers.values()))
        server = TrafficServer(self.lab.new_folder(), {"ip_allow.yaml": IP_ALLOW, **files}, hosts, pair)
        try:
            yield
        finally:
            server.stop()

    @contextmanager
    def program(self, text: str, hosts: Mapping[str, str]) -> Iterator[None]:
        """The proxy, with a hosts file of its own."""
        folder = self.lab.new_folder()
        file = folder / "hosts"
        file.write_text("127.0.0.1 localhost\n" + "".join(f"{host} {name}\n" for name, host in hosts.items()))
        program = Program(folder, text, [*self.inside, str(file)])
        try:
            program.wait_for_text("ready:")
            yield
        finally:
            program.stop()

    def original(self, sni: str, records: str, hosts: Mapping[str, str], questions: Sequence[Question]) -> list[str]:
        """The answers of Traffic Server."""
        with self.traffic_server({"sni.yaml": sni, "records.config": records}, hosts):
            return [self.ask(one) for one in questions]

    def imported(self, files: Mapping[str, str]) -> tuple[str, str, int]:
        """Import files. Returns the configuration, the report and the exit status."""
        folder = self.lab.new_folder()
        for name, text in files.items():
            (folder / name).write_text(text)
        program = [sys.executable, "-c", "import sys; from sniproxy.ctl import main; sys.exit(main())"]
        done = subprocess.run(
            [*program, "import", *(str(folder / name) for name in files)], capture_output=True, text=True,
            env=ENVIRONMENT, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        return done.stdout, done.stderr, done.returncode

    def ours(self, text: str, hosts: Mapping[str, str], questions: Sequence[Question]) -> list[str]:
        """The answers of the proxy."""
        with self.program(text, hosts):
            return [self.ask(one) for one in questions]

    def ask(self, question: Question) -> str:
        """The backend that a hello reaches; or REFUSED, also if Traffic Server ends TLS or says so in HTML."""
        name, port, source, header = question
        answer = reached(("127.0.0.1", self.ports[port]), name, header, source)
        refused = ("alert ", "closed", "reset", "TLS", "unknown answer b'<HTML>")
        return REFUSED if answer.startswith(refused) else answer

    def same(
        self,
        sni: str,
        records: str,
        hosts: Mapping[str, str],
        questions: Sequence[Question],
        files: Mapping[str, str] | None = None,
    ) -> tuple[list[str], str]:
        """Assert that both give the same answers. `files`: what is imported, if not what Traffic Server reads.

        Returns the answers and the report.
        """
        first = self.original(sni, records, hosts, questions)
        text, report, status = self.imported(
            files or {"sni.yaml": sni, "records.config": records, "ip_allow.yaml": IP_ALLOW}
        )
        self.assertEqual(0, status, report)
        second = self.ours(text, hosts, questions)
        different = [(*row[0][:3], *row[1:]) for row in zip(questions, first, second, strict=True) if row[1] != row[2]]
        self.assertEqual([], different, f"{different}\n{text}")
        return first, report


def questions(names: Iterable[Name], ports: int = 2, sources: Iterable[str | None] = (None,)) -> list[Question]:
    """Each name at each port from each source."""
    names = list(names)
    return [(name, port, source, b"") for name in names for port in range(ports) for source in sources]


def variants(*names: str) -> list[Name]:
    """Names like these, unknown ones, and none."""
    found: list[Name] = [None, "unknown.invalid", "localhost", "x", "x-y_z"]
    for name in names:
        found += [name, name.upper(), name.title(), f"a.{name}", f"A.b.{name}", f"{name}x", f"x{name}", f"x-{name}"]
    return found
