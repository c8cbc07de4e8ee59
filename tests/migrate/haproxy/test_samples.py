"""Tests for L{sniproxy.migrate.haproxy.samples}."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.migrate.haproxy.matching import Subject
from sniproxy.migrate.haproxy.samples import (
    BadSample,
    Call,
    MapCall,
    is_server_name,
    parse_sample,
    subject,
    with_variables,
)


class SampleTests(SynchronousTestCase):
    """Fetches and converters."""

    def test_parse(self) -> None:
        """A sample is a fetch, and converters with arguments."""
        found = parse_sample("req.ssl_sni,lower,map(a.map,b1)")
        self.assertEqual(
            (found.fetch, found.converters), (Call("req.ssl_sni"), (Call("lower"), Call("map", "a.map,b1")))
        )
        self.assertEqual((found.name, found.suffix), ("req.ssl_sni", None))
        self.assertEqual(parse_sample("req.ssl_sni,").converters, ())
        old = parse_sample("ssl_fc_sni_end")
        self.assertEqual((old.name, old.suffix), ("ssl_fc_sni", "end"))

    @given(st.text())
    def test_whole(self, text: str) -> None:
        """No text raises anything else."""
        try:
            subject(parse_sample(text).converters)
        except BadSample:
            pass

    def test_server_name(self) -> None:
        """Which fetch has the name depends on whether the listener ends TLS."""
        for text, terminates, expected in (
            ("req.ssl_sni", False, True),
            ("req_ssl_sni", True, None),
            ("ssl_fc_sni", True, True),
            ("ssl_fc_sni_reg", False, None),
            ("src", False, False),
        ):
            self.assertIs(is_server_name(parse_sample(text), terminates), expected)

    def test_variables(self) -> None:
        """A variable stands for what was stored in it."""
        stored = {"sess.sni": parse_sample("req.ssl_sni,lower")}
        found = with_variables(parse_sample("var(sess.sni),map(a)"), stored)
        self.assertEqual(
            (found.name, found.converters[0], found.text), ("req.ssl_sni", Call("lower"), "var(sess.sni),map(a)")
        )
        for text in ("var(other)", "src"):
            self.assertEqual(with_variables(parse_sample(text), stored), parse_sample(text))

    def test_subject(self) -> None:
        """Converters change case or choose the first label; a map is the last."""
        for text, expected in (
            ("a", (Subject(), None)),
            ("a,upper", (Subject("upper"), None)),
            ("a,lower,field(1,.)", (Subject("lower", first_label=True), None)),
            ("a,word(1,:),rtrim(.)", (Subject(), None)),
            ("a,map(f)", (Subject(), MapCall("str", "f"))),
            ("a,map_dom(f, b)", (Subject(), MapCall("dom", "f", "b"))),
            ("a,map_reg_str(f)", (Subject(), MapCall("reg", "f"))),
        ):
            self.assertEqual(subject(parse_sample(text).converters), expected, text)
        for text in ("a,regsub(a,b)", "a,map(f),lower", "a,field(2,.)", "a,map_regm(f)"):
            self.assertRaises(BadSample, subject, parse_sample(text).converters)
