"""Gets the jars of a version of Pulsar by Maven, also where Maven Central lacks parents of their POMs.

Maven gives up a whole resolution when one parent is missing, though it needs nothing of it but versions. For such a
parent an empty POM is written into a repository of our own, never into the user's `~/.m2`. Children whose versions came
from it are then invalid for Maven, which takes their jars without their dependencies; `Pulsar.added` names those.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.peers.versions import Pulsar

#: At most so many parents may be missing.
MAX_STUBS = 30

_MISSING = re.compile(r"([\w.-]+):([\w.-]+):pom:([\w.-]+)")
_HEAD = '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'


class MavenError(Exception):
    """Maven failed for another reason than a missing parent. The message has its output."""


def pom(pulsar: Pulsar) -> str:
    """The POM whose runtime dependencies are the jars of the version."""
    roots = [f"org.apache.pulsar:{root}:{pulsar.release}" for root in pulsar.roots]
    managed = [_dependency(one, "<type>pom</type><scope>import</scope>") for one in pulsar.boms]
    exclusions = "".join(f"<exclusion>{_coordinates(one)}</exclusion>" for one in pulsar.left_out)
    excluding = f"<exclusions>{exclusions}</exclusions>" if exclusions else ""
    wanted = [_dependency(one, excluding) for one in [*roots, *pulsar.added]]
    lines = [
        f"{_HEAD}{_coordinates('sniproxy:peers:1')}",
        "<dependencyManagement><dependencies>",
        *managed,
        "</dependencies></dependencyManagement><dependencies>",
        *wanted,
        "</dependencies></project>",
    ]
    return "\n".join(lines) + "\n"


def _coordinates(artifact: str) -> str:
    values = zip(("groupId", "artifactId", "version"), artifact.split(":"), strict=False)
    return "".join(f"<{name}>{value}</{name}>" for name, value in values)


def _dependency(artifact: str, more: str = "") -> str:
    return f"<dependency>{_coordinates(artifact)}{more}</dependency>"


def command(goals: Iterable[str], repository: Path) -> list[str]:
    """Maven with goals and our own repository. -U: ask again for what an earlier attempt did not find."""
    return ["mvn", "-B", "-q", "-U", f"-Dmaven.repo.local={repository}", *goals]


def copy_jars(pulsar: Pulsar, folder: Path, repository: Path, runner: Callable[[Sequence[str]], str | None]) -> None:
    """Copy the jars of the version into the folder.

    `runner` runs a command, and returns the output if it failed, None if it did not. Raises MavenError.
    """
    file = repository / f"peers-{pulsar.name}.xml"
    repository.mkdir(parents=True, exist_ok=True)
    file.write_text(pom(pulsar))
    goals = ["-f", str(file), "dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    written: set[Path] = set()
    while (said := runner(command(goals, repository))) is not None:
        missing = _MISSING.search(said)
        stub = None if missing is None else _stub_path(repository, *missing.groups())
        if stub is None or stub in written or len(written) == MAX_STUBS:
            raise MavenError(said)
        # Maven's note of the failed download, beside the stub, would outlive it.
        shutil.rmtree(stub.parent, ignore_errors=True)
        stub.parent.mkdir(parents=True)
        assert missing is not None
        parent = _coordinates(":".join(missing.groups()))
        stub.write_text(f"{_HEAD}{parent}<packaging>pom</packaging></project>\n")
        written.add(stub)


def _stub_path(repository: Path, group: str, name: str, version: str) -> Path:
    return repository.joinpath(*group.split("."), name, version, f"{name}-{version}.pom")
