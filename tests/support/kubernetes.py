"""The recipe for Kubernetes in examples/kubernetes: its files, and the names that clients and brokers use."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

FOLDER = Path(__file__).parent.parent.parent / "examples" / "kubernetes"
OVERLAYS = ("base", "aws", "gcp")
SERVICE_NAME = "pulsar.example.com"
BROKERS = 3
"""Brokers of a release of apache/pulsar-helm-chart 4.7 with default values."""

CHART_NAMES = ("*.pulsar-broker-headless.pulsar.svc.cluster.local", "pulsar-broker.pulsar.svc.cluster.local")
"""Names that this chart adds to the certificate of the brokers, for the release "pulsar" in the namespace "pulsar"."""


def document(path: str) -> Any:
    """A file with one document."""
    return yaml.safe_load((FOLDER / path).read_text())


def broker_values() -> dict[str, str]:
    """The settings of broker.conf in pulsar-values.yaml; $(POD_NAME) is not filled."""
    variables = document("pulsar-values.yaml")["broker"]["extraEnvs"]
    return {one["name"].removeprefix("PULSAR_PREFIX_"): one["value"] for one in variables if "value" in one}


def certificate_names() -> list[str]:
    """The names in the certificate of the brokers."""
    names: list[str] = document("pulsar-values.yaml")["tls"]["broker"]["dnsNames"]
    return [*names, *CHART_NAMES]


def covers(pattern: str, name: str) -> bool:
    """Whether a name in a certificate covers another one: a star is one label."""
    return re.fullmatch(re.escape(pattern).replace(r"\*", "[^.]+"), name) is not None


def advertised(ordinal: int) -> Iterator[tuple[str, str, str, int]]:
    """The listeners of a broker: name, scheme, host and port."""
    text = broker_values()["advertisedListeners"].replace("$(POD_NAME)", f"pulsar-broker-{ordinal}")
    for one in text.split(","):
        name, scheme, host, port = re.fullmatch(r"(\w+):(pulsar(?:\+ssl)?)://([^:]+):(\d+)", one).groups()  # type: ignore[union-attr]
        yield name, scheme, host, int(port)


def pod(ordinal: int) -> str:
    """The name of a broker's pod inside the cluster."""
    return f"pulsar-broker-{ordinal}.pulsar-broker-headless.pulsar.svc.cluster.local"


def cluster_dns() -> dict[str, str]:
    """The addresses of names inside the cluster."""
    pods = {pod(ordinal): f"10.4.0.{ordinal + 10}" for ordinal in range(BROKERS)}
    return {"pulsar-broker-external.pulsar.svc.cluster.local": "10.8.0.7", **pods}


def stopping(deployment: Any) -> tuple[int, int]:
    """Seconds of preStop, and seconds until the pod is killed, of a Deployment or of its patch."""
    spec = deployment["spec"]["template"]["spec"]
    return spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"], spec["terminationGracePeriodSeconds"]
