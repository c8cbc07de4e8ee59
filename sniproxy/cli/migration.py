"""The commands ``import`` and ``export``: from and to the configurations of other proxies."""

from __future__ import annotations

import argparse
from typing import BinaryIO, TextIO

from sniproxy.cli.exitstatus import INCOMPLETE
from sniproxy.cli.failure import CommandFailed
from sniproxy.config import tomlslices
from sniproxy.config.parser import parse
from sniproxy.config.schema import ConfigError, convert, each_error
from sniproxy.migrate.detect import detect
from sniproxy.migrate.document import to_toml
from sniproxy.migrate.formats import Format
from sniproxy.migrate.model import Imported, MigrateError, Notes, Place, SourceFile
from sniproxy.migrate.ordering import ordered
from sniproxy.migrate.readers import read, write
from sniproxy.migrate.report import decides, note_routes, to_json, to_text
from sniproxy.util.text import printable

MAX_BYTES = 64 * 1024 * 1024
"""Maximum size of a file to import or export."""


def run_import(options: argparse.Namespace, input: BinaryIO, out: TextIO, error: TextIO) -> int:
    """Run the command ``import``. @return: the exit status. @raise CommandFailed: nothing could be imported."""
    files = [_read(name, input) for name in options.files]
    try:
        chosen = Format(options.format) if options.format else detect(files)
        found = read(chosen, files, _cluster_domain(options, chosen))
    except MigrateError as problem:
        raise CommandFailed(str(problem)) from problem
    names = [table.name or f"listener-{number}" for number, (_, table) in enumerate(found.listeners)]
    routes = ordered(found.rules, names, found.report)
    text = to_toml(found, routes, [file.name for file in files])
    found.report.notes[:] = dict.fromkeys(found.report.notes)  # rules of several listeners are noted for each
    note_routes(routes, found.report)
    _check(text, found)
    return _finish(text, found.report, options.json, out, error)


def _check(text: str, found: Imported) -> None:
    """Report what our own parser refuses, for example no listener."""
    try:
        parse(text, "the result")
    except ConfigError as problem:
        for one in each_error(problem):
            found.report.left_out(Place("the result"), f"not valid yet: {one}", decides=True)


def run_export(options: argparse.Namespace, input: BinaryIO, out: TextIO, error: TextIO) -> int:
    """Run the command ``export``. @return: the exit status. @raise CommandFailed: the configuration is invalid."""
    file = _read(options.file, input)
    try:
        parse(file.text, file.name)
        cluster_domain = _cluster_domain(options, options.format)
        made = write(options.format, convert(tomlslices.loads(file.text), file.name), cluster_domain)
    except ConfigError as problem:
        raise CommandFailed(str(problem)) from problem
    return _finish(made.text, made.report, options.json, out, error)


def _cluster_domain(options: argparse.Namespace, chosen: str) -> str | None:
    """@raise CommandFailed: the option is for another format."""
    found: str | None = options.cluster_domain
    if found is not None and chosen != Format.TLSROUTE:
        raise CommandFailed(f"--cluster-domain is for {Format.TLSROUTE}, not for {chosen}; leave it out")
    return found


def _finish(text: str, report: Notes, as_json: bool, out: TextIO, error: TextIO) -> int:
    out.write(text)
    out.flush()
    error.write(to_json(report.notes) if as_json else to_text(report.notes))
    return INCOMPLETE if decides(report.notes) else 0


def _read(name: str, input: BinaryIO) -> SourceFile:
    try:
        if name == "-":
            data = input.read(MAX_BYTES + 1)
        else:
            with open(name, "rb") as file:
                data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise CommandFailed(f"{printable(name)}: larger than {MAX_BYTES // 1024 // 1024} MiB")
        return SourceFile("standard input" if name == "-" else name, data.decode())
    except OSError as problem:
        raise CommandFailed(f"cannot read {printable(name)}: {problem.strerror}") from problem
    except UnicodeDecodeError as problem:
        raise CommandFailed(f"{printable(name)}: not UTF-8 at byte {problem.start}") from problem
