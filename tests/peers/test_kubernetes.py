"""The manifests of examples/kubernetes, rendered by kustomize, by the schemas of Kubernetes and of CRDs."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import tomli
from twisted.trial.unittest import SynchronousTestCase

from tests.peers import provide
from tests.peers.manifests import Object, api_problems, crd_problems, render
from tests.peers.needs import require
from tests.support.kubernetes import FOLDER, OVERLAYS, stopping

SPARE_S = 15
OWN_GROUPS = {"v1", "apps/v1", "policy/v1", "networking.k8s.io/v1"}
"""API groups of Kubernetes itself."""

ATTACHMENT = {"connectionPreference", "natSubnets", "proxyProtocol", "resourceRef"}
"""The fields of a ServiceAttachment that we use. GKE publishes its CRD in no package."""


class ManifestCase(SynchronousTestCase):
    """A test with rendered manifests."""

    def setUp(self) -> None:
        """Skip the test without kustomize."""
        require(parts=["kubernetes"])
        self.tools = provide.part("kubernetes").path

    def objects(self, overlay: str) -> list[Object]:
        return render(self.tools, FOLDER / overlay)

    def one(self, overlay: str, kind: str, name: str = "sniproxy") -> Any:
        """The object of a kind and a name."""
        (found,) = (one for one in self.objects(overlay) if (one["kind"], one["metadata"]["name"]) == (kind, name))
        return found


class SchemaTests(ManifestCase):
    """Schemas."""

    def test_api(self) -> None:
        """Each object has the fields and types of its kind, in the oldest and the newest version of Kubernetes."""
        for overlay in OVERLAYS:
            own = [one for one in self.objects(overlay) if one["apiVersion"] in OWN_GROUPS]
            self.assertEqual(7, len(own), overlay)
            self.assertEqual("", api_problems(self.tools, own), overlay)

    def test_api_unknown(self) -> None:
        """An unknown field, and a wrong type, are found."""
        deployment = self.one("base", "Deployment")
        deployment["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStop"]["sleeps"] = {}
        self.assertIn("sleeps", api_problems(self.tools, [deployment]))
        deployment = self.one("base", "Deployment")
        deployment["spec"]["replicas"] = "three"
        self.assertIn("three", api_problems(self.tools, [deployment]))

    def test_others(self) -> None:
        """PodMonitors fit the CRD of the Prometheus Operator; nothing but the ServiceAttachment has no schema."""
        for overlay in OVERLAYS[1:]:
            others = [one for one in self.objects(overlay) if one["apiVersion"] not in OWN_GROUPS]
            problems = {one["kind"]: crd_problems(self.tools, one) for one in others}
            unknown = {"ServiceAttachment": "no CRD here for ServiceAttachment"} if overlay == "gcp" else {}
            self.assertEqual({"PodMonitor": "", **unknown}, problems, overlay)
        self.assertEqual(ATTACHMENT, set(self.one("gcp", "ServiceAttachment")["spec"]))

    def test_others_unknown(self) -> None:
        """An unknown field of a PodMonitor is found."""
        monitor = copy.deepcopy(self.one("aws", "PodMonitor"))
        monitor["spec"]["podMetricsEndpoints"][0]["every"] = "30s"
        self.assertIn("every", crd_problems(self.tools, monitor))


class ObjectTests(ManifestCase):
    """How the rendered objects fit together."""

    def test_configuration(self) -> None:
        """The ConfigMap has the file of the overlay, and the name that pods mount, without a hash."""
        for overlay in OVERLAYS:
            data = self.one(overlay, "ConfigMap")["data"]
            self.assertEqual({"sniproxy.toml": (FOLDER / overlay / "sniproxy.toml").read_text()}, data, overlay)
            (volume,) = self.one(overlay, "Deployment")["spec"]["template"]["spec"]["volumes"]
            self.assertEqual("sniproxy", volume["configMap"]["name"], overlay)

    def test_selectors(self) -> None:
        """Service, budget, policy, monitor and spread select the pods."""
        for overlay in OVERLAYS:
            template = self.one(overlay, "Deployment")["spec"]["template"]
            labels = template["metadata"]["labels"]
            (spread,) = template["spec"]["topologySpreadConstraints"]
            self.assertEqual(labels, self.one(overlay, "Service")["spec"]["selector"])
            self.assertEqual({"matchLabels": labels}, self.one(overlay, "PodDisruptionBudget")["spec"]["selector"])
            self.assertEqual({"matchLabels": labels}, self.one(overlay, "NetworkPolicy")["spec"]["podSelector"])
            self.assertEqual({"matchLabels": labels}, spread["labelSelector"])
            if overlay != "base":
                self.assertEqual({"matchLabels": labels}, self.one(overlay, "PodMonitor")["spec"]["selector"])

    def test_ports(self) -> None:
        """The ports of the pod are those of the configuration, and named ports exist."""
        for overlay in OVERLAYS:
            (container,) = self.one(overlay, "Deployment")["spec"]["template"]["spec"]["containers"]
            ports = {one["name"]: one["containerPort"] for one in container["ports"]}
            text = self.one(overlay, "ConfigMap")["data"]["sniproxy.toml"]
            written = tomli.loads(text)
            (listener,) = written["listener"]
            self.assertEqual(str(ports["pulsar"]), listener["endpoint"].split(":")[1])
            self.assertEqual(str(ports["admin"]), written["admin"]["endpoint"].split(":")[1])
            for probe in ("readinessProbe", "livenessProbe"):
                self.assertEqual("admin", container[probe]["httpGet"]["port"])
            (port,) = self.one(overlay, "Service")["spec"]["ports"]
            self.assertEqual("pulsar", port["targetPort"])
            for rule in self.one(overlay, "NetworkPolicy")["spec"]["ingress"]:
                self.assertLessEqual({one["port"] for one in rule["ports"]}, set(ports))

    def test_restricted(self) -> None:
        """Pods fit the Pod Security Standard "restricted", and their root is read-only."""
        for overlay in OVERLAYS:
            level = self.one(overlay, "Namespace")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
            spec = self.one(overlay, "Deployment")["spec"]["template"]["spec"]
            (container,) = spec["containers"]
            pod = spec["securityContext"]
            self.assertEqual("restricted", level)
            self.assertEqual((True, {"type": "RuntimeDefault"}), (pod["runAsNonRoot"], pod["seccompProfile"]))
            self.assertGreater(pod["runAsUser"], 0)
            self.assertEqual(
                {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}},
                container["securityContext"],
            )

    def test_grace(self) -> None:
        """A pod is killed after preStop and the drain, with time to spare."""
        for overlay in OVERLAYS:
            drain = tomli.loads(self.one(overlay, "ConfigMap")["data"]["sniproxy.toml"])["timeouts"]["drain"]
            pause, grace = stopping(self.one(overlay, "Deployment"))
            self.assertGreaterEqual(grace, pause + drain + SPARE_S, overlay)

    def test_attributes(self) -> None:
        """Overlays keep what the base says of the Service, and gcp has no DNS names of ours."""
        base, aws, gcp = (self.one(overlay, "Service") for overlay in OVERLAYS)
        for overlay in (aws, gcp):
            self.assertEqual(base["spec"]["ports"], overlay["spec"]["ports"])
        name = "external-dns.alpha.kubernetes.io/hostname"
        self.assertIn(name, aws["metadata"]["annotations"])
        self.assertNotIn(name, gcp["metadata"]["annotations"])


class RenderTests(ManifestCase):
    """Rendering."""

    def test_error(self) -> None:
        """An error of kustomize is an error of the test."""
        self.assertRaises(ValueError, render, self.tools, Path(self.mktemp()))
