"""What a test needs from the machine, and what is said when that is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import NoReturn

from twisted.trial.unittest import FailTest, SkipTest

from tests.peers import provide

#: A program that peers need, and the Debian package that has it.
PACKAGES = {
    "chromium": "chromium",
    "curl": "curl",
    "etcd": "etcd-server",
    "go": "golang-go",
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "knotc": "knot",
    "knotd": "knot",
    "mount": "mount",
    "mvn": "maven",
    "nginx": "nginx",
    "openssl": "openssl",
    "setpriv": "util-linux",
    "tail": "coreutils",
    "unshare": "util-linux",
}


def missing(programs: Iterable[str]) -> list[str]:
    """Of the programs, those that PATH does not have (and `go`, if it is too old to fetch the Go it needs)."""
    return [name for name in programs if not _usable(name)]


def _usable(program: str) -> bool:
    if shutil.which(program) is None:
        return False
    if program == "go":
        # From 1.21 on it fetches the version that go.mod asks for. GOTOOLCHAIN: not now.
        said = subprocess.run(
            ["go", "version"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"},
        )  # fmt: skip
        version = re.search(r"go1\.(\d+)", said.stdout)
        return version is not None and int(version[1]) >= 21
    return True


def apt_line(programs: Iterable[str]) -> str:
    """The one command that installs the programs on Debian."""
    programs = list(programs)
    packages = " ".join(sorted({PACKAGES[name] for name in programs}))
    note = " (Go must be 1.21 or newer: where Debian's is older, take it from backports)" if "go" in programs else ""
    return f"apt-get install -y --no-install-recommends {packages}{note}"


def require(*programs: str, parts: Iterable[str] = ()) -> None:
    """Skips the calling test, with the command that cures it, unless the programs and provided parts are there.

    With REQUIRE_PEERS=1 in the environment it fails instead.
    """
    absent = missing(programs)
    if absent:
        unavailable(f"no {', '.join(absent)} here: {apt_line(absent)}")
    for name in parts:
        if not provide.part(name).path.is_dir():
            unavailable(f"the real peers ({name}) are not provided: make peers")


def unavailable(reason: str) -> NoReturn:
    """Skips the calling test, or fails it with REQUIRE_PEERS=1 in the environment."""
    if os.environ.get("REQUIRE_PEERS") == "1":
        raise FailTest(f"REQUIRE_PEERS=1, and {reason}")
    raise SkipTest(reason)


def require_private_hosts() -> list[str]:
    """The command that gives another a private /etc/hosts: put after it the hosts file, then that other command.

    Skips the calling test where the kernel lets us have no mount namespace, even with REQUIRE_PEERS=1: no package
    cures that.
    """
    require("unshare", "mount")
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    command = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c", script]
    tried = subprocess.run([*command, "/etc/hosts", "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if tried.returncode:
        raise SkipTest(f"kernel capability missing: a private mount namespace ({tried.stderr.strip()})")
    return command
