"""From rules of which the first match decides to routes with our precedence. Pure.

Ours: exact name, longest wildcard, expressions in file order, default. A rule that an earlier one hides is dropped. A
wildcard after an expression that may match the same names becomes an expression, so that the earlier one still wins.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

import attrs

from sniproxy.migrate.model import ANY, NAMELESS, Notes, Rule
from sniproxy.routing.patterns import capture_count, is_expression, matches, route_pattern
from sniproxy.routing.targets import BadTarget
from sniproxy.routing.templates import parse_template
from sniproxy.util.names import BadName

_EVERY_NAME = "~.+"


@attrs.define
class Ordered:
    """Routes with our precedence. Each rule has its listener; expressions are in order.

    @ivar default: None: names without a route are refused. @ivar nameless: rules for hellos without a name, one for all
        listeners (C{listener} is None) or one a listener.
    """

    routes: list[Rule] = attrs.field(factory=list)
    default: Rule | None = None
    nameless: list[Rule] = attrs.field(factory=list)


def ordered(rules: Iterable[Rule], listeners: Sequence[str], report: Notes) -> Ordered:
    """Sort rules into our precedence.

    @param listeners: the names of all listeners. @param report: gets a note for each rule that is dropped or changed.
    """
    valid = [checked for rule in rules if (checked := _checked(rule, report)) is not None]
    if all(rule.listener is None for rule in valid):
        return _combined({None: _solved(valid, report)})
    return _combined(
        {name: _solved([rule for rule in valid if rule.listener in (None, name)], report) for name in listeners}
    )


def _checked(rule: Rule, report: Notes) -> Rule | None:
    """The rule with a normalised pattern; None: it cannot be a route."""
    try:
        pattern = rule.pattern if rule.pattern in (ANY, NAMELESS) else route_pattern(rule.pattern)
        templates = [parse_template(text) for text in rule.targets]
    except (BadName, BadTarget) as error:
        report.left_out(rule.place, f"not a route here: {error}", decides=True)
        return None
    captures = 0 if pattern in (ANY, NAMELESS) else capture_count(pattern)
    for template in templates:
        why = template.why_not(captures, pattern != NAMELESS)
        if why is not None:
            report.left_out(rule.place, f"not a route here: {template.text}: {why}", decides=True)
            return None
    return attrs.evolve(rule, pattern=pattern)


class _Kept:
    """The rules of one listener that are kept so far. Finds the one that hides another rule."""

    def __init__(self) -> None:
        self.rules: dict[str, Rule] = {}
        self._expressions: list[Rule] = []

    def add(self, rule: Rule) -> None:
        self.rules[rule.pattern] = rule
        if is_expression(rule.pattern):
            self._expressions.append(rule)

    def hides(self, pattern: str) -> Rule | None:
        """A rule that matches all names of a pattern, as far as that can be said."""
        found = self.rules.get(pattern)
        if found is not None or pattern == NAMELESS:
            return found
        if ANY in self.rules:
            return self.rules[ANY]
        if pattern == ANY or is_expression(pattern):
            return None
        rest = pattern.removeprefix("*.")
        while "." in rest:
            rest = rest[rest.index(".") + 1 :]
            if f"*.{rest}" in self.rules:
                return self.rules[f"*.{rest}"]
        covers = _covers_wildcard if pattern.startswith("*.") else matches
        return next((one for one in self._expressions if covers(one.pattern, pattern)), None)

    def may_hide(self, wildcard: str) -> bool:
        """Whether an expression may match some names of a wildcard."""
        return any(_may_overlap(one.pattern, wildcard) for one in self._expressions)


def _solved(rules: Sequence[Rule], report: Notes) -> dict[str, Rule]:
    """The rules of one listener by pattern, each with a pattern that our precedence gives the same names."""
    kept = _Kept()
    for rule in rules:
        hidden_by = kept.hides(rule.pattern)
        if hidden_by is not None:
            if not (hidden_by.pattern == rule.pattern and hidden_by.same_destination(rule)):
                report.different(rule.place, f"no route: {_shown(hidden_by)} matches these names first")
            continue
        if rule.pattern.startswith("*.") and kept.may_hide(rule.pattern):
            report.different(rule.place, f"{rule.pattern} is written as an expression, after earlier ones")
            rule = attrs.evolve(rule, pattern=as_expression(rule.pattern))
        kept.add(rule)
    return kept.rules


def _shown(rule: Rule) -> str:
    names = {ANY: "the rule for all names", NAMELESS: "the rule for hellos without a name"}
    return f"{names.get(rule.pattern, rule.pattern)} ({rule.place})"


def as_expression(pattern: str) -> str:
    """The expression of a wildcard, with the same capture; of an exact name, without one."""
    if pattern.startswith("*."):
        return rf"~(.+)\.{re.escape(pattern[2:])}"
    return f"~{re.escape(pattern)}"


def _covers_wildcard(expression: str, wildcard: str) -> bool:
    return expression in ("~.*", "~.+", as_expression(wildcard))


def _may_overlap(earlier: str, wildcard: str) -> bool:
    """Whether an earlier expression may match a name of a wildcard."""
    tail, suffix = literal_tail(earlier[1:]), wildcard[1:]
    return tail.endswith(suffix) or suffix.endswith(tail)


def literal_tail(expression: str) -> str:
    """The text that all names matched by an expression end with; empty: unknown."""
    if "|" in expression or "(?" in expression:
        return ""
    tail = re.search(r"(?:(?<!\\)[a-z0-9_-]|\\[.-])*$", expression.lower())
    found = "" if tail is None else tail[0]
    return re.sub(r"\\(.)", r"\1", found)


def _combined(solved: Mapping[str | None, Mapping[str, Rule]]) -> Ordered:
    """One list of routes of all listeners. What is the same for all is written once, without a listener."""
    found, lists = Ordered(), list(solved.values())
    found.default = _common(ANY, lists)
    nameless = _common(NAMELESS, lists)
    found.nameless = [nameless] if nameless is not None else _each(solved, NAMELESS)
    same_expressions = _alike([[one for one in rules.values() if is_expression(one.pattern)] for rules in lists])

    def is_common(rule: Rule) -> bool:
        return same_expressions if is_expression(rule.pattern) else _common(rule.pattern, lists) is not None

    for rule in lists[0].values() if lists else ():
        if rule.pattern not in (ANY, NAMELESS) and is_common(rule):
            found.routes.append(attrs.evolve(rule, listener=None))
    defaults: list[Rule] = []
    used = {rule.pattern for rule in found.routes}
    for listener, rules in solved.items():
        for rule in rules.values():
            if rule.pattern == ANY and found.default is None:
                # Expressions are tried in file order, so this one comes after all others.
                defaults.append(_unique(attrs.evolve(rule, pattern=_EVERY_NAME, listener=listener), used))
            elif rule.pattern in (ANY, NAMELESS) or is_common(rule):
                continue
            else:
                own = attrs.evolve(rule, listener=listener)
                found.routes.append(_unique(own, used) if is_expression(rule.pattern) else own)
    found.routes += defaults
    return found


def _unique(rule: Rule, used: set[str]) -> Rule:
    """Expressions of the same text share one place in the order, so each listener's have texts of their own."""
    pattern = rule.pattern
    while pattern in used:
        pattern = f"~(?:{pattern[1:]})"
    used.add(pattern)
    return attrs.evolve(rule, pattern=pattern)


def _common(pattern: str, lists: Sequence[Mapping[str, Rule]]) -> Rule | None:
    """The rule of a pattern if it is the same for all listeners."""
    first = lists[0].get(pattern) if lists else None
    if first is None or any((one := rules.get(pattern)) is None or not one.same_destination(first) for rules in lists):
        return None
    return attrs.evolve(first, listener=None)


def _each(solved: Mapping[str | None, Mapping[str, Rule]], pattern: str) -> list[Rule]:
    return [attrs.evolve(rules[pattern], listener=listener) for listener, rules in solved.items() if pattern in rules]


def _alike(lists: Sequence[Sequence[Rule]]) -> bool:
    """Whether all lists have the same patterns and destinations in the same order."""
    return all(
        len(one) == len(lists[0])
        and all(a.pattern == b.pattern and a.same_destination(b) for a, b in zip(one, lists[0], strict=True))
        for one in lists
    )
