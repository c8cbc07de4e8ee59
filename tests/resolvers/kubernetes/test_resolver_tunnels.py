"""The kubernetes resolver in a running proxy: its tunnels, C{/status}, and what the API server does meanwhile."""

from __future__ import annotations

from tests.resolvers.kubernetes.case import KubernetesCase
from tests.support.gatewayapi import gateway, route, service
from tests.support.kubernetesapi import endpoint_slice, pod
from tests.support.proxies import Backend, Proxy, open_tunnel
from tests.support.sockets import in_thread, read_exactly

CONFIGURATION = """
[[route]]
server_name = "*.test"
resolver = "cluster"
[resolver.cluster]
type = "kubernetes"
namespace = "pulsar"
networks = "127.0.0.0/8"
"""
SERVICE = 'service = "broker"\nname = "{pod}.test"\n'
GATEWAY = 'gateway = "gw"\n'


class TunnelTests(KubernetesCase):
    """Tunnels to pods."""

    def proxy(self, more: str) -> Proxy:
        return Proxy(self, f'{CONFIGURATION}server = "{self.server.url}"\n{more}')

    def pods(self, **backends: Backend) -> None:
        """The pods are these backends, each with a slice of its own, because a port is the slice's."""
        for name, backend in backends.items():
            ports = [{"name": "tls", "port": backend.port}]
            self.server.put("endpointslices", endpoint_slice(name, pod(name, "127.0.0.1"), ports=ports))

    async def test_tunnels_stay(self) -> None:
        """A tunnel stays while the API server is away, while its pod is listed no more, and while another comes."""
        first, second = Backend(self), Backend(self)
        self.pods(one=first)
        proxy = self.proxy(SERVICE)
        client, upstream = await open_tunnel(self, proxy, first, "one.test")
        await self.server.until(lambda: self.server.watching("endpointslices") == 1)
        self.server.delete("endpointslices", "one")
        self.pods(two=second)
        await self.until(lambda: "two.test" in self.names(proxy))
        await self.server.close()
        await self.until(lambda: self.error(proxy))
        await open_tunnel(self, proxy, second, "two.test")
        client.sendall(b"from the client")
        self.assertEqual(b"from the client", await in_thread(read_exactly, upstream, 15))
        upstream.sendall(b"from the pod")
        self.assertEqual(b"from the pod", await in_thread(read_exactly, client, 12))
        self.assertEqual([], proxy.records)

    async def test_route(self) -> None:
        """A connection follows a TLSRoute; a name without one is refused."""
        backend = Backend(self)
        self.pods(one=backend)
        self.server.put("gateways", gateway())
        self.server.put("services", service())
        self.server.put("tlsroutes", route("one", "one.test"))
        proxy = self.proxy(GATEWAY)
        await open_tunnel(self, proxy, backend, "one.test")
        self.assertEqual(["one.test"], list(self.names(proxy)))

    def names(self, proxy: Proxy) -> dict[str, str]:
        (status,) = proxy.service.view.resolvers_status()
        return dict(status.names)

    def error(self, proxy: Proxy) -> str | None:
        (status,) = proxy.service.view.resolvers_status()
        error: str | None = status.error
        return error
