"""Tests for L{sniproxy.migrate.haproxy.literals}."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.clients import ALL, Clients, parse_networks
from sniproxy.migrate.haproxy.literals import (
    ALWAYS,
    MAX_ALTERNATIVES,
    NEVER,
    Case,
    TooMany,
    Unknown,
    any_of,
    both,
    either,
    negation,
)
from sniproxy.migrate.haproxy.names import Names
from sniproxy.migrate.model import Place

A, B = Names((("a", Place("")),)), Names((("b", Place("")),))
INSIDE = parse_networks(["10.0.0.0/8"])
WHY = Unknown("why")


class ConditionTests(SynchronousTestCase):
    """Alternatives of literals."""

    def test_any_of(self) -> None:
        """Names are joined, and clients; what cannot be told is a case of its own."""
        joined = Names((*A.members, *B.members))
        self.assertEqual(any_of([A, B, INSIDE]), (Case((joined,)), Case(clients=INSIDE)))
        self.assertEqual(any_of([~A, WHY, False]), (Case((~A,)), Case(unknown=(WHY,))))
        self.assertEqual(any_of([A, True]), ALWAYS)
        self.assertEqual(any_of([INSIDE, ~INSIDE]), ALWAYS)
        self.assertEqual(any_of([False, Clients()]), NEVER)

    def test_both(self) -> None:
        """All literals of both must hold; clients that are in none make a case impossible."""
        self.assertEqual(both([any_of([A]), any_of([INSIDE])]), (Case((A,), INSIDE),))
        self.assertEqual(both([any_of([A]), any_of([A])]), (Case((A,)),))
        self.assertEqual(both([any_of([INSIDE]), any_of([~INSIDE])]), NEVER)
        self.assertEqual(both([]), ALWAYS)
        self.assertEqual(both([ALWAYS, NEVER]), NEVER)

    def test_negation(self) -> None:
        """None of the alternatives may hold; what cannot be told stays so."""
        self.assertEqual(negation((Case((A,), INSIDE),)), (Case((~A,)), Case(clients=~INSIDE)))
        self.assertEqual(negation(any_of([A, INSIDE])), (Case((~A,), ~INSIDE),))
        self.assertEqual(negation(any_of([WHY])), (Case(unknown=(WHY,)),))
        self.assertEqual((negation(ALWAYS), negation(NEVER)), (NEVER, ALWAYS))
        self.assertEqual(ALWAYS[0].clients, ALL)

    def test_bound(self) -> None:
        """Too many alternatives are an error."""
        cases = [(Case((Names(((f"a{number}", Place("")),)),)),) for number in range(MAX_ALTERNATIVES + 1)]
        self.assertEqual(len(either(cases[:-1])), MAX_ALTERNATIVES)
        self.assertRaises(TooMany, either, cases)
