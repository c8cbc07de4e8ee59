"""Renders the manifests of examples/kubernetes, and checks them by the schemas of Kubernetes' API and of CRDs.

kustomize is built by go; the schemas of the API are a package of PyPI; CRDs are files of Go modules.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

KUSTOMIZE = "sigs.k8s.io/kustomize/kustomize/v5@v5.7.1"
SCHEMAS = "kubernetes-validate==1.37.0"
OPERATOR = "github.com/prometheus-operator/prometheus-operator@v0.85.0"
"""The module with the CRDs of the Prometheus Operator. Newer ones need a newer Go."""

CRD = "example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml"
SOURCES = (KUSTOMIZE, SCHEMAS, OPERATOR, CRD)

VERSIONS = ("1.31", "1.34", "1.37")
"""The versions of Kubernetes that manifests are checked for. 1.31 is the first that has all their fields by default."""

Object = dict[str, Any]


def make(folder: Path, download: Callable[[Sequence[str]], None]) -> None:
    """Install kustomize, the schemas and the CRDs in a folder."""
    download(["env", f"GOBIN={folder}", "go", "install", KUSTOMIZE])
    download([sys.executable, "-m", "pip", "install", "-q", "--target", str(folder / "python"), SCHEMAS])
    download(["go", "mod", "download", OPERATOR])
    cache = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
    shutil.copy(Path(cache) / OPERATOR / CRD, folder / "podmonitors.yaml")


def render(tools: Path, overlay: Path) -> list[Object]:
    """The objects of a kustomization. @param tools: the folder of L{make}."""
    ran = subprocess.run([tools / "kustomize", "build", overlay], capture_output=True, text=True)
    if ran.returncode or ran.stderr:
        raise ValueError(ran.stderr)
    return [one for one in yaml.safe_load_all(ran.stdout) if one is not None]


def api_problems(tools: Path, objects: Sequence[Object]) -> str:
    """What is wrong with objects of Kubernetes' own API; empty: nothing. Unknown fields are wrong, too."""
    versions = [word for version in VERSIONS for word in ("-k", version)]
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        yaml.safe_dump_all(objects, file)
        file.flush()
        ran = _python(tools, "kubernetes_validate", "--strict", "--quiet", *versions, file.name)
    return "" if ran.returncode == 0 and not ran.stdout + ran.stderr else f"{ran.returncode}: {ran.stdout}{ran.stderr}"


def crd_problems(tools: Path, found: Object) -> str:
    """What is wrong with an object of a CRD; empty: nothing. Unknown fields are wrong, too."""
    definition = yaml.safe_load((tools / "podmonitors.yaml").read_text())
    group, _, version = found["apiVersion"].partition("/")
    if (group, found["kind"]) != (definition["spec"]["group"], definition["spec"]["names"]["kind"]):
        return f"no CRD here for {found['kind']}"
    (schema,) = (
        one["schema"]["openAPIV3Schema"] for one in definition["spec"]["versions"] if one["name"] == version
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "object").write_text(json.dumps({**found, "metadata": {}}))
        (Path(folder) / "schema").write_text(json.dumps(_strict(schema)))
        ran = _python(tools, "jsonschema", "-i", f"{folder}/object", f"{folder}/schema")
    return "" if ran.returncode == 0 else ran.stdout + ran.stderr


def _strict(schema: Any) -> Any:
    """The schema, without other fields than the named ones."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and "x-kubernetes-preserve-unknown-fields" not in schema:
        closed.setdefault("additionalProperties", False)
    return closed


def _python(tools: Path, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(tools / "python"), "PYTHONWARNINGS": "ignore"}
    return subprocess.run([sys.executable, "-m", module, *arguments], env=environment, capture_output=True, text=True)
