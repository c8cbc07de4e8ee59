"""From an nginx configuration to listeners and rules. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sniproxy.migrate.formed import formed_policy
from sniproxy.migrate.model import Imported, Notes, Place, SourceFile
from sniproxy.migrate.nginx.chains import links_of
from sniproxy.migrate.nginx.destinations import Destinations
from sniproxy.migrate.nginx.directives import Directive
from sniproxy.migrate.nginx.includes import Loader
from sniproxy.migrate.nginx.limits import limits_of, timeouts_of
from sniproxy.migrate.nginx.listeners import Group, Listeners, groups_of
from sniproxy.migrate.nginx.maps import read_map
from sniproxy.migrate.nginx.servers import note_others, read_server
from sniproxy.migrate.nginx.upstreams import Upstreams
from sniproxy.migrate.nginx.variables import Variables

_MAIN = {
    "worker_processes": "write workers = NUMBER at the top of the file",
    "user": "an option of the program: twistd --uid, --gid",
    "pid": "an option of the program: twistd --pidfile",
    "http": "only the stream context is read",
    "mail": "only the stream context is read",
}


def read(files: Sequence[SourceFile]) -> Imported:
    """Read nginx.conf and the files that it includes, or files of its stream context.

    @raise MigrateError: a file is malformed.
    """
    report = Notes()
    stream, main = Loader(files, report).stream()
    for one in main:
        if one.name in _MAIN:
            report.left_out(one.place, _MAIN[one.name])
    servers = [read_server(one, stream, report) for one in stream if one.name == "server" and one.block is not None]
    links = links_of(servers)
    upstreams = Upstreams(report, links)
    for one in stream:
        if one.name == "upstream" and one.block is not None:
            upstreams.add(one)
    variables = _variables(stream, report)
    note_others([one for one in stream if one.name != "server"], report)
    destinations = Destinations(upstreams, report)
    groups = groups_of(servers, report)
    listeners = Listeners(variables, destinations, report, links)
    for group in groups:
        listeners.add(group, several=len(groups) > 1)
    found = Imported(listeners=listeners.tables, rules=listeners.rules, report=report)
    found.resolvers = destinations.dns.tables
    found.health = upstreams.health
    listening = [server for server in servers if server.listens]
    found.timeouts = timeouts_of(listening, report)
    found.limits = limits_of(listening, stream, report)
    if listeners.rules:
        _note_differences(groups, variables, report)
    if destinations.ports:
        found.policy = formed_policy(destinations.ports, groups[0].place, report)
    # A value that several names or listeners have is worked out several times.
    report.notes[:] = dict.fromkeys(report.notes)
    return found


def _variables(stream: Sequence[Directive], report: Notes) -> Variables:
    found = Variables(report)
    for one in stream:
        if one.name == "map" and one.block is not None:
            read = read_map(one, report)
            if read is not None:
                found.maps[read.name] = read
        elif one.name in ("geo", "split_clients") and one.block is not None and one.arguments:
            found.chosen[one.arguments[-1].removeprefix("$")] = (_usual(one), one.place)
        elif one.name in ("js_set", "js_var", "perl_set") and one.first.startswith("$"):
            found.chosen[one.first[1:]] = ("", one.place)
    return found


def _usual(block: Directive) -> str:
    """The value of C{geo} for other addresses; of C{split_clients}, for the rest."""
    values: Mapping[str, str] = {line.name: line.first for line in block.block or ()}
    return values.get("default") or values.get("*") or ""


def _note_differences(groups: Sequence[Group], variables: Variables, report: Notes) -> None:
    place = groups[0].place
    report.different(
        Place(place.file, place.line, place.key),
        "connections that are not TLS are refused; nginx takes them as hellos without a name. An IP address sent as a "
        "name matches only a route for exactly this address, never a default",
    )
    of_names = [found for found in variables.maps.values() if "server_name" in found.source]
    first = next((one for found in of_names for one in found.expressions if not one.ignore_case), None)
    if first is not None:
        report.different(
            first.place, "nginx compares the case of letters as the client sends them; here names are in lower case"
        )
