"""Reads one ACL: a sample, flags and patterns, as what it means for hellos on a listener. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from sniproxy.migrate.haproxy.clients import Clients, parse_networks
from sniproxy.migrate.haproxy.lists import Entry, Files, read_list, read_map
from sniproxy.migrate.haproxy.literals import Literal, Unknown
from sniproxy.migrate.haproxy.matching import METHODS, Subject, name_patterns
from sniproxy.migrate.haproxy.names import Member, Names
from sniproxy.migrate.haproxy.numbers import matches_number
from sniproxy.migrate.haproxy.samples import (
    BadSample,
    MapCall,
    Sample,
    is_server_name,
    parse_sample,
    subject,
    with_variables,
)
from sniproxy.migrate.model import ANY, Notes, Place

_ALWAYS = ("always_true", "wait_end", "req.ssl_hello_type", "req_ssl_hello_type")
_NEVER = ("always_false", "req.proto_http", "req_proto_http", "method", "path", "hdr", "req.hdr", "ssl_c_used")
_SIZES = ("req.len", "req_len")
_VERSIONS = ("req.ssl_ver", "req_ssl_ver")
_SMALL, _LARGE = "100", "16000"
_COUNTS = re.compile(r"(?:src|sc\d?|fe|be|table|srv)_.*|(?:src|sc\d?)_|stopping|queue|avg_queue|connslots|nbsrv")
_UP = "it asks how many servers are up; a route tries its targets in turn, and [health] checks them"
_LIMITS = "it limits connections; see max_connections_per_client and rate_per_client in [limits]"


@attrs.frozen
class Scene:
    """Where conditions are read.

    @ivar port: the listener's; None: unknown. @ivar own_port: the placeholder for it.
    @ivar terminates: the listener ends TLS.
    @ivar variables: what C{set-var} stores. @ivar sensitive: gets the places of texts that are compared with case.
    """

    files: Files
    report: Notes
    port: int | None = None
    terminates: bool = False
    variables: Mapping[str, Sample] = attrs.field(factory=dict)
    sensitive: list[Place] = attrs.field(factory=list)
    own_port: str = "{port}"


@attrs.frozen
class AclWords:
    """An ACL without its name. @ivar words: the sample, flags and patterns."""

    words: tuple[str, ...]
    place: Place


@attrs.define
class _Flags:
    ignores_case: bool = False
    method: str | None = None
    files: list[str] = attrs.field(factory=list)
    patterns: Sequence[str] = ()


def literals(acl: AclWords, scene: Scene) -> list[Literal]:
    """What an ACL means; one of the literals must hold."""
    if not acl.words:
        return [Unknown("the condition is empty")]
    try:
        sample = with_variables(parse_sample(acl.words[0]), scene.variables)
        flags = _flags(acl.words[1:])
        named = is_server_name(sample, scene.terminates)
        if named is None:
            ends = "ends" if scene.terminates else "does not end"
            text = f"{sample.name} has no value on a listener that {ends} TLS: the condition never holds, as in HAProxy"
            scene.report.different(acl.place, text)
            return [False]
        if named:
            return [_names(sample, flags, acl.place, scene)]
        if sample.name == "src" and not sample.converters:
            return [_clients(flags, acl.place, scene)]
    except BadSample as error:
        return [Unknown(str(error))]
    return [_constant(sample, flags, scene)]


def _flags(words: Sequence[str]) -> _Flags:
    """@raise BadSample: a flag is unknown."""
    found, at = _Flags(), 0
    while at < len(words) and words[at].startswith("-") and len(words[at]) > 1:
        flag = words[at]
        argument = words[at + 1] if at + 1 < len(words) else ""
        at += 1
        if flag == "--":
            break
        if flag == "-i":
            found.ignores_case = True
        elif flag in ("-f", "-m", "-u"):
            at += 1
            if flag == "-f":
                found.files.append(argument)
            elif flag == "-m":
                found.method = argument
        elif flag != "-n":
            raise BadSample(f"the flag {flag} has no counterpart")
    found.patterns = words[at:]
    return found


def _texts(flags: _Flags, place: Place, scene: Scene) -> list[Entry]:
    """The patterns of the line and of its files. @raise BadSample: a file was not given."""
    found = [Entry(text, "", place) for text in flags.patterns]
    for path in flags.files:
        file = scene.files.find(path)
        if file is None:
            raise BadSample(f"the file {path} was not given; name it, too")
        found += read_list(file)
    return found


def _names(sample: Sample, flags: _Flags, place: Place, scene: Scene) -> Names:
    """@raise BadSample: it has no counterpart."""
    what, in_map = subject(sample.converters, flags.ignores_case)
    method = flags.method or sample.suffix or "str"
    if in_map is not None:
        return _mapped(what, in_map, flags, place, scene)
    if method == "found":
        return Names(((ANY, place),))
    if method not in METHODS:
        raise BadSample(f"-m {method} has no counterpart")
    texts = _texts(flags, place, scene)
    return Names(tuple(members(what, method, texts, scene)))


def members(what: Subject, method: str, texts: Iterable[Entry], scene: Scene) -> list[Member]:
    """The patterns of the names that one of the texts matches."""
    found: list[Member] = []
    for entry in texts:
        patterns = name_patterns(what, method, entry.key, entry.place, scene.report)
        if patterns and what.is_sensitive and entry.key.lower() != entry.key.upper():
            scene.sensitive.append(entry.place)
        found += [(pattern, entry.place) for pattern in patterns]
    return found


def map_entries(in_map: MapCall, scene: Scene) -> list[Entry]:
    """The entries of a map, in the order in which HAProxy tries them. @raise BadSample: the file was not given."""
    file = scene.files.find(in_map.path)
    if file is None:
        raise BadSample(f"the map {in_map.path} was not given; name it, too")
    found = read_map(file)
    # The longest prefix wins (HAProxy keeps prefixes in a tree); other maps are tried in the order of the file.
    return sorted(found, key=lambda entry: -len(entry.key)) if in_map.method == "beg" else found


def _mapped(what: Subject, in_map: MapCall, flags: _Flags, place: Place, scene: Scene) -> Names:
    """The names whose value in a map is one of the patterns, or that have a value.

    @raise BadSample: it has no counterpart.
    """
    method = flags.method or "str"
    if method not in ("str", "found"):
        raise BadSample(f"-m {method} behind a map has no counterpart")
    if method == "found" and in_map.default is not None:
        return Names(((ANY, place),))
    entries = map_entries(in_map, scene)
    if method == "str":
        texts = [entry.key for entry in _texts(flags, place, scene)]
        if in_map.method != "str" or in_map.default in texts:
            raise BadSample(f"values of map_{in_map.method} or a default value in a condition have no counterpart")
        values = {entry.key: entry.value for entry in reversed(entries)}  # the first line of a key counts
        entries = [entry for entry in entries if values[entry.key] in texts]
    return Names(tuple(members(what, in_map.method, entries, scene)))


def _clients(flags: _Flags, place: Place, scene: Scene) -> Clients:
    """@raise BadSample: it has no counterpart."""
    if flags.method not in (None, "ip"):
        raise BadSample(f"src -m {flags.method} has no counterpart")
    try:
        return parse_networks(entry.key for entry in _texts(flags, place, scene))
    except ValueError as error:
        raise BadSample(f"src: {error}; write addresses") from error


def _constant(sample: Sample, flags: _Flags, scene: Scene) -> Literal:
    """A condition on what is known of every hello, or of the listener."""
    name = sample.name
    if sample.converters or flags.method not in (None, "int", "bool", "found"):
        return Unknown(f"{sample.text} is not known before a connection comes")
    if name in _ALWAYS:
        return not flags.patterns or matches_number(flags.patterns, "1") is True
    if name in _NEVER:
        return False
    if name in _SIZES:
        return _same([matches_number(flags.patterns, size) for size in (_SMALL, _LARGE)], sample)
    if name in _VERSIONS:
        return _same([matches_number(flags.patterns, version) for version in ("3.1", "3.3")], sample)
    if name == "dst_port" and scene.port is not None:
        return _same([matches_number(flags.patterns, str(scene.port))], sample)
    if _COUNTS.fullmatch(name):
        return Unknown(f"{sample.text}: {_UP if name == 'nbsrv' else _LIMITS}", limits=True)
    return Unknown(f"{sample.text} is not known before a connection comes")


def _same(results: Sequence[bool | None], sample: Sample) -> Literal:
    first = results[0]
    if first is None or any(one is not first for one in results):
        return Unknown(f"{sample.text} differs from connection to connection")
    return first
