"""Tests that compare the real Envoy with this proxy: the same names reach the same backends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from sniproxy.migrate.envoy import read
from tests.peers.envoyserver import Envoy
from tests.support.differential import Backends, differences
from tests.support.envoyconfig import (
    cluster,
)
from tests.support.importedroutes import toml_of
from tests.support.twistdprocess import TwistdProcess

Addresses = dict[str, tuple[str, int]]

PARENTS = ("pulsar.test", "eu.pulsar.test", "test", "example.com", "w.example.com", "odd_one.test", "x-y.test", "com")
LABELS = ("", "broker-1", "broker-2", "BROKER-1", "a", "A.b", "a.b.c", "1", "10-0-0-7", "_sip", "pulsar", "eu", "w")
UNKNOWN = ("nothing", "unknown.invalid", "testx", "xtest", "pulsar.testing", "a.pulsar.tes", "aexample.com", "x" * 63)
NAMES: tuple[str | None, ...] = (
    None,
    *(f"{label}.{parent}".lstrip(".") for parent in PARENTS for label in LABELS),
    *(f"{label}.{parent}".lstrip(".").upper() for parent in PARENTS for label in LABELS[::2]),
    *(f"broker-{number}.pulsar.test" for number in range(3, 40)),
    *UNKNOWN,
)


class EnvoyCase(TestCase):
    """Both proxies on loopback, in front of the same backends."""

    def setUp(self) -> None:
        self.backends = Backends(self)

    def clusters(self, *names: str, **more: Any) -> list[dict[str, Any]]:
        """A cluster for each backend, which it starts."""
        for name in names:
            self.backends.add(name)
        return [cluster(name, self.backends.addresses[name], **more) for name in names]

    def both(self, text: str, ports: Mapping[str, int], more: str = "") -> tuple[Addresses, Addresses]:
        """Start Envoy and the import.

        @param ports: Envoy's, by the name of the listener. @param more: the line of allow_cidrs.
        """
        Envoy(self, text, list(ports.values()))
        toml, _ = toml_of(read, {"envoy.yaml": text})
        ours = self.ours(re.sub("allow_cidrs = .*\n", more, toml) if more else toml, ports)
        return {name: ("127.0.0.1", port) for name, port in ports.items()}, ours

    def ours(self, toml: str, ports: Mapping[str, int]) -> Addresses:
        """The addresses of this proxy's listeners, which get other ports."""
        for port in ports.values():
            toml = toml.replace(f'"tcp:{port}:', '"tcp:0:')
        path = Path(self.mktemp())
        # The lines of a program's log would fill its pipe, which nothing reads.
        path.write_text(f'{toml}[access_log]\npath = "access.jsonl"\n')
        said = TwistdProcess(self, ["--config", str(path)]).said
        found = re.findall(r"listener (\S+): listening on 127\.0\.0\.1:(\d+)", said)
        return {name: ("127.0.0.1", int(port)) for name, port in found}

    def assert_same(self, text: str, ports: Mapping[str, int], names: Iterable[str | None] = NAMES) -> None:
        """Both proxies connect each name to the same backend at each listener."""
        envoy, ours = self.both(text, ports)
        self.assertEqual(envoy.keys(), ours.keys())
        self.assertEqual([], differences(names, envoy, ours))
