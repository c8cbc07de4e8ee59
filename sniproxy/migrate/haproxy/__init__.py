"""Reads haproxy.cfg in TCP mode, with its maps and lists. Pure.

HAProxy takes the first C{use_backend} whose condition holds. A condition is a tree of ACLs; L{conditions} turns it into
alternatives of sets of names and clients (L{names}, L{clients}), L{entries} lists the rules of each frontend with those
of its backends, and L{decisions} makes rules on names of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from sniproxy.config.schema import PolicyTable
from sniproxy.migrate.formed import formed_policy
from sniproxy.migrate.haproxy.listeners import Frontends, Listening, named
from sniproxy.migrate.haproxy.lists import Files
from sniproxy.migrate.haproxy.sections import PROXIES, Section, is_configuration, read_sections
from sniproxy.migrate.haproxy.servers import HEADER_PORT, read_servers
from sniproxy.migrate.haproxy.settings import read_health, read_limits, read_timeouts
from sniproxy.migrate.haproxy.unread import report_unread
from sniproxy.migrate.model import Imported, MigrateError, Notes, Rule, SourceFile


def read(files: Sequence[SourceFile]) -> Imported:
    """Read configurations, as HAProxy reads several C{-f}, with the maps and lists that they name.

    @return: nothing of no files. @raise MigrateError: a file cannot be read, or none has a section.
    """
    configurations = [file for file in files if is_configuration(file)]
    if files and not configurations:
        names = ", ".join(file.name for file in files)
        raise MigrateError(f"{names}: no section as frontend, listen or backend; name haproxy.cfg")
    report = Notes()
    sections = read_sections(configurations, report)
    for section in sections:
        report_unread(section, report)
    used = [section for section in sections if not section.is_disabled]
    backends = {section.name: section for section in used if section.kind in ("backend", "listen")}
    proxies = [section for section in used if section.kind in PROXIES and not section.is_http]
    # Their notes come with the rules that use them.
    servers = [server for section in proxies for server in read_servers(section.lines, None, Notes())]
    frontends = Frontends(backends, Files([file for file in files if file not in configurations]), servers, report)
    found: list[tuple[Section, Listening]] = []
    for section in used:
        if section.kind in ("frontend", "listen") and not (section.is_http and _report_http(section, report)):
            found += [(section, one) for one in frontends.read(section)]
    tables = named(found)
    timed = [*proxies, *(section for section in used if section.kind == "global")]
    imported = Imported(
        tables,
        _rules(
            [
                (table.name or table.endpoint, one.rules)
                for (_, table), (_, one) in zip(tables, found, strict=True)
                if not table.plaintext
            ]
        ),
        timeouts=read_timeouts(timed, report),
        health=read_health(proxies, servers, report),
        limits=read_limits(used, report),
        policy=_policy([one for _, one in found], report),
    )
    return attrs.evolve(imported, report=Notes(list(dict.fromkeys(report.notes))))


def _policy(found: Sequence[Listening], report: Notes) -> PolicyTable | None:
    """What allows targets whose port a header names. None: there are none."""
    for one in found:
        for rule in one.rules:
            if any(HEADER_PORT in target for target in rule.targets):
                text = (
                    "the port is that of a PROXY protocol header: write the ports of the load balancer into allow_ports"
                )
                report.different(rule.place, text)
                return formed_policy((), rule.place, report)
    return None


def _report_http(section: Section, report: Notes) -> bool:
    """Report a frontend that reads HTTP; always true."""
    stats = any(section.find("stats"))
    cure = "see [admin] for statistics" if stats else "a route leads TLS by its server name only"
    ends_tls = any("ssl" in line.words for line in section.find("bind"))
    report.left_out(section.place, f"mode http: {cure}", decides=ends_tls)
    return True


def _rules(found: Sequence[tuple[str, Sequence[Rule]]]) -> list[Rule]:
    """The rules of all TLS listeners; written once, without a listener, if they are the same for all."""
    lists = [list(rules) for _, rules in found]
    if all(rules == lists[0] for rules in lists):
        return lists[0] if lists else []
    return [attrs.evolve(rule, listener=name) for name, rules in found for rule in rules]
