"""Finds a Java that is new enough for a version of Pulsar."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

#: Where Linux distributions install them.
INSTALLED = Path("/usr/lib/jvm")
#: From this version on Java warns of native code and of sun.misc.Unsafe, which Pulsar's jars use.
WARNS_SINCE = 24


def major(home: Path) -> int:
    """The feature release of the Java at `home`, as its file `release` says. 0: there is none."""
    try:
        text = (home / "release").read_text(errors="replace")
    except OSError:
        return 0
    found = re.search(r'^JAVA_VERSION="(\d+)', text, re.MULTILINE)
    return int(found[1]) if found and os.access(home / "bin" / "java", os.X_OK) else 0


def _homes(environment: Mapping[str, str], installed: Path) -> Iterator[Path]:
    if environment.get("JAVA_HOME"):
        yield Path(environment["JAVA_HOME"])
    on_path = shutil.which("java", path=environment.get("PATH"))
    if on_path:
        yield Path(on_path).resolve().parents[1]
    yield from sorted(installed.glob("*"))


def find(least: int, environment: Mapping[str, str] = os.environ, installed: Path = INSTALLED) -> Path | None:
    """The home of a Java with a compiler, of feature release `least` or newer. None: the machine has none.

    JAVA_HOME counts first, then the PATH, then the installed ones.
    """
    for home in _homes(environment, installed):
        if major(home) >= least and os.access(home / "bin" / "javac", os.X_OK):
            return home
    return None


def quiet_flags(home: Path) -> list[str]:
    """The flags with which this Java does not warn of what Pulsar's jars do."""
    if major(home) < WARNS_SINCE:
        return []
    return ["--enable-native-access=ALL-UNNAMED", "--sun-misc-unsafe-memory-access=allow"]
