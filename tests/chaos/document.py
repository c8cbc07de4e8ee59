"""Writes tables into docs/explanation/chaos.md, with the machine and the revision."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable

from bench import ROOT
from bench.table import write_into

DOCUMENT = ROOT / "docs" / "explanation" / "chaos.md"


def only_table(said: str) -> str:
    """The lines of a table in Markdown. Pure."""
    return "".join(f"{line}\n" for line in said.splitlines() if line.startswith("|"))


def write(name: str, said: Iterable[str]) -> None:
    """Write a table at the comments of that name. ``said``: the lines above it, and the table."""
    git = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
    revision = subprocess.run(git, capture_output=True, text=True, check=True, timeout=60).stdout.strip()
    *lines, table = said
    machine = f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()} {platform.release()}"
    above = "".join(f"{line};\n" for line in lines)
    write_into(DOCUMENT, name, f"{above}{machine}; revision {revision}.\n\n{table}")
