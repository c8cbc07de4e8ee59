"""Reads C{filter_chain_matcher}, which chooses a filter chain by its name: what it does by server names. Pure.

Its parts are tried in order, and the first match decides. A hello without a name matches no part for names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from sniproxy.migrate.envoy.messages import entries, text
from sniproxy.migrate.model import ANY, NAMELESS
from sniproxy.migrate.yamlnodes import YamlNode

MAX_NESTED = 20
"""Matchers inside matchers."""

_NAME, _PORT = "ServerNameInput", "DestinationPortInput"
_NOT_PYTHON = re.compile(r"\\[pPCQE]|\[\[:|\(\?[imsU-]|\(\?P?=")
"""What RE2 has, and Python has not or has otherwise."""


class Unreadable(Exception):
    """A matcher does more than choose by server names. @ivar node: the part."""

    def __init__(self, node: YamlNode, why: str) -> None:
        super().__init__(why)
        self.node = node


@attrs.frozen
class Match:
    """Names, and the name of their filter chain."""

    pattern: str
    chain: str
    node: YamlNode


def matches_of(matcher: YamlNode, port: int, depth: int = 0) -> list[Match]:
    """The patterns of a matcher in the order in which it tries them. @param port: of the listener.

    @raise Unreadable: it has a part without a counterpart.
    """
    if depth > MAX_NESTED:
        raise Unreadable(matcher, "too many matchers inside matchers")
    found: list[Match] = []
    tree = matcher.get("matcher_tree")
    if tree is not None:
        if _input(tree) == _PORT:
            own = tree.at("exact_match_map", "map", str(port))
            if own is not None:
                return _on_match(own, ANY, port, depth)
        else:
            found += _tree(tree, port, depth)
    for one in entries(matcher.get("matcher_list"), "matchers"):
        predicate, on_match = one.get("predicate"), one.get("on_match")
        if predicate is None or on_match is None:
            raise Unreadable(one, "a matcher without a predicate")
        for pattern in _patterns(predicate, depth):
            found += [match for match in _on_match(on_match, pattern, port, depth) if match.pattern != NAMELESS]
    otherwise = matcher.get("on_no_match")
    return found if otherwise is None else [*found, *_on_match(otherwise, ANY, port, depth)]


def _input(node: YamlNode) -> str:
    return text(node, "input", "typed_config", "@type").rpartition(".")[2]


def _on_match(node: YamlNode, pattern: str, port: int, depth: int) -> list[Match]:
    """What follows a match: the name of a chain, or for all names another matcher."""
    name = text(node, "action", "typed_config", "value")
    if name:
        return [Match(own, name, node) for own in ((ANY, NAMELESS) if pattern == ANY else (pattern,))]
    inner = node.get("matcher")
    if inner is None or pattern != ANY:
        raise Unreadable(node, "more than the name of a filter chain follows a match")
    return matches_of(inner, port, depth + 1)


def _tree(tree: YamlNode, port: int, depth: int) -> list[Match]:
    """A map of exact names or prefixes, or domains."""
    if _input(tree) != _NAME:
        raise Unreadable(tree, f"the input is {_input(tree) or 'unknown'}, not the server name")
    found: list[Match] = []
    for key, form in (("exact_match_map", "{}"), ("prefix_match_map", "~{}.*")):
        written = tree.at(key, "map")
        names = [] if written is None else sorted(written.items(), key=lambda pair: -len(pair[0]))
        for name, following in names:
            _check_case(tree, name)
            pattern = name if form == "{}" else form.format(re.escape(name))
            found += _on_match(following, pattern, port, depth)
    custom = tree.at("custom_match", "typed_config")
    if custom is not None:
        domains = [
            (domain.text().lower(), on_match)
            for one in entries(custom, "domain_matchers")
            if (on_match := one.get("on_match")) is not None
            for domain in entries(one, "domains")
        ]
        # The most specific domain wins, in any order.
        for name, on_match in sorted(domains, key=lambda pair: (pair[0].startswith("*"), -len(pair[0]))):
            if name == ANY:
                found += [one for one in _on_match(on_match, ANY, port, depth) if one.pattern != NAMELESS]
            else:
                found += _on_match(on_match, name, port, depth)
    return found


def _patterns(predicate: YamlNode, depth: int) -> Iterator[str]:
    """The patterns of a predicate, of which any may match."""
    either = predicate.get("or_matcher")
    if either is not None and depth <= MAX_NESTED:
        for each in entries(either, "predicate"):
            yield from _patterns(each, depth + 1)
        return
    single = predicate.get("single_predicate")
    value = None if single is None else single.get("value_match")
    if single is None or value is None or _input(single) != _NAME:
        raise Unreadable(predicate, "a predicate that is not about the server name")
    yield _pattern(value)


def _check_case(node: YamlNode, written: str) -> None:
    """Envoy reads server names in lower case, and compares them as written."""
    if written != written.lower():
        raise Unreadable(
            node, f"{written}: no server name matches upper case in Envoy; leave it out, or write lower case"
        )


def _pattern(value: YamlNode) -> str:
    """Our pattern of a match of a text."""
    for key, form in (("exact", "{}"), ("prefix", "~{}.*"), ("suffix", "~.*{}"), ("contains", "~.*{}.*")):
        written = text(value, key)
        _check_case(value, "" if text(value, "ignore_case") == "true" else written)
        written = written.lower()
        if written and key == "exact":
            return written
        if written and key == "suffix" and written.startswith("."):
            return f"*{written}"
        if written:
            return form.format(re.escape(written))
    expression = text(value, "safe_regex", "regex").removeprefix("(?i)")
    if not expression or _NOT_PYTHON.search(expression):
        raise Unreadable(value, "an expression with a part that Python's syntax lacks" if expression else "no text")
    return ANY if expression in (".+", ".*") else "~" + expression.replace(r"\z", r"\Z")
