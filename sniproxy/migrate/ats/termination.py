"""Listeners that end TLS, for ``partial_blind_route``. Pure.

Traffic Server decides for each name whether it ends TLS; here a listener does, for all of its names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import attrs
from msgspec.structs import replace

from sniproxy.migrate.ats.entries import PARTIAL, TUNNEL, Entry
from sniproxy.migrate.ats.files import Files
from sniproxy.migrate.ats.ports import Port
from sniproxy.migrate.ats.records import Records
from sniproxy.migrate.model import Notes, Place

SYSTEM_TRUST = "/etc/ssl/certs/ca-certificates.crt"
"""Where Debian has the authorities that OpenSSL trusts, as Traffic Server does without a setting."""

_FIELD = re.compile(r"""(\w+)\s*=\s*("[^"\n]*"|'[^'\n]*'|\S+)""")


@attrs.frozen
class _Certificate:
    """@ivar paths: of certificates. @ivar key: path of the key; empty: it is with the certificate."""

    place: Place
    paths: Sequence[str]
    key: str


def end_tls(
    ports: Sequence[Port], entries: Sequence[Entry], files: Files, records: Records, notes: Notes
) -> list[Port]:
    """The same ports. Those whose routes are all C{partial_blind_route} end TLS, if their certificate is known."""
    if not any(entry.route == PARTIAL for entry in entries):
        return list(ports)
    found = list(_certificates(files))
    folder = records.get("ssl.server.cert.path")
    if not found:
        return list(ports)
    ending = [port for port in ports if _ends(port, entries)]
    certificates = _chosen(found, folder.value if folder else "", notes) if ending else ""
    return [_ended(port, certificates, found[0].place, records, notes) if port in ending else port for port in ports]


def _ends(port: Port, entries: Sequence[Entry]) -> bool:
    routes = {entry.route for entry in entries if entry.has_port(port.number)}
    return PARTIAL in routes and TUNNEL not in routes


def _chosen(found: Sequence[_Certificate], folder: str, notes: Notes) -> str:
    """The certificate, or the folder of several."""
    paths = [path for one in found for path in one.paths]
    for one in found:
        if one.key:
            notes.different(
                one.place, f"the key {one.key} must be in the PEM file of its certificate, or in the folder"
            )
    if len(paths) == 1:
        return _join(folder, paths[0])
    certificates = folder.rstrip("/") or "."
    notes.different(found[0].place, f"{len(paths)} certificates: all of the folder {certificates} are read")
    return certificates


def _ended(port: Port, certificates: str, place: Place, records: Records, notes: Notes) -> Port:
    trust = records.get("ssl.client.CA.cert.filename")
    trust_folder = records.get("ssl.client.CA.cert.path")
    upstream = SYSTEM_TRUST
    if trust is not None:
        upstream = _join(trust_folder.value if trust_folder else "", trust.value)
    notes.different(
        place,
        f"{port.table.endpoint} ends TLS with {certificates}; the target's certificate is always verified, for the "
        f"client's server name, by {upstream}",
    )
    return attrs.evolve(port, table=replace(port.table, certificates=certificates, upstream_trust=upstream))


def _join(folder: str, path: str) -> str:
    return path if path.startswith("/") or not folder else f"{folder.rstrip('/')}/{path}"


def has_certificates(files: Files) -> bool:
    """Whether the files name a certificate."""
    return any(True for _ in _certificates(files))


def _certificates(files: Files) -> Iterator[_Certificate]:
    for file in files.multicerts:
        for number, line in enumerate(file.text.splitlines(), 1):
            fields = {key: value.strip("'\"") for key, value in _FIELD.findall(line.partition("#")[0])}
            yield from _certificate(Place(file.name, number, "ssl_cert_name"), fields)
    for items in files.certificates:
        for item in items.list():
            texts = {key: node.text() for key, node in item.items()}
            yield from _certificate(attrs.evolve(item.place, key="ssl_cert_name"), texts)


def _certificate(place: Place, fields: dict[str, str]) -> Iterator[_Certificate]:
    paths = [path.strip() for path in fields.get("ssl_cert_name", "").split(",") if path.strip()]
    if paths:
        yield _Certificate(place, paths, fields.get("ssl_key_name", ""))
