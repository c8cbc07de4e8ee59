"""Names of the pods of a Service, and the names that lead to any of them. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property

import attrs

from sniproxy.interfaces import Refused, Resolution, Unavailable
from sniproxy.resolvers.kubernetes.endpoints import Endpoint, Slices, State, balanced
from sniproxy.util.names import BadName, server_name
from sniproxy.util.text import bounded, counted

REFUSAL_TTL_S = 2.0
"""Seconds to cache a refusal, unless a change is seen before."""

MAX_SHOWN = 5
"""Names in a message."""

_ORDINAL = re.compile(r"-([0-9]+)$")
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


@attrs.frozen
class NameTemplate:
    """The name of a pod, as in C{{pod}.pulsar.example.com}. Made by L{parse_template}."""

    text: str

    def name(self, pod: str) -> str | None:
        """The normalised name of a pod. None: the pod's name has no ordinal, or the result is no name."""
        ordinal = _ORDINAL.search(pod)
        if ordinal is None and "{ordinal}" in self.text:
            return None
        text = self.text.replace("{pod}", pod).replace("{ordinal}", "" if ordinal is None else ordinal[1])
        try:
            return server_name(text)
        except BadName:
            return None


def parse_template(text: str) -> NameTemplate:
    """Parse the template of a name. @raise ValueError: it is invalid; the message has the cure."""
    cure = "write a name with {pod} or {ordinal}, as in {pod}.pulsar.example.com"
    unknown = [one for one in _PLACEHOLDER.findall(text) if one not in ("pod", "ordinal")]
    if unknown or not _PLACEHOLDER.search(text):
        raise ValueError(f"{'unknown' if unknown else 'no'} placeholder; {cure}")
    try:
        server_name(text.replace("{pod}", "a-0").replace("{ordinal}", "0"))
    except BadName as error:
        raise ValueError(f"{error}; {cure}") from error
    return NameTemplate(text)


class PodTable:
    """The names of one Service at one time.

    @param service: the Service, as in C{pulsar/pulsar-broker}, for messages.
    @param templates: the names of a pod. @param service_names: normalised names that lead to any endpoint.
    """

    def __init__(
        self, service: str, slices: Slices, templates: Iterable[NameTemplate], service_names: Iterable[str]
    ) -> None:
        self._service = service
        self._service_names = frozenset(service_names)
        self.endpoints = slices.endpoints
        self.notes = self.problems = slices.notes
        self._by_name: dict[str, Endpoint] = {}
        templates = tuple(templates)
        # If several pods have one name, the best one gets it.
        for endpoint in sorted(self.endpoints, key=lambda one: one.state):
            for template in templates if endpoint.name else ():
                name = template.name(endpoint.name)
                if name is not None:
                    self._by_name.setdefault(name, endpoint)
        self._any = tuple(balanced(self.endpoints))

    def __eq__(self, other: object) -> bool:
        """Whether the answers are the same."""
        return isinstance(other, PodTable) and (self.endpoints, self.notes) == (other.endpoints, other.notes)

    __hash__ = None  # type: ignore[assignment]

    def names(self) -> Iterator[str]:
        """All names of pods."""
        return iter(self._by_name)

    def knows(self, name: str | None) -> bool:
        """Whether a name is that of a pod, ready or not, or leads to all of them."""
        return name in self._by_name or name in self._service_names

    def resolution(self, name: str | None) -> Resolution:
        """The answer for a name.

        @raise Refused: no pod has the name. @raise Unavailable: the pod is not ready, or no pod is.
        """
        if name in self._service_names:
            if not self._any:
                raise Unavailable(f"Service {self._service} has no ready endpoint{self._note()}", authoritative=True)
            return Resolution(self._any)
        endpoint = None if name is None else self._by_name.get(name)
        if endpoint is not None:
            if endpoint.state is State.DOWN:
                raise Unavailable(f"pod {endpoint.name} is not ready", authoritative=True)
            return Resolution([endpoint.target()])
        if not self.endpoints:
            raise Unavailable(f"Service {self._service} has no endpoints{self._note()}", authoritative=True)
        raise Refused(
            f"no pod of Service {self._service} has the name {name}; known: {self._few()}{self._note()}", REFUSAL_TTL_S
        )

    @property
    def summary(self) -> str:
        """As in ``3 endpoints, 1 not ready``."""
        down = sum(one.state is not State.READY for one in self.endpoints)
        return counted(len(self.endpoints), "endpoint") + (f", {down} not ready" if down else "")

    @cached_property
    def described(self) -> Mapping[str, str]:
        """What each name is."""
        services = dict.fromkeys(sorted(self._service_names), f"Service {self._service}: any ready endpoint")
        pods = {name: _described(one) for name, one in sorted(self._by_name.items()) if name not in services}
        return {**services, **pods}

    def changes(self, before: PodTable | None) -> str:
        """The differences to an earlier table, each after a semicolon. Empty: there are none."""
        old = {} if before is None else before._by_name
        new = self._by_name
        both = old.keys() & new.keys()
        found = []
        for what, names in (
            ("added", new.keys() - old.keys()),
            ("removed", old.keys() - new.keys()),
            ("moved", {one for one in both if _place(old[one]) != _place(new[one])}),
            ("ready", {one for one in both if _became(old[one], new[one], State.READY)}),
            ("terminating", {one for one in both if _became(old[one], new[one], State.TERMINATING)}),
            ("not ready", {one for one in both if _became(old[one], new[one], State.DOWN)}),
        ):
            if names:
                found.append(f"; {few(sorted(names))} {what}")
        return "".join(found)

    def _few(self) -> str:
        return few(sorted({*self._by_name, *self._service_names})) or "none"

    def _note(self) -> str:
        return f"; {self.notes[0]}" if self.notes else ""


def few(names: list[str]) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - MAX_SHOWN} more" if len(names) > MAX_SHOWN else ""
    return bounded(", ".join(names[:MAX_SHOWN]), 600) + more


def _described(endpoint: Endpoint) -> str:
    state = "" if endpoint.state is State.READY else f", {_WORDS[endpoint.state]}"
    return f"pod {endpoint.name}, {endpoint.target()}{state}"


_WORDS = {State.PUBLISHED: "published, not ready", State.TERMINATING: "terminating", State.DOWN: "not ready"}


def _place(endpoint: Endpoint) -> tuple[tuple[str, ...], int]:
    return endpoint.addresses, endpoint.port


def _became(old: Endpoint, new: Endpoint, state: State) -> bool:
    return old.state is not state and new.state is state
