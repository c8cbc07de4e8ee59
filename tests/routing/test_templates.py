"""Tests for sniproxy.routing.templates."""

from __future__ import annotations

import string

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from sniproxy.interfaces import Request, Target
from sniproxy.routing.targets import BadTarget, parse_target
from sniproxy.routing.templates import parse_template
from sniproxy.util.names import server_name

REQUEST = Request("a.b.w.test", (), "192.0.2.7:1", "public", ("a.b", "7"), 4443)


class ParseTemplateTests(SynchronousTestCase):
    """parse_template: the text of a template."""

    def refused(self, text: str) -> str:
        return str(self.assertRaises(BadTarget, parse_template, text))

    def test_plain(self) -> None:
        """A target without placeholders is a template, too."""
        template = parse_template("pulsar+ssl://b.test:7")
        self.assertEqual((frozenset(), False), (template.places, template.client_formed))
        self.assertEqual(Target("b.test", 7), template.fill(REQUEST))

    def test_weight(self) -> None:
        """A weight follows the target, with or without placeholders, and is not part of its text."""
        for text, target in (
            ("b.test:7 weight=2", Target("b.test", 7, 2)),
            ("b.test:{port} weight=0", Target("b.test", 4443, 0)),
            ("{1}.test:7 weight=3", Target("a.b.test", 7, 3, client_formed=True)),
        ):
            template = parse_template(text)
            self.assertEqual((target, text), (template.fill(REQUEST), str(template)))
            self.assertNotIn("weight", template.text)
        self.assertEqual(("b.test:6651", "{1}"), (str(parse_template("b.test")), str(parse_template("{1} weight=1"))))
        self.assertIn("bad weight 'x'", self.refused("{1} weight=x"))
        self.assertIn("bad weight '{port}'", self.refused("b weight={port}"))

    def test_unknown_places(self) -> None:
        """An unknown placeholder and an unmatched brace are errors that list the placeholders."""
        for text in ("{0}:1", "{10}:1", "{}:1", "{name}:1", "{SERVER_NAME}:1", "{1 }:1"):
            self.assertIn("known: {server_name}, {port}", self.refused(text))
        for text in ("{server_name:1", "server_name}:1", "{{1}}:1", "a{:1"):
            self.assertIn("brace", self.refused(text))

    def test_no_target(self) -> None:
        """Text that can never be a target is refused with the same errors as a target."""
        for text, said in (
            ("{server_name}:x", "bad port"),
            ("a.test:{server_name}", "bad port"),
            ("http://{1}:1", "pulsar+ssl://"),
            ("{1}.a b:1", "bad host"),
            ("{server_name}:1, b:2", "a list"),
        ):
            self.assertIn(said, self.refused(text))

    def test_why_not(self) -> None:
        """A route can fill a template only if it has a value for each placeholder."""
        self.assertIsNone(parse_template("{1}:1").why_not(1, True))
        for text in ("b.test:{port}", "b.test:{proxy_protocol_port}"):
            self.assertIsNone(parse_template(text).why_not(0, False))
        self.assertIn("nothing for {2}", str(parse_template("{1}-{2}:1").why_not(1, True)))
        self.assertIn("nothing for {1}", str(parse_template("{1}:1").why_not(0, True)))
        for text in ("{server_name}:1", "{1}:1"):
            self.assertIn("no server name", str(parse_template(text).why_not(1, False)))


