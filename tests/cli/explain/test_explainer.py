"""Tests for sniproxy.cli.explain.explainer, with real sockets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.defer import Deferred

from sniproxy.cli.explain.explainer import Explainer, ExplainOptions
from sniproxy.cli.explain.report import Report
from sniproxy.config.parser import parse
from sniproxy.interfaces import Refused, Request, Resolution, Target, WatchState
from sniproxy.resolvers import static
from sniproxy.server.build import build
from tests.cli.explain.scripted import Scripted, answers, fails, refuses, script, tables
from tests.support.proxies import LISTENER, Proxy
from tests.support.reactor import reactor
from tests.support.sockets import SocketTestCase
from tests.support.tlsservers import SayingFactory, ServerTLS, listen
from tests.tls.material import CA, folder, pem

HEADERS = LISTENER + 'proxy_protocol = "required"\n'
AUTHORITY = trustme.CA(key_type=trustme.KeyType.ECDSA)


class ExplainerCase(SocketTestCase):
    """Explains names in a configuration."""

    def explainer(self, text: str, path: str = "x.toml") -> Explainer:
        return Explainer(build(parse(text if "[[listener]]" in text else LISTENER + text, path), reactor), reactor)

    async def explain(self, text: str, name: str | None, path: str = "x.toml", **wish: Any) -> Report:
        explainer = self.explainer(text, path)
        report = await explainer.explain(name, explainer._configuration.listeners[0], ExplainOptions(**wish))
        await explainer.wait_closed()
        return report

    def server(self, *names: str, **options: Any) -> str:
        host, port = listen(self, SayingFactory(ends=False), ServerTLS(AUTHORITY, *names, **options))
        return f"{host}:{port}"


def route(name: str, *targets: str) -> str:
    return f'[[route]]\nserver_name = "{name}"\ntarget = {list(targets)!r}\n'


class AnswerTests(ExplainerCase):
    """The resolver and the policy."""

    async def test_targets(self) -> None:
        """Targets with their addresses and the verdict of the policy on each; nothing is dialled."""
        report = await self.explain(route("*.test", "127.0.0.1:9", "{1}:6651"), "localhost.test")
        written, formed = report.targets
        self.assertEqual({"127.0.0.1": None}, written.addresses)
        self.assertIn("the address is loopback", str(formed.addresses["127.0.0.1"]))
        self.assertEqual((True, None), (report.routed, written.dialled))
        report = await self.explain(route("*.test", "{1}:1"), "localhost.test")
        self.assertIn("is not in [policy] allow_ports", report.problems[0])

    async def test_loop(self) -> None:
        """An address of a configured listener is denied, even without listening."""
        text = '[[listener]]\nendpoint = "tcp:4443:interface=127.0.0.1"\n' + route("a.test", "127.0.0.1:4443")
        report = await self.explain(text, "a.test")
        self.assertIn("(loop)", report.problems[0])

    async def test_no_answer(self) -> None:
        """A resolver that refuses, fails, times out or returns nothing: the connection is refused with the reason."""

        def refuse(request: Request) -> object:
            raise Refused("not here")

        def fail(request: Request) -> object:
            raise ZeroDivisionError("oh")

        for resolve, said in (
            (refuse, "the resolver refused the name: not here"),
            (fail, "the resolver failed: ZeroDivisionError: oh"),
            (lambda request: Deferred(), "no answer from the resolver within 0.01 s"),
            (lambda request: None, "the resolver returned no target"),
        ):
            self.patch(static.StaticResolver, "resolve", lambda self, request, resolve=resolve: resolve(request))
            report = await self.explain(route("a.test", "x") + "[timeouts]\nconnect = 0.01\n", "a.test")
            self.assertEqual([said], report.problems)

    async def test_resolvers(self) -> None:
        """With several resolvers: the one that answered, why the others did not, and the state of those that watch."""
        script(
            self,
            f=Scripted(refuses, WatchState("2 names")),
            p=Scripted(answers("127.0.0.1"), WatchState("1 broker", names={"a.z.test": "one:8080, listener external"})),
            z=Scripted(fails, WatchState("no brokers known", "refused")),
        )
        report = await self.explain(tables("f", "p"), "a.z.test")
        self.assertEqual("resolver.f (type scripted), then resolver.p (type scripted)", report.resolver)
        self.assertEqual("resolver.p (type scripted)", report.answered)
        self.assertEqual(("f: refused: not here",), report.passed)
        self.assertEqual(["2 names", "1 broker"], [watch.knows for watch in report.watches])
        self.assertEqual("one:8080, listener external", report.known_as)
        self.assertEqual((30, True), (report.ttl, report.routed))
        report = await self.explain(tables("z"), "a.z.test")
        self.assertEqual((None, ["refused"]), (report.answered, [watch.error for watch in report.watches]))
        self.assertEqual(["the resolver failed: Unavailable: ZooKeeper is silent"], report.problems)

    async def test_only_from(self) -> None:
        """The clients of a route; a client that is given, with its fields, is allowed or refused."""
        text = HEADERS + route("a.test", "127.0.0.1:9") + 'only_from = ["10.1.0.0/16", "vpce-1"]\n'
        report = await self.explain(text, "a.test")
        self.assertEqual(("10.1.0.0/16, vpce-1", True), (report.only_from, report.routed))
        self.assertTrue(report.client_unchecked)
        for client, endpoint in (("10.1.2.3:0", "vpce-2"), ("192.0.2.7:0", "vpce-1"), (None, "vpce-1")):
            report = await self.explain(text, "a.test", client=client, tlvs={"aws_vpce_id": endpoint})
            self.assertEqual((True, False), (report.routed, report.client_unchecked))
        for client, tlvs in (("192.0.2.7:0", {}), (None, {"aws_vpce_id": "vpce-2"})):
            report = await self.explain(text, "a.test", client=client, tlvs=tlvs)
            self.assertIn("is not in only_from of route a.test", report.problems[0])
            self.assertEqual((False, ()), (report.routed, report.targets))

    async def test_unread(self) -> None:
        """A listener without the PROXY protocol ignores the fields and the port of a header, with a note."""
        text = route("a.test", "127.0.0.1:9") + 'only_from = ["vpce-1"]\n'
        report = await self.explain(text, "a.test", client="10.2.2.3:0", tlvs={"aws_vpce_id": "vpce-1"}, proxy_port=7)
        self.assertEqual(["client 10.2.2.3 is not in only_from of route a.test"], report.problems)
        self.assertIn("reads no PROXY protocol headers, so clients have none here: --proxy-tlv and", report.notes[0])
        report = await self.explain(text, "a.test")
        self.assertIn("only_from has only ids of private endpoints, and listener ", report.problems[0])
        self.assertEqual([], (await self.explain(text.replace('["', '["10.0.0.0/8", "'), "a.test")).problems)
        scripted = Scripted(answers("127.0.0.1"), WatchState("1 broker"))
        script(self, p=scripted)
        report = await self.explain(tables("p"), "a.z.test", tlvs={"authority": "b"})
        self.assertEqual({}, scripted.asked[0].proxy_tlvs)
        self.assertTrue(report.notes[0].endswith("--proxy-tlv ignored"), report.notes)

    async def test_target_source(self) -> None:
        """A route may dial from the client's address."""
        text = route("a.test", "127.0.0.1:9")
        for more, expected in (("", None), ('target_source = "client"\n', "client")):
            report = await self.explain(text + more, "a.test")
            self.assertEqual((expected, bool(more)), (report.target_source, report.client_unchecked))
            report = await self.explain(text + more, "a.test", client="127.0.0.1:0")
            self.assertEqual((True, False), (report.routed, report.client_unchecked))

    async def test_no_source(self) -> None:
        """Where targets cannot be dialled from the client, it is refused for the proxy's own reason."""
        text = route("a.test", "10.0.0.7:9") + 'target_source = "client"\n'
        for client, why in (
            ("[2001:db8::1]:0", "not dialled from the client 2001:db8::1: it has no IPv4 address"),
            ("127.0.0.1:0", "not dialled from the client 127.0.0.1: a loopback address has no way to other hosts"),
            ("0.0.0.0:0", "target_source: targets cannot be dialled from the client: the client's address 0.0.0.0 is"),
            ("224.0.0.1:0", "the client's address 224.0.0.1 is not that of a single host"),
        ):
            report = await self.explain(text, "a.test", client=client)
            self.assertIn(why, report.problems[0])
            self.assertFalse(report.routed)
        text = route("a.test", "10.0.0.7:9", "[2001:db8::7]:9") + 'target_source = "client"\n'
        report = await self.explain(text, "a.test", client="192.0.2.7:0")
        self.assertEqual((True, [True, False]), (report.routed, [target.allowed for target in report.targets]))

    async def test_no_source_unchecked(self) -> None:
        """A client without an address to dial from is refused where the targets depend on the name, too."""
        explainer = self.explainer(route("*.test", "{1}") + 'target_source = "client"\n')
        listener = explainer._configuration.listeners[0]
        for client, routed in (("0.0.0.0:0", False), ("192.0.2.7:0", None)):
            (report,) = await explainer.explain_all(listener, ExplainOptions(client=client))
            self.assertEqual(routed, report.routed)

    async def test_client(self) -> None:
        """Resolvers get the client and its fields."""
        scripted = Scripted(answers("127.0.0.1"), WatchState("1 broker"))
        script(self, p=scripted)
        await self.explain(HEADERS + tables("p"), "a.z.test", client="192.0.2.7:5", tlvs={"authority": "b"})
        await self.explain(HEADERS + tables("p"), "a.z.test")
        self.assertEqual(
            [("192.0.2.7:5", {"authority": "b"}), ("192.0.2.1:0", {})],
            [(asked.client, asked.proxy_tlvs) for asked in scripted.asked if asked.server_name == "a.z.test"],
        )

    async def test_proxy_port(self) -> None:
        """The port of the header is the listener's, or as given."""
        text = HEADERS.replace("tcp:0", "tcp:4443") + route("a.test", "192.0.2.9:{proxy_protocol_port}")
        for port in (None, 7):
            report = await self.explain(text, "a.test", proxy_port=port)
            self.assertEqual(f"192.0.2.9:{port or 4443}", report.targets[0].target)

    async def test_send_proxy(self) -> None:
        """The header that targets get; with --connect, one without a client goes before the hello."""
        proxy = Proxy(self, HEADERS + route("a.test", self.server("a.test")))
        text = route("a.test", f"127.0.0.1:{proxy.port}")
        report = await self.explain(text, "a.test", connect=True)
        self.assertFalse(report.routed)
        for version in ("v1", "v2"):
            report = await self.explain(f'{text}send_proxy = "{version}"\n', "a.test", connect=True)
            self.assertEqual((f"{version}, before the hello", True), (report.send_proxy, report.routed))
        plain = 'endpoint = "tcp:0"\nplaintext = true\ntarget = "127.0.0.1:5"\nsend_proxy = "v2"\n'
        report = await self.explain(f'[[listener]]\n{plain}proxy_tlvs = ["unique_id"]\n', None)
        self.assertEqual("v2 with unique_id, before the client's bytes", report.send_proxy)

    async def test_plaintext(self) -> None:
        """A plaintext listener needs no name: its resolver is queried, and its port is known."""
        script(self, p=Scripted(answers("127.0.0.1"), WatchState("1 broker")))
        plain = '[[listener]]\nendpoint = "tcp:7"\nplaintext = true\n'
        for text, target in (
            (plain + 'resolver = "p"\n' + tables("p"), "127.0.0.1:6651"),
            (plain + 'target = "127.0.0.1:{port}"\n', "127.0.0.1:7"),
        ):
            explainer = self.explainer(text)
            (report,) = await explainer.explain_all(explainer._configuration.listeners[0], ExplainOptions())
            self.assertEqual([target], [goal.target for goal in report.targets])

    async def test_all(self) -> None:
        """Every route of a listener is checked, unless it needs a name; a shadowed route is a problem."""
        text = (
            LISTENER
            + route("a.test", "127.0.0.1:9")
            + route("a.test", "127.0.0.1:8")
            + 'listener = "public"\n'
            + route("*.test", "{1}")
            + route("*.eu.test", "127.0.0.1:9")
            + '[default]\ntarget = "127.0.0.1:7"\n[no_server_name]\ntarget = "127.0.0.1:6"\n'
        )
        explainer = self.explainer(text)
        reports = await explainer.explain_all(explainer._configuration.listeners[0], ExplainOptions())
        self.assertEqual(
            ["a.test", "a.test (on public)", "*.test", "*.eu.test", "[default]", "[no_server_name]"],
            [report.route for report in reports],
        )
        self.assertEqual(["shadowed: a.test (on public) matches this name on this listener"], reports[0].problems)
        self.assertEqual("depends on the name", reports[2].unchecked)
        self.assertEqual([True, None, True, True, True], [report.routed for report in reports[1:]])
        self.assertFalse(any(report.problems for report in reports[1:]))
        plain = '[[listener]]\nendpoint = "tcp:0"\nplaintext = true\ntarget = "127.0.0.1:5"\n'
        explainer = self.explainer(plain)
        (report,) = await explainer.explain_all(explainer._configuration.listeners[0], ExplainOptions())
        self.assertEqual(["127.0.0.1:5"], [goal.target for goal in report.targets])

    async def test_all_asks(self) -> None:
        """The resolver of a route without a fixed name is queried for a name that no client sends: it must answer or
        refuse.
        """
        good = Scripted(answers("127.0.0.1"), WatchState("1 broker"))
        no = Scripted(refuses, WatchState("1 broker"))
        dead = Scripted(fails, WatchState("no brokers known", "refused"))
        for resolver, pattern, name, captures, problems in (
            (good, "*.z.test", "sniproxy-explain.z.test", ("sniproxy-explain",), 0),
            (no, "*.z.test", "sniproxy-explain.z.test", ("sniproxy-explain",), 0),
            (no, "~(a+)-(b+)", "sniproxy-explain.invalid", ("sniproxy-explain",) * 2, 0),
            (dead, "*.z.test", "sniproxy-explain.z.test", ("sniproxy-explain",), 1),
        ):
            script(self, p=resolver)
            explainer = self.explainer(tables("p", server_name=pattern))
            (report,) = await explainer.explain_all(explainer._configuration.listeners[0], ExplainOptions(connect=True))
            self.assertEqual((name, captures), (resolver.asked[-1].server_name, resolver.asked[-1].captures))
            self.assertEqual((problems, ()), (len(report.problems), tuple(report.targets)))
            self.assertEqual(False if problems else None, report.routed)
            self.assertEqual(resolver.known.error, report.watches[0].error)
        self.assertIn("probe with sniproxy-explain.z.test: ", report.problems[0])
        self.assertIn("ZooKeeper is silent", report.problems[0])
        explainer = self.explainer(tables("p", server_name="a.z.test") + '[default]\nresolver = "p"\n')
        _, default = await explainer.explain_all(explainer._configuration.listeners[0], ExplainOptions())
        self.assertIn("probe with sniproxy-explain.invalid: ", default.problems[0])


