"""Finds the Python that runs the measured proxy, and says how it was built.

A build with ``--enable-optimizations`` (profile-guided) uses a tenth to a fifth less CPU time for the same code, so the
results name the build. Distributions optimise theirs and may not say so in ``CONFIG_ARGS``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from attrs import frozen

from bench import ROOT

CHOICE = "BENCH_PYTHON"
"""An environment variable: the Python to use instead of the one that `chosen` finds."""

_PATH = "/usr/local/bin:/usr/bin"
_MINOR = f"python{sys.version_info.major}.{sys.version_info.minor}"
_ASK = (
    "import platform, sysconfig, attrs, cryptography, msgspec, sniproxy, twisted;"
    "print(platform.python_implementation(), platform.python_version());"
    "print(sysconfig.get_config_var('CONFIG_ARGS') or '')"
)
_OPTIMISATIONS = ("--enable-optimizations", "--with-lto")


@frozen
class Python:
    """An interpreter. ``version``: for example ``CPython 3.11.7``. ``options``: what it was configured with."""

    program: str
    version: str
    options: tuple[str, ...]

    @property
    def optimised(self) -> bool:
        """Whether its configuration says that it is profile-guided."""
        return _OPTIMISATIONS[0] in self.options

    @property
    def packaged(self) -> bool:
        """Whether it is the distribution's."""
        return "--prefix=/usr" in self.options

    def __str__(self) -> str:
        found = [option for option in self.options if option.partition("=")[0] in _OPTIMISATIONS]
        if self.optimised:
            return f"{self.version} ({', '.join(found)})"
        return f"{self.version} ({'built by the distribution' if self.packaged else 'not optimised'})"


def environment(root: Path, *more: Path) -> dict[str, str]:
    """The environment in which any Python of this version imports the code of ``root`` and this venv's packages.

    ``more``: folders to search for plugins.
    """
    folders = [str(root), *map(str, more), sysconfig.get_path("platlib")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(folders)}


def asked(program: str) -> Python | None:
    """Ask an interpreter. None: it does not run, or cannot import what the proxy needs."""
    try:
        command, env = [program, "-c", _ASK], environment(ROOT)
        done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    version, _, options = done.stdout.partition("\n")
    return Python(program, version, tuple(shlex.split(options)))


def best(found: Iterable[Python]) -> Python:
    """The first optimised one; else the first packaged one; else the first. Raises `ValueError` if there is none."""
    pythons = list(found)
    if not pythons:
        raise ValueError("no Python can run the proxy")
    return max(pythons, key=lambda one: (one.optimised, one.packaged))  # the first of the greatest


@cache
def chosen() -> Python:
    """The Python of the measured proxy: that of the environment variable `CHOICE`, else the `best` of this version.

    Raises `ValueError` if it cannot run the proxy.
    """
    programs: list[str | None]
    programs = [os.environ[CHOICE]] if CHOICE in os.environ else [sys.executable, shutil.which(_MINOR, path=_PATH)]
    return best(one for program in programs if program is not None and (one := asked(program)) is not None)
