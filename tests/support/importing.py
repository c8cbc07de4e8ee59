"""Compares another proxy with this one on its imported configuration: the same names at the same addresses."""

from __future__ import annotations

import argparse
import io
import socket
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from twisted.trial.unittest import TestCase

from sniproxy.cli.migration import run_export, run_import
from tests.support.differential import reached
from tests.support.sockets import TIMEOUT_S
from tests.support.twistdprocess import TwistdProcess

Address = tuple[str, int]
REFUSALS = ("alert ", "closed", "reset", "TLS")


def imported(format: str, *files: Path) -> tuple[str, str]:
    """The TOML and the report of ``sniproxyctl import``."""
    out, error = io.StringIO(), io.StringIO()
    options = argparse.Namespace(files=[str(file) for file in files], format=format, json=False, cluster_domain=None)
    run_import(options, io.BytesIO(), out, error)
    return out.getvalue(), error.getvalue()


def exported(format: str, file: Path) -> tuple[str, str]:
    """The text and the report of ``sniproxyctl export``."""
    out, error = io.StringIO(), io.StringIO()
    options = argparse.Namespace(file=str(file), format=format, json=False, cluster_domain=None)
    run_export(options, io.BytesIO(), out, error)
    return out.getvalue(), error.getvalue()


def run_ours(case: TestCase, folder: Path, toml: str) -> TwistdProcess:
    """Run this proxy with a configuration."""
    file = folder / "sniproxy.toml"
    # Its output is a pipe that nobody reads, which lines of many connections would fill.
    log = "" if "[access_log]" in toml else f'\n[access_log]\npath = "{folder.absolute()}/access.jsonl"\n'
    file.write_text(toml + log)
    return TwistdProcess(case, ["--config", str(file)])


def listens(address: Address) -> bool:
    """Whether something listens there."""
    try:
        socket.create_connection(address, timeout=TIMEOUT_S).close()
    except ConnectionRefusedError:
        return False
    return True


def variants(*words: str) -> list[str | None]:
    """Names that resemble these names: below and above them, longer and shorter, odd case, a trailing dot, and none."""
    found: dict[str | None, None] = {None: None}
    for word in words:
        head, _, parent = word.partition(".")
        for name in (
            word, f"x.{word}", f"a.b.{word}", f"y-1.{word}", f"x{word}", f"{word}x", f"{word}.x", f"{word}.org", parent,
            word[1:], word[:-1], word.replace(".", "x"), word.replace(".", "-"), f"{head}.org", f"{head}0.{parent}",
            f"www.{word}", f"www.{parent}", f"{head}.{head}.{parent}", f"{head}.w.{parent}", f"z{word}",
        ):  # fmt: skip
            if name and not name.startswith(".") and not name.endswith("."):
                found |= dict.fromkeys((name, name.title(), name.upper(), f"{name}."))
    return list(found)


def normal(name: str | None) -> str | None:
    """A name as this proxy compares it."""
    return None if name is None else name.lower().removesuffix(".")


def answers(addresses: Mapping[str, Address], names: Iterable[str | None]) -> dict[tuple[str, str | None], str]:
    """What each name reaches at each address; every refusal is ``refused``."""
    found = {}
    for key, address in addresses.items():
        for name in names:
            answer = reached(address, name)
            found[key, name] = "refused" if answer.startswith(REFUSALS) else answer
    return found


def unlike(theirs: Mapping[tuple[str, str | None], str], ours: Mapping[tuple[str, str | None], str]) -> list[str]:
    """The differences, a line each. Names in odd case and with a trailing dot are the same name here."""
    return [
        f"{name!r} at {key}: {theirs[key, normal(name)]}, here {answer}"
        for (key, name), answer in ours.items()
        if answer != theirs[key, normal(name)]
    ]


def normal_too(names: Sequence[str | None]) -> list[str | None]:
    """The names and their normal forms."""
    return list(dict.fromkeys([*names, *map(normal, names)]))
