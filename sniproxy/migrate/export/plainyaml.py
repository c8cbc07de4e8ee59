"""YAML without aliases, which some readers do not know. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

WIDTH = 120


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def to_yaml(documents: Sequence[object]) -> str:
    """The text of documents, with keys in their order."""
    return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, width=WIDTH)