class FillTests(SynchronousTestCase):
    """Template.fill: the target of a connection."""

    def test_places(self) -> None:
        """Each placeholder takes its value; the default port is Pulsar's; a scheme is allowed."""
        for text, host, port in (
            ("{server_name}", "a.b.w.test", 6651),
            ("{1}.internal:{port}", "a.b.internal", 4443),
            ("pulsar+ssl://broker-{2}.internal:665{2}", "broker-7.internal", 6657),
            ("{2}.{2}.test:1", "7.7.test", 1),
        ):
            self.assertEqual(Target(host, port, client_formed=True), parse_template(text).fill(REQUEST))

    def test_client_formed(self) -> None:
        """A target is marked if the server name forms its host or port; the listener's port does not count."""
        self.assertTrue(parse_template("10.0.0.7:665{2}").fill(REQUEST).client_formed)
        self.assertEqual(Target("b.test", 4443), parse_template("b.test:{port}").fill(REQUEST))

    def test_proxy_protocol_port(self) -> None:
        """The port that a header names fills a target, which is marked; without a port from 1 on there is none."""
        template = parse_template("{1}.internal:{proxy_protocol_port}")
        target = template.fill(attrs.evolve(REQUEST, proxy_protocol_port=7))
        self.assertEqual(Target("a.b.internal", 7, client_formed=True), target)
        template = parse_template("b.test:{proxy_protocol_port}")
        self.assertEqual((True, False), (template.client_formed, template.name_formed))
        self.assertTrue(template.fill(attrs.evolve(REQUEST, proxy_protocol_port=7)).client_formed)
        error = self.assertRaises(BadTarget, template.fill, REQUEST)
        self.assertIn("no PROXY protocol header names a port for {proxy_protocol_port} in b.test", str(error))
        self.assertRaises(BadTarget, template.fill, attrs.evolve(REQUEST, proxy_protocol_port=0))

    def test_ip_address(self) -> None:
        """A server name that is an IPv6 address gets brackets; a captured part may be an address."""
        request = Request("2001:db8::7", (), "192.0.2.7:1", "public")
        filled = parse_template("{server_name}:7").fill(request)
        self.assertEqual(Target("2001:db8::7", 7, client_formed=True), filled)
        request = Request("10.0.0.7.w.test", (), "192.0.2.7:1", "public", ("10.0.0.7",))
        self.assertEqual(Target("10.0.0.7", 6651, client_formed=True), parse_template("{1}").fill(request))

    def test_missing(self) -> None:
        """A missing value, or a host that becomes too long, is an error."""
        bare = Request(None, (), "unix", "public")
        for text in ("{server_name}:1", "{1}:1", "b:{port}"):
            error = self.assertRaises(BadTarget, parse_template(text).fill, bare)
            self.assertIn("no value for {", str(error))
        long = Request("a.w.test", (), "unix", "public", (".".join(["a" * 60] * 4),))
        self.assertIn("253", str(self.assertRaises(BadTarget, parse_template("{1}.some.suffix").fill, long)))
        self.assertRaises(BadTarget, parse_template("b:6{1}").fill, Request("a", (), "", "", ("5536",)))

    @given(st.text(string.ascii_lowercase + string.digits + ".-_:[]/,@", max_size=30))
    def test_only_the_name(self, part: str) -> None:
        """For any captured part, the host keeps its written ending, or there is no target."""
        try:
            target = parse_template("{1}.internal:6651").fill(Request("x", (), "", "", (part,)))
        except BadTarget:
            return
        self.assertTrue(target.host.endswith(".internal"))
        self.assertEqual((6651, True), (target.port, target.client_formed))

    @given(st.from_regex(r"[a-z0-9_.-]{1,40}|[0-9.]{7,15}", fullmatch=True))
    def test_any_server_name(self, text: str) -> None:
        """For any server name, {server_name} gives the same target as the name itself."""
        try:
            name = server_name(text)
        except ValueError:
            return
        target = parse_template("{server_name}:7").fill(Request(name, (), "", ""))
        self.assertEqual(parse_target(f"{name}:7").host, target.host)

    def test_may_give(self) -> None:
        """may_give tells whether a template can become a target."""
        for text, key, may in (
            ("{1}.internal", "a.internal:6651", True),
            ("{1}.internal", "a.internal:6650", False),
            ("pulsar+ssl://{1}.Internal:7/", "a.b.internal:7", True),
            ("{1}.internal:7", ".internal:7", False),
            ("{1}.internal:7", "axinternal:7", False),
            ("a.internal:{port}", "a.internal:4443", True),
            ("{server_name}", "[2001:db8::7]:6651", True),
            ("{1}-{1}{2}.x:7", "a-bc.x:7", True),
            ("{1}-{1}{2}.x:7", "a-b.x:7", False),
            ("{1}{2}" * 20 + "x:7", "a" * 250 + ":7", False),
        ):
            self.assertEqual(may, parse_template(text).may_give(key), (text, key))

    def test_may_lead(self) -> None:
        """The name must match the route, and the port must be a listener's."""
        takes = {"a.test", "2001:db8::7"}.__contains__
        for text, key, may in (
            ("{server_name}", "a.test:6651", True),
            ("{server_name}", "b.test:6651", False),
            ("{server_name}", "[2001:db8::7]:6651", True),
            ("x.{server_name}:{port}", "x.a.test:4443", True),
            ("x.{server_name}:{port}", "x.a.test:4444", False),
            ("{server_name}.{server_name}", "a.test.a.test:6651", True),
            ("{server_name}.{server_name}", "a.test.b.test:6651", False),
            ("{1}.{server_name}", "x.a.test:6651", True),
            ("a.test:{port}", "a.test:4443", True),
            ("{server_name}:{proxy_protocol_port}", "a.test:7", True),
            ("{server_name}:{proxy_protocol_port}", "b.test:7", False),
        ):
            self.assertEqual(may, parse_template(text).may_lead(key, takes, {4443}), (text, key))
