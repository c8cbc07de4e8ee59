"""A test case with Kubernetes' API server, and resolvers that watch it."""

from __future__ import annotations

import atexit
import functools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import TestCase

from sniproxy.interfaces import Refused, Resolution, Unavailable
from sniproxy.resolvers import make_resolver
from sniproxy.resolvers.kubernetes.resolver import KubernetesResolver
from tests.peers import lab
from tests.peers.kubernetes import NAMESPACE, KubernetesAPIServer, Object, documented_rules, until
from tests.peers.needs import require
from tests.resolvers.cache.scripted import request
from tests.support import kubernetesapi
from tests.support.reactor import reactor

SLICES, _ = documented_rules()


@functools.cache
def shared() -> KubernetesAPIServer:
    """The API server of this run, before it has begun."""
    server = KubernetesAPIServer(lab.shared().new_folder())
    atexit.register(server.stop)
    return server


class KubernetesCase(TestCase):
    """@ivar server: the API server. @ivar folder: of this test; it has the token of the account."""

    timeout = 300.0

    async def setUp(self) -> None:  # type: ignore[override]
        require("etcd", "setpriv", parts=["go-kubernetes"])
        begun = shared.cache_info().currsize > 0
        self.server = shared()
        if not begun:
            await self.server.begin()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        await self.new_token()

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.server.rest()

    async def new_token(self) -> None:
        """Replace the token, as Kubernetes does in a pod."""
        (self.folder / "new").write_text(await self.server.token())
        os.replace(self.folder / "new", self.folder / "token")

    def resolver(self, **options: Any) -> KubernetesResolver:
        table: dict[str, Any] = {
            "server": self.server.url,
            "namespace": NAMESPACE,
            "trust": str(self.server.trust),
            "token_file": str(self.folder / "token"),
            **options,
        }
        if "gateway" not in options:
            table |= {"service": "broker", "name": "{pod}.test", "service_name": "vip.test"}
        resolver = make_resolver("kubernetes", table, reactor)
        assert isinstance(resolver, KubernetesResolver)
        return resolver

    def started(self, **options: Any) -> KubernetesResolver:
        """A resolver that watches until the test ends."""
        resolver = self.resolver(**options)
        resolver.start(lambda: None)
        self.addCleanup(resolver.stop)
        return resolver

    async def follows(self, resolver: KubernetesResolver, *hosts: str, name: str = "vip.test") -> None:
        """Wait until a name leads to these addresses."""
        await until(lambda: set(self.hosts(resolver, name)) == set(hosts))

    def hosts(self, resolver: KubernetesResolver, name: str = "vip.test") -> list[str]:
        """The addresses of a name. Empty: it is refused, or nothing is known."""
        try:
            answer = resolver.resolve(request(name))
        except (Refused, Unavailable):
            return []
        return [target.host for target in answer.targets] if isinstance(answer, Resolution) else []

    async def reasons(self, name: str, wanted: Iterable[str], namespace: str = NAMESPACE) -> list[Object]:
        """Wait until a route has these reasons. @return: the entries of its status."""
        while True:
            found = await self.server.get("tlsroutes", name, namespace)
            assert found is not None
            parents: list[Object] = found.get("status", {}).get("parents", [])
            if [one["reason"] for parent in parents for one in parent["conditions"]] == list(wanted):
                return parents


class PodsCase(KubernetesCase):
    """A test with a Service, and an account that may read EndpointSlices."""

    async def setUp(self) -> None:  # type: ignore[override]
        await super().setUp()
        await self.server.allow(*SLICES)
        await self.brokers(broker_0="10.0.0.1")

    async def tearDown(self) -> None:  # type: ignore[override]
        await self.server.until_ready()
        await self.server.clear("endpointslices")
        await super().tearDown()

    async def brokers(self, **addresses: str) -> None:
        """Replace the endpoints of the Service."""
        pods = [kubernetesapi.pod(name.replace("_", "-"), address) for name, address in addresses.items()]
        await self.server.put("endpointslices", kubernetesapi.endpoint_slice("broker-x", *pods))
