"""Tests for sniproxy.config.resolvers, in whole configurations."""

from __future__ import annotations

from sniproxy.config.model import ResolverTable
from sniproxy.config.parser import parse
from tests.support.configerrors import LISTENER, ErrorCase


class ResolverTablesTests(ErrorCase):
    """The tables of resolvers."""

    def test_resolver_seconds(self) -> None:
        """A resolver's table may set the cache and the timeout, which are not passed to the resolver."""
        text = f'{LISTENER}[resolver.x]\ntype = "t"\nkey = 1\ndeadline = 2\nstale = 0\n[default]\nresolver = "x"\n'
        default = parse(text, "f.toml").default
        assert default is not None
        self.assertEqual(default.resolver, ResolverTable("t", {"key": 1}, "resolver.x", "x", 2.0, 0.0))
        for wrong in ("deadline = 0", "deadline = true", 'stale = "1"', "stale = -1", "stale = nan", "deadline = inf"):
            self.refused(f'[resolver.x]\ntype = "t"\n{wrong}', f"resolver.x.{wrong}: must be a number of seconds")

    def test_several_resolvers(self) -> None:
        """A list of resolvers is queried in order; a list of one is that resolver."""
        tables = '[resolver.a]\ntype = "t"\n[resolver.b]\ntype = "t"\n'
        read = parse(f'{LISTENER}{tables}[default]\nresolver = ["b", "a"]\n', "f.toml").default
        assert read is not None
        a, b = (ResolverTable("t", {}, f"resolver.{name}", name) for name in "ab")
        self.assertEqual((b, a), read.resolver.inner)
        read = parse(f'{LISTENER}{tables}[default]\nresolver = ["b"]\n', "f.toml").default
        assert read is not None
        self.assertEqual(b, read.resolver)
        for names, said in (
            ('["a", "c"]', 'default.resolver = "c": unknown resolver; write a table [resolver.c]'),
            ('["a", "a"]', "a is listed twice"),
            ("[]", "name at least one resolver"),
        ):
            self.refused(f"{tables}[default]\nresolver = {names}", said)
