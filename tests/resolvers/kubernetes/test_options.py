"""Tests for sniproxy.resolvers.kubernetes.options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import BadOption
from sniproxy.resolvers.http.client import Credentials
from sniproxy.resolvers.kubernetes.options import (
    OPTIONS,
    ClusterOptions,
    GatewayOptions,
    ServiceOptions,
    read_cluster,
    read_mode,
)
from sniproxy.resolvers.options import check_options

IN_CLUSTER = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "6443"}


def options(**given: Any) -> dict[str, Any]:
    """A table with the defaults."""
    return check_options(given, OPTIONS, "")


class ClusterTests(SynchronousTestCase):
    """The API server."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def cluster(self, environ: dict[str, str] | None = None, **given: Any) -> ClusterOptions:
        return read_cluster(options(**given), environ or {}, str(self.folder))

    def bad(self, key: str, environ: Any = None, **given: Any) -> str:
        error = self.assertRaises(BadOption, self.cluster, environ, **given)
        self.assertEqual(key, error.key)
        return str(error.cure)

    def test_in_cluster(self) -> None:
        """In a pod, the API server, its CA, the token and the namespace are the pod's own."""
        for name in ("ca.crt", "token"):
            (self.folder / name).write_text("x")
        (self.folder / "namespace").write_text("pulsar\n")
        cluster = self.cluster(IN_CLUSTER)
        self.assertEqual(("https://10.96.0.1:6443", "pulsar"), (cluster.server, cluster.namespace))
        paths = Credentials(str(self.folder / "ca.crt"), None, str(self.folder / "token"))
        self.assertEqual(paths, cluster.credentials)
        own = self.cluster(IN_CLUSTER, trust="/t", token_file="/k", namespace="other")
        self.assertEqual((Credentials("/t", None, "/k"), "other"), (own.credentials, own.namespace))
        self.assertIsNone(self.cluster(IN_CLUSTER, certificate="/c").credentials.token)
        six = self.cluster({"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "²"})
        self.assertEqual("https://[fd00::1]:443", six.server)

    def test_elsewhere(self) -> None:
        """Outside a cluster the API server and the namespace are named, and no file of a pod is used."""
        (self.folder / "token").write_text("x")
        cluster = self.cluster(IN_CLUSTER, server="https://a.test:6443/", namespace="b")
        self.assertEqual(("https://a.test:6443", Credentials()), (cluster.server, cluster.credentials))
        self.assertEqual("https://kubernetes.default.svc", self.cluster(namespace="b").server)
        self.assertIn("name the namespace", self.bad("namespace", server="https://a.test"))

    def test_invalid(self) -> None:
        """Invalid values."""
        good: dict[str, Any] = {"server": "https://a.test", "namespace": "b"}
        for url in (
            "a.test",
            "ftp://a.test",
            "https://a.test/path",
            "https://a.test:x",
            "https://a_b..c",
            "https://a?b",
        ):
            self.bad("server", **{**good, "server": url})
        self.assertEqual(
            "...", self.assertRaises(BadOption, self.cluster, None, **{**good, "server": "https://a@b"}).value
        )
        self.bad("namespace", **{**good, "namespace": "A"})
        self.bad("timeout", **good, timeout=0)
        self.bad("keep", **good, keep=-1)
        self.bad("networks", **good, networks=["10.0.0.1/8"])
        self.assertEqual(2, len(self.cluster(**good, networks=["10.0.0.0/8", "fd00::/8"]).networks))

    def test_plain(self) -> None:
        """Credentials are not sent without TLS."""
        plain: dict[str, Any] = {"server": "http://127.0.0.1:8001", "namespace": "b"}
        self.assertEqual("http://127.0.0.1:8001", self.cluster(**plain).server)
        for key in ("token_file", "certificate", "trust"):
            self.assertIn("https", self.bad(key, **plain, **{key: "/x"}))


class ModeTests(SynchronousTestCase):
    """What to watch."""

    def bad(self, key: str, **given: Any) -> str:
        error = self.assertRaises(BadOption, read_mode, options(**given))
        self.assertEqual(key, error.key)
        return str(error.cure)

    def test_service(self) -> None:
        """A Service with names of its pods, and names that lead to all."""
        mode = read_mode(options(service="broker", name="{pod}.test", service_name="VIP.test", port="tls"))
        assert isinstance(mode, ServiceOptions)
        self.assertEqual(("broker", ("vip.test",), "tls"), (mode.service, mode.service_names, mode.port))
        self.assertEqual("b-0.test", mode.names[0].name("b-0"))

    def test_gateway(self) -> None:
        """A Gateway; its status is written only if the configuration says so."""
        mode = read_mode(options(gateway="gw.a", sections=["tls"], all_namespaces=True))
        self.assertEqual(GatewayOptions("gw.a", ("tls",), True, None), mode)
        mode = read_mode(options(gateway="gw", write_status=True))
        self.assertEqual(GatewayOptions("gw", (), False, "sniproxy/gateway"), mode)

    def test_invalid(self) -> None:
        """Either a Service or a Gateway, and only its options."""
        self.assertIn("either", self.bad("service"))
        self.assertIn("either", self.bad("service", service="a", gateway="b"))
        self.bad("service", service="A", name="{pod}.test")
        self.assertIn("name the pods", self.bad("name", service="a"))
        self.assertIn("placeholder", self.bad("name", service="a", name="b.test"))
        self.bad("service_name", service="a", service_name="b..test")
        self.assertIn("option gateway", self.bad("sections", service="a", name="{pod}.test", sections=["b"]))
        self.assertIn("option service", self.bad("port", gateway="a", port="b"))
        self.bad("gateway", gateway="a..b")
        self.bad("sections", gateway="a", sections=["B"])
        self.bad("controller", gateway="a", controller="b")
