"""Reads all files of a Traffic Server. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from sniproxy.migrate.ats.entries import IP_ALLOW, Entry, read_entries
from sniproxy.migrate.ats.files import Files, sort_files
from sniproxy.migrate.ats.ports import read_ports
from sniproxy.migrate.ats.records import read_records
from sniproxy.migrate.ats.rules import RuleMaker, listed
from sniproxy.migrate.ats.serverconfig import read_server_config
from sniproxy.migrate.ats.settings import note_rest, set_policy, set_tables
from sniproxy.migrate.ats.termination import end_tls, has_certificates
from sniproxy.migrate.model import Imported, MigrateError, Notes, Place, SourceFile

_UNKNOWN_NAMES = "a name without an entry: Traffic Server ends TLS itself and speaks HTTP; refused here"
_WILDCARDS = (
    "*.a.test is a.test's subdomains; Traffic Server 9 compares only the beginning, so x.a.test.b.test passes, too"
)
_ADDRESSES = "* is not for a server name that is an IP address here: it needs a route with exactly this address"
_DOTS = "a name with a final dot is the same name here, and another one in Traffic Server"


def read(files: Sequence[SourceFile]) -> Imported:
    """Read C{sni.yaml} or C{ssl_server_name.config}, with records and the files that they name, in any order.

    @raise MigrateError: a file is malformed, or there is none with routes or records.
    """
    found, sorted_files = Imported(), sort_files(files)
    notes = found.report
    if files and not sorted_files.has_routes and not sorted_files.has_records:
        names = ", ".join(file.name for file in files)
        raise MigrateError(f"{names}: no sni.yaml, ssl_server_name.config or records.yaml among these files")
    entries = _entries(sorted_files, notes)
    if not entries:
        notes.left_out(Place("sni.yaml"), "no entries: nothing is routed", decides=True)
    records = read_records(sorted_files.records, sorted_files.configs, notes)
    ports = read_ports(records, sorted_files.has_records, entries, notes)
    ports = end_tls(ports, entries, sorted_files, records, notes)
    ending = frozenset(port.name for port in ports if port.table.certificates is not None)
    routed = RuleMaker(ports, sorted_files, ending, has_certificates(sorted_files), notes).make(entries)
    found.listeners = [(port.place, port.table) for port in ports]
    found.rules = list(listed(routed))
    set_tables(found, records)
    set_policy(found, routed, ports, records, sorted_files)
    if entries:
        _note_differences(entries, notes)
    _drop_lists(entries, sorted_files)
    note_rest(records, sorted_files, notes)
    return found


def _entries(files: Files, notes: Notes) -> list[Entry]:
    lists = [*files.sni, *(read_server_config(file) for file in files.server_configs)]
    return [entry for items in lists for entry in read_entries(items, notes)]


def _note_differences(entries: Sequence[Entry], notes: Notes) -> None:
    """What differs in general, once."""
    place = attrs.evolve(entries[0].place, line=0)
    if not any(entry.fqdn == "*" for entry in entries):
        notes.different(place, _UNKNOWN_NAMES)
    if any(entry.fqdn.startswith("*.") for entry in entries):
        notes.different(place, _WILDCARDS)
    if any(entry.fqdn == "*" for entry in entries):
        notes.different(place, _ADDRESSES)
    notes.different(place, _DOTS)


def _drop_lists(entries: Sequence[Entry], files: Files) -> None:
    """Lists of addresses that entries name are read; all other files are not."""
    named = [files.other(text[1:].strip()) for entry in entries if (text := entry.text(IP_ALLOW)).startswith("@")]
    files.others = [file for file in files.others if file not in named]
