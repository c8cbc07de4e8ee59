"""Skips tests whose Python packages `make test` does not install."""

from __future__ import annotations

from importlib.util import find_spec


def missing(package: str) -> tuple[bool, str]:
    """The arguments of `unittest.skipIf` for a test that needs a package of the `dev` extra."""
    return find_spec(package) is None, f"needs {package}: pip install '.[dev]'"
