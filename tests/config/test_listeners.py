"""Tests for sniproxy.config.listeners, with whole files."""

from __future__ import annotations

from sniproxy.config.model import ResolverTable, Route, Termination
from sniproxy.config.parser import parse
from sniproxy.routing.templates import parse_template
from tests.support import configerrors
from tests.support.configerrors import LISTENER


class MakeListenerTests(configerrors.ErrorCase):
    """make_listener: the mode of a listener."""

    def test_kinds(self) -> None:
        """TLS passes through, unless plaintext or certificates are set."""
        (plain,) = parse(LISTENER, "f.toml").listeners
        self.assertEqual((None, None), (plain.plaintext, plain.termination))
        (ended,) = parse(f'{LISTENER}certificates = "c"\nupstream_trust = "t"', "f.toml").listeners
        self.assertIsNotNone(ended.termination)

    def test_closed_when_down(self) -> None:
        """It names a route, in any case; a plaintext listener has no routes."""
        start = '[[listener]]\nendpoint = "tcp:6650"\nname = "p"\nclosed_when_down = '
        rest = '[[route]]\nserver_name = "a.test"\ntarget = "10.0.0.1:1"\n[health]\ncheck = "tcp"\n'
        (listener,) = parse(f'{start}"A.test"\n{rest}', "f.toml").listeners
        self.assertEqual("a.test", listener.closed_when_down)
        self.refused_file(f'{start}"a b"\n{rest}', "listener[0].closed_when_down", "name the server_name of a route")
        plain = 'plaintext = true\ntarget = "b"\nclosed_when_down = "b"'
        self.refused_file(f'[[listener]]\nendpoint = "tcp:1"\n{plain}', "only for listeners that use routes")

    def test_both(self) -> None:
        """A plaintext listener cannot terminate TLS."""
        self.refused('plaintext = true\ntarget = "b"\ncertificates = "c"\nupstream_trust = "t"', "terminates no TLS")

    def test_plaintext(self) -> None:
        """A plaintext listener has one target or resolver; a TLS listener has none, and cannot be inspected."""
        start = '[[listener]]\nendpoint = "tcp:6650"\n'
        table = 'plaintext = true\ninspect = "pulsar"\ntarget = "b"\nname = "p"'
        (listener,) = parse(start + table, "f.toml").listeners
        resolver = ResolverTable("static", {"target": ["b"]}, "listener[0]", templates=(parse_template("b"),))
        route = Route("plaintext", "p", resolver)
        self.assertEqual((route, True), (listener.plaintext, listener.inspect))
        (limited,) = parse(start + table + '\nonly_from = ["10.0.0.0/8"]', "f.toml").listeners
        assert limited.plaintext is not None
        self.assertEqual("10.0.0.0/8", str(limited.plaintext.only_from))
        for text, said in (
            ("plaintext = true", "listener[0]: it has neither"),
            ('target = "b"', 'listener[0].target = "b": a TLS listener uses the routes'),
            ('inspect = "pulsar"', 'listener[0].inspect = "pulsar": the proxy cannot inspect TLS'),
            (
                'plaintext = true\ntarget = "b"\ninspect = "kafka"',
                'listener[0].inspect = "kafka": the only inspector is',
            ),
        ):
            self.refused_file(start + text, said)

    def test_deferred_accept(self) -> None:
        """It needs a TCP listener and Linux; it is off by default."""
        (listener,) = parse(LISTENER, "f.toml").listeners
        self.assertFalse(listener.deferred_accept)
        for more in ("", 'plaintext = true\ntarget = "b"\n'):
            (listener,) = parse(f"{LISTENER}{more}deferred_accept = true", "f.toml").listeners
            self.assertTrue(listener.deferred_accept)
        unix = '[[listener]]\nendpoint = "unix:/run/s.sock"\ndeferred_accept = true'
        self.refused_file(unix, "listener[0].deferred_accept = true: only available on Linux and for TCP")

    def test_termination(self) -> None:
        """Paths of a listener that terminates TLS start from the folder of the file; both keys are required."""
        text = 'certificates = "certs"\nupstream_trust = "/etc/ca.pem"\ninspect = "pulsar"\nname = "t"\n'
        (listener,) = parse(LISTENER + text, "dir/f.toml").listeners
        self.assertEqual(Termination("dir/certs", "/etc/ca.pem", None, "listener[0]"), listener.termination)
        self.assertTrue(listener.inspect)
        (listener,) = parse(LISTENER + text + 'upstream_certificate = "own.pem"', "dir/f.toml").listeners
        assert listener.termination is not None
        self.assertEqual("dir/own.pem", listener.termination.certificate)
        for more, *said in (
            (
                'certificates = "c"',
                "listener[0].upstream_trust: required together with certificates; write the path of a PEM",
            ),
            (
                'upstream_trust = "c"',
                "listener[0].certificates: required together with upstream_trust; write the path of the PEM",
            ),
            ('upstream_certificate = "c"', "listener[0].certificates: required together with"),
            ('certificates = ""\nupstream_trust = "c"', 'listener[0].certificates = "": write the path'),
            ('certificates = "c"\nupstream_trust = "c"\ntarget = "b"', 'listener[0].target = "b"'),
            (
                'certificates = "c"\nupstream_trust = "c"\nplaintext = true\ntarget = "b"',
                'listener[0].certificates = "c": a plaintext listener terminates no TLS',
            ),
        ):
            self.refused(more, *said)
