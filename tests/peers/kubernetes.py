"""Kubernetes' own API server on etcd, with RBAC, tokens of service accounts, and the resources of the Gateway API."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trustme
import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from sniproxy.resolvers.http.client import Credentials, HTTPClient, HTTPFailure
from tests.peers import provide
from tests.peers.children import Child
from tests.peers.cluster import free_ports
from tests.support.reactor import reactor

Object = dict[str, Any]

NAMESPACE = "pulsar"
ACCOUNT = "sniproxy"
ADMIN = "the-administrators-token"

API_VERSIONS = {
    "customresourcedefinitions": ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
    "clusterroles": ("rbac.authorization.k8s.io/v1", "ClusterRole"),
    "clusterrolebindings": ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    "namespaces": ("v1", "Namespace"),
    "services": ("v1", "Service"),
    "serviceaccounts": ("v1", "ServiceAccount"),
    "endpointslices": ("discovery.k8s.io/v1", "EndpointSlice"),
    "roles": ("rbac.authorization.k8s.io/v1", "Role"),
    "rolebindings": ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    "gateways": ("gateway.networking.k8s.io/v1", "Gateway"),
    "tlsroutes": ("gateway.networking.k8s.io/v1", "TLSRoute"),
    "referencegrants": ("gateway.networking.k8s.io/v1", "ReferenceGrant"),
}
"""The kinds that tests change, by the plural: group with version, and kind."""

CLUSTER_WIDE = ("customresourcedefinitions", "clusterroles", "clusterrolebindings", "namespaces")
"""Those of them that are in no namespace."""

KINDS = ("gatewayclasses", "gateways", "tlsroutes", "referencegrants")
"""The resources of the Gateway API that the tests need."""

POLL_S = 0.05


class KubernetesAPIServer:
    """An API server that can be killed and started again; its objects stay, in etcd.

    @ivar url: its URL. @ivar trust: PEM of its CA.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._part = provide.part("go-kubernetes").path
        port, client, peer = free_ports(3)
        self._port, self._etcd_url = port, f"http://127.0.0.1:{client}"
        self.url = f"https://127.0.0.1:{port}"
        self.trust = folder / "ca.pem"
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self.trust))
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(folder / "own.pem"))
        signing = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = signing.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        (folder / "signing.pem").write_bytes(private)
        public = signing.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        (folder / "public.pem").write_bytes(public)
        (folder / "tokens.csv").write_text(f'{ADMIN},admin,1,"system:masters"\n')
        (folder / "admin").write_text(ADMIN)
        urls = ["--listen-client-urls", self._etcd_url, "--advertise-client-urls", self._etcd_url]
        peer_url = f"http://127.0.0.1:{peer}"
        urls += ["--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url]
        urls += ["--initial-cluster", f"default={peer_url}"]
        self._etcd = Child(["etcd", "--data-dir", str(folder / "etcd"), "--unsafe-no-fsync", *urls])
        self._server: Child | None = None
        credentials = Credentials(str(self.trust), None, str(folder / "admin"))
        self._client = HTTPClient(reactor, credentials, 10.0, 4 * 2**20)

    async def begin(self) -> None:
        """Start the API server, and create the namespace, the account and the resources."""
        self._etcd.wait_for_text("ready to serve client requests", 60)
        self.start()
        await self.until_ready()
        await self.create("namespaces", {"metadata": {"name": NAMESPACE}})
        await self.create("serviceaccounts", {"metadata": {"name": ACCOUNT}})
        for kind in KINDS:
            text = (self._part / f"gateway.networking.k8s.io_{kind}.yaml").read_bytes()
            await self._request("POST", _path("customresourcedefinitions"), text, "application/yaml")
        await self._until_served("tlsroutes")

    def start(self) -> None:
        """Start the API server, also after a kill."""
        files = {name: str(self._folder / name) for name in ("own.pem", "public.pem", "signing.pem", "tokens.csv")}
        self._server = Child(
            [
                str(self._part / "kube-apiserver"),
                f"--etcd-servers={self._etcd_url}",
                "--bind-address=127.0.0.1",
                f"--secure-port={self._port}",
                f"--tls-cert-file={files['own.pem']}",
                f"--tls-private-key-file={files['own.pem']}",
                f"--cert-dir={self._folder}",
                "--authorization-mode=RBAC",
                f"--token-auth-file={files['tokens.csv']}",
                f"--service-account-key-file={files['public.pem']}",
                f"--service-account-signing-key-file={files['signing.pem']}",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.96.0.0/24",
                "--endpoint-reconciler-type=none",
            ]
        )

    def kill(self) -> None:
        """Kill the API server."""
        if self._server is not None:
            self._server.process.kill()
            self._server.stop()

    def stop(self) -> None:
        """Stop everything."""
        if self._server is not None:
            self._server.stop()
        self._etcd.stop()

    async def rest(self) -> None:
        """Close the connections that are kept for later requests."""
        await self._client.close()

    async def until_ready(self) -> None:
        """Wait until the API server serves."""
        while True:
            try:
                answer = await self._client.request(f"{self.url}/readyz", self._headers())
                if answer.status == 200:
                    return
            except HTTPFailure:
                pass
            await _pause()

    async def token(self, seconds: int = 3600) -> str:
        """A new token of the account."""
        body: Object = {"spec": {"expirationSeconds": seconds}}
        path = f"{_path('serviceaccounts')}/{ACCOUNT}/token"
        answer = await self._request("POST", path, json.dumps(body).encode())
        text: str = answer["status"]["token"]
        return text

    async def allow(self, *rules: Object) -> None:
        """Give the account these permissions in the namespace, and no others there."""
        await self.put("roles", {"metadata": {"name": ACCOUNT}, "rules": list(rules)})
        await self.put("rolebindings", _binding("Role"))

    async def allow_everywhere(self, *rules: Object) -> None:
        """Give the account these permissions in all namespaces, and no others there."""
        await self.put("clusterroles", {"metadata": {"name": ACCOUNT}, "rules": list(rules)})
        await self.put("clusterrolebindings", _binding("ClusterRole"))

    async def create(self, plural: str, document: Object) -> Object:
        """Create an object, in the namespace that it names, or else in ours; in the API version that it names, too."""
        path = _path(plural, document["metadata"].get("namespace", NAMESPACE), document.get("apiVersion"))
        created: Object = await self._request("POST", path, _encoded(plural, document))
        return created

    async def put(self, plural: str, document: Object) -> Object:
        """Create or replace an object, in the namespace that it names, or else in ours."""
        name, namespace = document["metadata"]["name"], document["metadata"].get("namespace", NAMESPACE)
        found = await self.get(plural, name, namespace)
        if found is None:
            return await self.create(plural, document)
        metadata = {**document["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}
        body = _encoded(plural, {**document, "metadata": metadata})
        path = _path(plural, namespace, document.get("apiVersion"))
        replaced: Object = await self._request("PUT", f"{path}/{name}", body)
        return replaced

    async def get(self, plural: str, name: str, namespace: str = NAMESPACE) -> Object | None:
        """An object. None: there is none."""
        answer = await self._client.request(f"{self.url}{_path(plural, namespace)}/{name}", self._headers())
        if answer.status == 404:
            return None
        found: Object = json.loads(answer.body)
        return found

    async def delete(self, plural: str, name: str) -> None:
        """Delete an object of our namespace."""
        await self._request("DELETE", f"{_path(plural)}/{name}", b"")

    async def clear(self, *plurals: str, namespace: str = NAMESPACE) -> None:
        """Delete all objects of these kinds in a namespace."""
        for plural in plurals:
            await self._request("DELETE", _path(plural, namespace), b"")

    def manifests(self, name: str) -> list[Object]:
        """The objects in a file of the Gateway API's conformance tests."""
        text = (self._part / f"{name}.yaml").read_text().replace("{GATEWAY_CLASS_NAME}", ACCOUNT)
        return [one for one in yaml.safe_load_all(text) if one]

    async def _until_served(self, plural: str) -> None:
        while (await self._client.request(self.url + _path(plural), self._headers())).status != 200:
            await _pause()

    async def _request(self, method: str, path: str, body: bytes, kind: str = "application/json") -> Any:
        headers = {**self._headers(), "Content-Type": kind}
        answer = await self._client.request(self.url + path, headers, body, method.encode())
        if answer.status >= 300:
            raise AssertionError(f"{method} {path}: {answer.status} {answer.body[:1000]!r}")
        return json.loads(answer.body)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {ADMIN}", "Accept": "application/json"}


def documented_rules() -> tuple[list[Object], list[Object]]:
    """The rules of the Roles in the manual: for a Service, and for a Gateway."""
    page = Path(__file__).parents[2] / "docs" / "reference" / "resolver-kubernetes.md"
    blocks = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    service, gateway = (next(yaml.safe_load_all(block)) for block in blocks)
    return service["rules"], gateway["rules"]


async def until(condition: Callable[[], object]) -> None:
    """Wait for a condition."""
    while not condition():
        await _pause(0.005)


def plural_of(document: Object) -> str | None:
    """The plural of an object's kind. None: tests do not change this kind."""
    return {kind: plural for plural, (_, kind) in API_VERSIONS.items()}.get(document["kind"])


def _path(plural: str, namespace: str = NAMESPACE, version: str | None = None) -> str:
    """The path of a collection. @param version: group and version. None: as in L{API_VERSIONS}."""
    version = version or API_VERSIONS[plural][0]
    inside = "" if plural in CLUSTER_WIDE else f"/namespaces/{namespace}"
    return f"{'/apis' if '/' in version else '/api'}/{version}{inside}/{plural}"


def _binding(kind: str) -> Object:
    """The binding of the account to its Role or ClusterRole."""
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": ACCOUNT}
    subjects = [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": NAMESPACE}]
    return {"metadata": {"name": ACCOUNT}, "roleRef": role, "subjects": subjects}


def _encoded(plural: str, document: Object) -> bytes:
    version, kind = API_VERSIONS[plural]
    return json.dumps({"apiVersion": version, "kind": kind, **document}).encode()


async def _pause(seconds: float = POLL_S) -> None:
    waited: Deferred[None] = deferLater(reactor, seconds)
    await waited
