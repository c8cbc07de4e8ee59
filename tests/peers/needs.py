"""Skips tests whose programs or provided parts are missing, and names the command that installs them."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from collections.abc import Iterable
from typing import NoReturn

from twisted.trial.unittest import FailTest, SkipTest

from tests.peers import provide

#: Debian packages by the program that they provide.
PACKAGES = {
    "chromium": "chromium",
    "curl": "curl",
    "etcd": "etcd-server",
    "go": "golang-go",
    "groff": "groff",
    "haproxy": "haproxy",
    "java": "default-jdk-headless",
    "javac": "default-jdk-headless",
    "knotc": "knot",
    "knotd": "knot",
    "mandoc": "mandoc",
    "mount": "mount",
    "mvn": "maven",
    "nginx": "nginx",
    "openssl": "openssl",
    "prlimit": "util-linux",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "setpriv": "util-linux",
    "tail": "coreutils",
    "tcsh": "tcsh",
    "tmux": "tmux",
    "traffic_server": "trafficserver",
    "unshare": "util-linux",
    "zsh": "zsh",
}


def missing(programs: Iterable[str]) -> list[str]:
    """The programs that are not on the PATH. `go` counts as missing if it is too old to fetch a newer version."""
    return [name for name in programs if not _usable(name)]


def _usable(program: str) -> bool:
    if shutil.which(program) is None:
        return False
    if program == "go":
        # Go 1.21 and later fetch the version of go.mod. GOTOOLCHAIN prevents that here.
        said = subprocess.run(
            ["go", "version"],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, env={**os.environ, "GOTOOLCHAIN": "local"},
        )  # fmt: skip
        version = re.search(r"go1\.(\d+)", said.stdout)
        return version is not None and int(version[1]) >= 21
    return True


def apt_line(programs: Iterable[str]) -> str:
    """The command that installs the programs on Debian."""
    programs = list(programs)
    packages = " ".join(sorted({PACKAGES[name] for name in programs}))
    note = " (Go must be 1.21 or newer: where Debian's is older, take it from backports)" if "go" in programs else ""
    return f"apt-get install -y --no-install-recommends {packages}{note}"


def require(*programs: str, parts: Iterable[str] = ()) -> None:
    """Skip the calling test, with the command to run, unless the programs and provided parts exist.

    With REQUIRE_PEERS=1 in the environment it fails instead.
    """
    absent = missing(programs)
    if absent:
        unavailable(f"no {', '.join(absent)} here: {apt_line(absent)}")
    for name in parts:
        if not provide.part(name).path.is_dir():
            unavailable(f"the real peers ({name}) are not provided: make peers")


def unavailable(reason: str) -> NoReturn:
    """Skip the calling test, or fail it if REQUIRE_PEERS=1 is set."""
    if os.environ.get("REQUIRE_PEERS") == "1":
        raise FailTest(f"REQUIRE_PEERS=1, and {reason}")
    raise SkipTest(reason)


def private_hosts() -> list[str] | None:
    """The prefix of a command that gives another one a private /etc/hosts; the hosts file and that command follow.

    None: the kernel allows no mount namespace.
    """
    return _private_hosts()[0]


@functools.cache
def _private_hosts() -> tuple[list[str] | None, str]:
    """The prefix, and why there is none."""
    if missing(["unshare", "mount"]):
        return None, "no unshare"
    script = 'mount --bind "$0" /etc/hosts && exec "$@"'
    command = ["unshare", "-m" if os.geteuid() == 0 else "-rm", "sh", "-c", script]
    tried = subprocess.run([*command, "/etc/hosts", "true"], stdin=subprocess.DEVNULL, capture_output=True, text=True)
    return (None, tried.stderr.strip()) if tried.returncode else (command, "")


def require_private_hosts() -> list[str]:
    """As `private_hosts`.

    Skips the calling test if the kernel allows no mount namespace, even with REQUIRE_PEERS=1, because no package helps.
    """
    require("unshare", "mount")
    command, reason = _private_hosts()
    if command is None:
        raise SkipTest(f"kernel capability missing: a private mount namespace ({reason})")
    return command
