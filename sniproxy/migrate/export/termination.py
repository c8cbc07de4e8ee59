"""The files of a listener that terminates TLS, as other proxies read them. Pure.

The writers do not open files. A path is a file if it ends as the files do that this proxy reads from a folder.
"""

from __future__ import annotations

from collections.abc import Iterator

from sniproxy.config.schema import ListenerTable
from sniproxy.migrate.model import Notes, Place

SUFFIXES = (".pem", ".crt", ".cer", ".key")
KEYS = ("certificates", "upstream_trust", "upstream_certificate")


def written_files(table: ListenerTable) -> Iterator[tuple[str, str]]:
    """The keys of a listener that name files, with the paths."""
    for key in KEYS:
        value = getattr(table, key)
        if value is not None:
            yield key, value


def folder_of(table: ListenerTable) -> str | None:
    """The first key that seems to name a folder. None: all name files."""
    return next((key for key, path in written_files(table) if not path.endswith(SUFFIXES)), None)


def report_files(table: ListenerTable, place: Place, program: str, report: Notes) -> None:
    """Report what another proxy does otherwise with the files. @param program: its name."""
    report.different(
        place,
        f"certificates: {program} takes the first certificate and key of a file, and reads files when it is reloaded; "
        f"this proxy takes all, and reads changed files",
    )
    if "upstream_trust" in dict(written_files(table)):
        why = f"{program} trusts authorities only; this proxy trusts the servers' own certificates in it, too"
        report.different(place, f"upstream_trust: {why}")
    for key, path in written_files(table):
        if not path.startswith("/"):
            report.different(place, f"{key}: {path}: {program} looks for it in another folder; write the whole path")
