"""Sample expressions of HAProxy: C{req.ssl_sni,lower,map(names.map)}. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import attrs

from sniproxy.migrate.haproxy.matching import METHODS, Subject
from sniproxy.migrate.haproxy.words import split_arguments

_CALL = re.compile(r"([A-Za-z_][A-Za-z0-9_.-]*)(?:\((.*)\))?", re.DOTALL)
_SUFFIX = re.compile(r"(ssl_fc_sni|req\.ssl_sni|req_ssl_sni)_(beg|end|reg|sub|dom|dir|str)")
_MAP = re.compile(rf"map(?:_({'|'.join(METHODS)}))?(?:_str)?")
_FIRST_LABEL = ("1,.", "1,'.'", '1,"."')


class BadSample(ValueError):
    """An expression that is not understood. The message says which part."""


@attrs.frozen
class Call:
    """A fetch or converter with its arguments."""

    name: str
    arguments: str = ""


@attrs.frozen
class MapCall:
    """The converter C{map}. @ivar default: the value of names without a key. None: they have none."""

    method: str
    path: str
    default: str | None = None


@attrs.frozen
class Sample:
    """A fetch and its converters. @ivar text: as written."""

    fetch: Call
    converters: tuple[Call, ...]
    text: str

    @property
    def suffix(self) -> str | None:
        """The match method that the name of an old fetch contains."""
        found = _SUFFIX.fullmatch(self.fetch.name)
        return None if found is None else found[2]

    @property
    def name(self) -> str:
        """The fetch, without a match method in its name."""
        found = _SUFFIX.fullmatch(self.fetch.name)
        return self.fetch.name if found is None else found[1]


def parse_sample(text: str) -> Sample:
    """@raise BadSample: the text has no such form."""
    calls: list[Call] = []
    for part in split_arguments(text):
        found = _CALL.fullmatch(part.strip())
        if found is None and calls and not part:
            continue
        if found is None:
            raise BadSample(f"{text} is not understood")
        calls.append(Call(found[1], found[2] or ""))
    return Sample(calls[0], tuple(calls[1:]), text)


def is_server_name(sample: Sample, terminates: bool) -> bool | None:
    """Whether a sample is the server name of the hello. None: it has no value on such a listener.

    @param terminates: the listener ends TLS. There C{ssl_fc_sni} has the name, elsewhere C{req.ssl_sni}.
    """
    if sample.name in ("req.ssl_sni", "req_ssl_sni"):
        return None if terminates else True
    if sample.name in ("ssl_fc_sni",):
        return True if terminates else None
    return False


def with_variables(sample: Sample, variables: Mapping[str, Sample]) -> Sample:
    """A sample whose variable is replaced by what was stored in it."""
    if sample.fetch.name == "var":
        stored = variables.get(sample.fetch.arguments.partition(",")[0].strip())
        if stored is not None:
            return attrs.evolve(stored, converters=(*stored.converters, *sample.converters), text=sample.text)
    return sample


def subject(converters: Sequence[Call], ignores_case: bool = False) -> tuple[Subject, MapCall | None]:
    """What converters make of the name, and the map at their end. @raise BadSample: one has no counterpart."""
    found, found_map = Subject(ignores_case=ignores_case), None
    for call in converters:
        is_map = _MAP.fullmatch(call.name)
        if found_map is not None:
            raise BadSample(f"the converter {call.name} behind a map has no counterpart")
        if call.name in ("lower", "upper"):
            found = attrs.evolve(found, case=call.name)
        elif call.name in ("field", "word") and call.arguments.replace(" ", "") in _FIRST_LABEL:
            found = attrs.evolve(found, first_label=True)
        elif call.name in ("field", "word") and call.arguments.replace(" ", "") == "1,:":
            continue  # a server name has no port
        elif call.name == "rtrim" and call.arguments == ".":
            continue  # names are compared without a trailing dot here
        elif is_map:
            path, *default = split_arguments(call.arguments)
            found_map = MapCall(is_map[1] or "str", path.strip(), default[0].strip() if default else None)
        else:
            raise BadSample(f"the converter {call.name} has no counterpart")
    return found, found_map
