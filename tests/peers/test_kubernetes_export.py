"""TLSRoutes that C{sniproxyctl export} writes, in Kubernetes' own API server: taken, routed, imported again."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from typing import Any

import yaml

from sniproxy.config.parser import parse
from sniproxy.config.schema import convert
from sniproxy.config.tomlslices import loads
from sniproxy.interfaces import Refused, Resolution, Unavailable
from sniproxy.migrate.export.tlsroute import write
from sniproxy.migrate.tlsroute import read
from sniproxy.resolvers.kubernetes.resolver import KubernetesResolver
from sniproxy.util.names import host_port
from tests.peers.kubernetes import NAMESPACE, Object, documented_rules, plural_of
from tests.peers.kubernetescase import KubernetesCase
from tests.resolvers.cache.scripted import request
from tests.support import kubernetesapi
from tests.support.importedroutes import deciding, route_of, toml_of

OTHER = "exported-brokers"
"""The namespace of a Service that needs a ReferenceGrant."""

SERVICES = {
    f"broker.{NAMESPACE}.svc.cluster.local:6651": "10.0.9.1:6651",
    f"broker.{OTHER}.svc.cluster.local:6651": "10.0.9.2:6651",
}
"""The address of the only pod of each Service that routes name."""

PORTS = {"sniproxy-4443": 4443, "sniproxy-4444": 4444}
"""The listeners: their names are those that an import gives, so that both configurations can be compared."""

MAX_DRAWS = 2000
"""Questions about one name, until each of its backends has had its turn."""

TOML = "".join(f'[[listener]]\nendpoint = "tcp:{port}"\nname = "{name}"\n' for name, port in PORTS.items()) + "".join(
    f"[[route]]\nserver_name = '{pattern}'\ntarget = {list(targets)}\n{more}"
    for pattern, targets, more in (
        ("broker-1.pulsar.test", ("10.0.0.1:6651 weight=3", "10.0.0.2:6651"), ""),
        ("*.pulsar.test", ("10.0.0.3:6651",), ""),
        ("*.pulsar.test", ("[fd00::3]:6651",), "listener = 'sniproxy-4444'\n"),
        ("*.eu.pulsar.test", ("10.0.0.4:6652", "10.0.0.5:6652"), ""),
        ("*.test", ("10.0.0.6:{port}",), ""),
        ("own.test", (f"broker.{NAMESPACE}.svc.cluster.local:6651",), ""),
        ("other.test", (f"broker.{OTHER}.svc.cluster.local:6651",), ""),
        ("many.test", tuple(f"10.0.2.{number}:6651" for number in range(1, 19)), ""),
        ("only.example.com", ("10.0.0.7:6651",), "listener = 'sniproxy-4443'\n"),
        *((f"broker-{number}.pulsar.test", (f"10.0.1.{number}:6651",), "") for number in range(100, 110)),
    )
) + "[[route]]\nserver_name = 'no.pulsar.test'\nresolver = 'no'\n[resolver.no]\ntype = 'refuse'\n"  # fmt: skip

NAMES = (
    *(f"{label}.{parent}".lstrip(".") for label, parent in itertools.product(
        ("", "a", "broker-1", "a.b", "UP", "no"), ("pulsar.test", "eu.pulsar.test", "example.com", "test", "org")
    )),
    *(f"broker-{number}.pulsar.test" for number in range(95, 115)),
    "own.test", "other.test", "many.test", "only.example.com", "pulsar.test.",
)  # fmt: skip


class ExportTests(KubernetesCase):
    """A configuration with exact names, wildcards, weights, two listeners, refused names and Services."""

    timeout = 120.0

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.server.allow_everywhere(*documented_rules()[1])
        await self.server.put("namespaces", {"metadata": {"name": OTHER}})
        for namespace, address in ((NAMESPACE, "10.0.9.1"), (OTHER, "10.0.9.2")):
            ports = [{"name": "tls", "port": 6651, "protocol": "TCP"}]
            metadata = {"name": "broker", "namespace": namespace}
            await self.server.put("services", {"metadata": metadata, "spec": {"ports": ports, "selector": {"a": "b"}}})
            pods = kubernetesapi.endpoint_slice("broker-x", kubernetesapi.pod("broker-0", address))
            pods["metadata"]["namespace"] = namespace
            await self.server.put("endpointslices", pods)

    async def tearDown(self) -> None:  # type: ignore[override]
        for namespace in (NAMESPACE, OTHER):
            kinds = ("tlsroutes", "gateways", "referencegrants", "endpointslices", "services")
            await self.server.clear(*kinds, namespace=namespace)
        await self.server.allow_everywhere()
        await super().tearDown()

    async def apply(self) -> list[Object]:
        """Export the configuration, and create each object. @return: the objects as the API server has them."""
        parse(TOML, "sniproxy.toml")
        exported = write(convert(loads(TOML), "sniproxy.toml"), namespace=NAMESPACE)
        self.assertEqual([], deciding(exported.report.notes))
        stored = []
        for document in yaml.safe_load_all(exported.text):
            plural = plural_of(document)
            assert plural is not None, document["kind"]
            stored.append(await self.server.put(plural, document))
            self.assertEqual("", missing(document, stored[-1]), document["metadata"])
        return stored

    async def resolvers(self) -> Mapping[str, KubernetesResolver]:
        """A resolver for each listener, which has read all."""
        found = {}
        for name in PORTS:
            options = {"gateway": "sniproxy", "sections": [name], "all_namespaces": True, "write_status": True}
            found[name] = self.started(**options)
            await self.follows(found[name], "10.0.9.1", name="own.test")
        return found

    def answers(self, resolver: KubernetesResolver, name: str, expected: set[str]) -> set[str]:
        """The targets that a name has. They come by chance, by the weights of their backends: ask until all have."""
        found: set[str] = set()
        for _ in range(MAX_DRAWS):
            try:
                answer = resolver.resolve(request(name.rstrip(".").lower()))
            except (Refused, Unavailable):  # a TLSRoute without a backend: as the Gateway API demands, a plain close
                return found
            assert isinstance(answer, Resolution)
            found |= {host_port(target.host, target.port) for target in answer.targets}
            if found >= expected:
                break
        return found

    async def test_same_routes(self) -> None:
        """The API server takes the objects, each route is accepted, and each name has the targets that it had."""
        stored = await self.apply()
        resolvers = await self.resolvers()
        for route in stored:
            if route["kind"] == "TLSRoute":
                refused = route["spec"]["rules"][0]["backendRefs"][0]["name"] == "refused"
                expected = ("Accepted", "BackendNotFound" if refused else "ResolvedRefs")
                parents = len(route["spec"]["parentRefs"])
                await self.reasons(route["metadata"]["name"], expected * parents)
        self.assertGreaterEqual(len(NAMES), 50)
        for name, (listener, port) in itertools.product(NAMES, PORTS.items()):
            targets = (text.replace("{port}", str(port)).split()[0] for text in route_of(TOML, name, listener))
            wanted = {SERVICES.get(one, one) for one in targets}
            self.assertEqual(wanted, self.answers(resolvers[listener], name, wanted), (name, listener))

    async def test_import(self) -> None:
        """What the API server returns is imported as the configuration that it came from."""
        stored = await self.apply()
        stored += [
            {"kind": "Service", "apiVersion": "v1", **one}
            for namespace in (NAMESPACE, OTHER)
            if (one := await self.server.get("services", "broker", namespace)) is not None
        ]
        listed = {"apiVersion": "v1", "kind": "List", "items": stored}
        again, notes = toml_of(read, {"routes.json": json.dumps(listed)})
        self.assertEqual([], deciding(notes))
        for name, (listener, port) in itertools.product(NAMES, PORTS.items()):
            expected = [text.replace("{port}", str(port)) for text in route_of(TOML, name, listener)]
            self.assertEqual(expected, route_of(again, name, listener), (name, listener))

    async def test_unknown_field(self) -> None:
        """A field that a TLSRoute does not have would be noticed."""
        stored = await self.apply()
        route = next(one for one in stored if one["kind"] == "TLSRoute")
        spec = {**route["spec"], "hostname": "a.test"}
        again = await self.server.put("tlsroutes", {"metadata": {"name": route["metadata"]["name"]}, "spec": spec})
        self.assertEqual("hostname", missing(spec, again["spec"]))


def missing(written: Any, stored: Any, path: str = "") -> str:
    """The first field that the API server has not stored as written. Empty: there is none."""
    if isinstance(written, dict) and isinstance(stored, dict):
        for key, value in written.items():
            here = f"{path}.{key}".lstrip(".")
            if key not in stored:
                return here
            found = missing(value, stored[key], here)
            if found:
                return found
        return ""
    if isinstance(written, list) and isinstance(stored, list) and len(written) == len(stored):
        return next((found for one in zip(written, stored, strict=True) if (found := missing(*one, path))), "")
    return "" if written == stored else path