class ConnectTests(ExplainerCase):
    """With --connect."""

    async def test_certificate(self) -> None:
        """TLS version, certificate names, expiry, and whether it covers the name, the service name and --also."""
        soon = datetime.now(UTC) + timedelta(days=10)
        address = self.server("b-1.test", "*.vip.test", not_after=soon)
        text = route("b-1.test", address) + route("vip.test", address, "127.0.0.1:9")
        report = await self.explain(text, "b-1.test", connect=True, also=("x.vip.test",))
        (goal,) = report.targets
        assert goal.dialled is not None and goal.dialled.certificate is not None
        self.assertEqual((address, None), (goal.dialled.address, goal.dialled.error))
        self.assertRegex(str(goal.dialled.tls), r"TLSv1\.[23]")
        shown = goal.dialled.certificate
        self.assertEqual(("b-1.test", "*.vip.test"), shown.names)
        self.assertEqual({"b-1.test": True, "vip.test": False, "x.vip.test": True}, shown.covers)
        self.assertEqual(soon.date().isoformat(), shown.expires)
        self.assertTrue(9 < shown.days <= 10)
        self.assertEqual([f"{address}: the certificate does not cover vip.test"], report.problems)

    async def test_service_name(self) -> None:
        """The certificate of a broker must cover the service name of the resolver; Go may pin that name."""
        address = self.server("b-1.z.test")
        host, port = address.split(":")

        def cluster(request: Request) -> Resolution:
            both = [Target(host, int(port)), Target("127.0.0.2", 1)]
            return Resolution(both if request.server_name == "vip.z.test" else both[:1])

        script(self, p=Scripted(cluster, WatchState("2 brokers")))
        text = tables("p") + 'service_name = "vip.z.test"\n'
        report = await self.explain(text, "b-1.z.test", connect=True)
        self.assertEqual([f"{address}: the certificate does not cover vip.z.test"], report.problems)
        self.assertIn("such as vip.z.test", report.notes[0])
        report = await self.explain(text, "b-1.z.test")
        self.assertEqual((1, []), (len(report.notes), report.problems))

    async def test_notes(self) -> None:
        """The note for C++ is shown with certificates, unless another name was given; never for plaintext listeners."""
        text = route("b-1.test", self.server("b-1.test"))
        for wish, said in (({}, False), ({"connect": True}, True), ({"connect": True, "also": ("b-1.test",)}, False)):
            report = await self.explain(text, "b-1.test", **wish)
            self.assertEqual(said, any("C++" in note for note in report.notes))
        plain = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\nplaintext = true\ntarget = "127.0.0.1:1"\n'
        report = await self.explain(plain + route("b.test", "127.0.0.1:1", "127.0.0.1:2"), "b", connect=True)
        self.assertEqual((), report.notes)

    async def test_down(self) -> None:
        """A target that refuses the connection, and one without TLS."""
        report = await self.explain(route("a.test", "127.0.0.1:1"), "a.test", connect=True)
        self.assertEqual((["127.0.0.1:1: Connection refused"], False), (report.problems, report.routed))
        host, port = listen(self, SayingFactory(b"SSH-2.0-x\r\n"), None)
        report = await self.explain(route("a.test", f"{host}:{port}"), "a.test", connect=True)
        self.assertIn("the TLS handshake failed", report.problems[0])

    async def test_terminated(self) -> None:
        """If the listener terminates TLS, the target is verified, and a certificate of the proxy covers the name."""
        files = folder(Path(self.mktemp()), shown_pem=pem("a.test", "b.test"), ca_pem=CA.cert_pem.bytes())
        listener = f'{LISTENER}certificates = "shown.pem"\nupstream_trust = "ca.pem"\n'
        text = listener + "".join(route(name, self.server(name)) for name in ("a.test", "c.test"))
        report = await self.explain(text, "a.test", str(files / "x.toml"), connect=True)
        self.assertIn("its certificate is not trusted", report.problems[0])
        report = await self.explain(text, "c.test", str(files / "x.toml"))
        self.assertIn("no certificate covers this name", report.problems[0])
