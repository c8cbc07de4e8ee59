"""Writes which names lead to which filter chain. Pure.

C{filter_chain_match} has exact names, wildcards and "every hello". Expressions, and a default without the hellos that
have no name, need the newer C{filter_chain_matcher}, which tries its parts in order.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from sniproxy.migrate.export.fronts import Leading
from sniproxy.migrate.model import ANY, NAMELESS
from sniproxy.routing.patterns import is_expression

_NOT_RE2 = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|(?<!\\)(?:\\\\)*\\[1-9]|[*+?}]\+")
"""Lookaround, atomic groups, conditions, back references, possessive repeats."""

_INPUT = {
    "name": "server_name",
    "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.matching.common_inputs.network.v3.ServerNameInput",
    },
}


REFUSED = "refused"
"""The name of the chain for names that no route has, where hellos without a name have one."""


def needs_matcher(leading: Sequence[Leading], same: bool) -> bool:
    """Whether C{filter_chain_match} is not enough.

    @param same: whether all other names and hellos without a name have the same destination, or none.
    """
    return not same or any(is_expression(one.pattern) for one in leading)


def re2(pattern: str) -> str | None:
    """The expression of a pattern in RE2's syntax. None: it has something that RE2 lacks."""
    expression = pattern[1:]
    if _NOT_RE2.search(expression):
        return None
    return "(?i)" + expression.replace(r"\Z", r"\z")


def matcher(chains: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """The C{filter_chain_matcher}.

    @param chains: patterns in the order of precedence, with the names of chains. If hellos without a name have a chain
        and other names have none, these get the chain L{REFUSED}.
    """
    if chains and chains[-1][0] == NAMELESS and all(pattern != ANY for pattern, _ in chains):
        chains = [*chains[:-1], (ANY, REFUSED), chains[-1]]
    exact: dict[str, Any] = {}
    listed: list[dict[str, Any]] = []
    last: dict[str, Any] | None = None
    for pattern, name in chains:
        if pattern == NAMELESS:
            last = _action(name)
        elif pattern == ANY:
            listed.append(_matcher(_regex(".+"), name))
        elif is_expression(pattern):
            listed.append(_matcher(_regex(re2(pattern)), name))
        elif pattern.startswith("*."):
            listed.append(_matcher({"suffix": pattern[1:]}, name))
        else:
            exact[pattern] = _action(name)
    found: dict[str, Any] = {"matcher_list": {"matchers": listed}} if listed else {}
    if last is not None:
        found["on_no_match"] = last
    if exact:
        tree: dict[str, Any] = {"matcher_tree": {"input": _INPUT, "exact_match_map": {"map": exact}}}
        if listed:
            tree["on_no_match"] = {"matcher": found}
        elif last is not None:
            tree["on_no_match"] = last
        return tree
    return found


def _regex(expression: str | None) -> dict[str, Any]:
    return {"safe_regex": {"google_re2": {}, "regex": expression}}


def _matcher(value: dict[str, Any], name: str) -> dict[str, Any]:
    return {"predicate": {"single_predicate": {"input": _INPUT, "value_match": value}}, "on_match": _action(name)}


def _action(name: str) -> dict[str, Any]:
    value = {"@type": "type.googleapis.com/google.protobuf.StringValue", "value": name}
    return {"action": {"name": name, "typed_config": value}}
