"""The revision that the goals of new tunnels compare with, taken out of the repository's history."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

from bench import ROOT
from bench.childprocess import LoadError

REVISION = "1efa5f3baab956c49c01fbe59aeb0d072a9c43ca"
"""The last one in which the Python relay moves the bytes of plain tunnels."""


def checkout(revision: str = REVISION, root: Path = ROOT) -> Path:
    """A folder with the code of a revision, below ``build``; made once. Raises `LoadError` without that history."""
    folder = root / "build" / "revisions" / revision
    if folder.exists():
        return folder
    command = ["git", "-C", str(root), "archive", revision, "sniproxy", "twisted"]
    try:
        archive = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise LoadError(f"skipped: no revision {revision[:7]} here; needs git and the whole history") from error
    folder.parent.mkdir(parents=True, exist_ok=True)
    # Another run may do the same, so the complete folder appears at once.
    made = Path(tempfile.mkdtemp(dir=folder.parent))
    subprocess.run(["tar", "-x", "-C", str(made)], input=archive, check=True)
    made.rename(folder)
    return folder
