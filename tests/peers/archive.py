"""Makes the archive of classes that the JVMs of a version of Pulsar share.

`python -m tests.peers.archive VERSION FILE` starts brokers, and lets their JVM write the classes that it has loaded.
Clients have most of theirs in common with them.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.peers import material, versions
from tests.peers.cluster import Cluster, Site

LONGEST_S = 300.0
"""Seconds to write an archive, on a machine that may be busy."""


def make(version: str, file: Path) -> None:
    """Write the archive of a version. Raises ChildError, subprocess.TimeoutExpired."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        site = Site(pulsar=versions.find(version), flags=(f"-XX:ArchiveClassesAtExit={file}",))
        cluster = Cluster(folder, material.make(folder), site=site)
        try:
            cluster.serve()
            jvm = cluster.jvm(cluster.brokers[0])
            assert jvm.process.stdin is not None
            jvm.process.stdin.close()
            jvm.wait(LONGEST_S)
        finally:
            cluster.stop()


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
