"""Tests for sniproxy.cli.lookup."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import trustme
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from sniproxy.cli import lookup, lookupreport
from sniproxy.cli.lookup import look_up, read
from sniproxy.cli.lookupoptions import add_lookup
from sniproxy.client.failures import FailureKind
from sniproxy.client.logins import CERTIFICATE, NO_LOGIN, BadToken
from sniproxy.client.topics import BadTopic
from sniproxy.pulsar.serviceurl import BadServiceURL, SniProxy
from sniproxy.testing.pulsar import PulsarCluster
from sniproxy.tls.clientcontext import BadPem
from tests.client.scripted import SCALABLE, Answer, Partitions, Scripted, connected, lookup_answer, scalable
from tests.support import programs
from tests.support.proxies import Proxy
from tests.support.reactor import reactor
from tests.support.sockets import TIMEOUT_S
from tests.support.tlsservers import ServerTLS, listen, write_pem

TOPIC = "persistent://public/default/my-topic"
VIP = "pulsar-vip.test"
PROGRAM = Path(sys.executable).with_name("sniproxyctl")
B1, B2 = "broker-1.pulsar.test", "broker-2.pulsar.test"


class LookupCase(TestCase):
    """Has a temporary folder, and parses options."""

    timeout = 120

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.authority = trustme.CA()
        self.ca = write_pem(self.folder, "ca.pem", self.authority.cert_pem)

    def options(self, *arguments: str) -> argparse.Namespace:
        top = argparse.ArgumentParser()
        add_lookup(top.add_subparsers())
        return top.parse_args(["lookup", *arguments])


class ReadTests(LookupCase):
    """read: the meaning of the options."""

    def read(self, *arguments: str) -> Any:
        return read(self.options("my-topic", "--service-url", f"pulsar+ssl://{VIP}", *arguments))

    def test_all(self) -> None:
        """Each option sets its field."""
        issued = self.authority.issue_cert("client.test")
        certificate = write_pem(self.folder, "client.pem", *issued.cert_chain_pems)
        key = write_pem(self.folder, "client.key", issued.private_key_pem)
        proxy = ("--proxy-service-url", "pulsar+ssl://proxy.test:4443", "--proxy-protocol", "SNI")
        files = ("--trust", str(self.ca), "--certificate", str(certificate), "--key", str(key))
        topic, settings, access = self.read(*proxy, *files, "--timeout", "3")
        self.assertEqual((topic, settings.proxy), (TOPIC, SniProxy("proxy.test", 4443)))
        self.assertEqual((access.proxy, access.tls, access.timeout_s), (settings.proxy, True, 3.0))
        self.assertIsNotNone(access.trust)
        self.assertIsNotNone(access.certificate)
        self.assertEqual(access.login, CERTIFICATE)
        access = self.read()[2]
        self.assertEqual((access.proxy, access.trust, access.certificate, access.login), (None, None, None, NO_LOGIN))

    def test_token(self) -> None:
        """A token is read from a file or from the environment, and no text shows it."""
        file = self.folder / "token"
        file.write_text("geheim\n")
        self.patch(os, "environ", {**os.environ, "THE_TOKEN": "geheim"})
        for source in (str(file), "env:THE_TOKEN"):
            access = self.read("--token", source)[2]
            self.assertEqual((access.login.method, access.login.data), ("token", b"geheim"))
            self.assertNotIn("geheim", repr(access))

    def test_refused(self) -> None:
        """The error for an invalid value names the option; a token on the command line is not shown."""
        empty = self.folder / "empty"
        empty.touch()
        for arguments, kind, reason in (
            (("--proxy-protocol", "SNI"), BadServiceURL, "without proxy_service_url"),
            (("--trust", "/absent"), BadPem, "--trust '/absent'"),
            (("--certificate", "/absent"), BadPem, "--certificate '/absent'"),
            (("--key", "/absent"), BadPem, "--key requires --certificate"),
            (("--token", "geheim"), BadToken, "--token: cannot read the file: No such file"),
            (("--token", "geheim\0"), BadToken, "--token: cannot read the file: not a path"),
            (("--token", "env:geheim"), BadToken, "no such environment variable"),
            (("--token", str(empty)), BadToken, "--token: the token is empty"),
        ):
            error = self.assertRaises(kind, self.read, *arguments)
            self.assertIn(reason, str(error))
            self.assertNotIn("geheim", str(error))
        self.assertRaises(BadTopic, read, self.options("a/b", "--service-url", "pulsar://a"))
        plain = self.options("a", "--service-url", "pulsar://a", "--config", "x.toml")
        self.assertIn("--config", str(self.assertRaises(BadServiceURL, read, plain)))


class LookUpTests(LookupCase):
    """look_up, through a real proxy."""

    def proxy(self, routes: dict[str, tuple[str, int]]) -> Proxy:
        text = "".join(
            f'[[route]]\nserver_name = "{name}"\ntarget = "{host}:{port}"\n' for name, (host, port) in routes.items()
        )
        return Proxy(self, text)

    def demo_cluster(self) -> PulsarCluster:
        cluster = PulsarCluster((B1, B2), reactor=reactor, tls=True, behind_proxy=True)
        cluster.start()
        self.addCleanup(cluster.stop)
        self.ca.write_bytes(cluster.authority_pem)
        return cluster

    def settings(self, proxy: Proxy, *more: str, topic: str = "my-topic") -> list[str]:
        url = f"pulsar+ssl://127.0.0.1:{proxy.port}"
        common = ["--proxy-service-url", url, "--proxy-protocol", "sni", "--trust", str(self.ca)]
        return [topic, "--service-url", f"pulsar+ssl://{VIP}", *common, *more]

    async def run_it(self, proxy: Proxy, *more: str, topic: str = "my-topic") -> int:
        self.out, self.error = StringIO(), StringIO()
        options = self.options(*self.settings(proxy, *more, topic=topic))
        listener, as_json, config = options.listener, options.json, options.config
        return await look_up(reactor, *read(options), listener, as_json, self.out, self.error, config)

    async def test_good(self) -> None:
        """Hops, owner and certificates are shown; the proxy logs each connection as ok."""
        cluster = self.demo_cluster()
        proxy = self.proxy({VIP: cluster.addresses[B1], **cluster.addresses})
        self.assertEqual(await self.run_it(proxy), 0, self.error.getvalue())
        lines = self.out.getvalue().splitlines()
        self.assertEqual((lines[0], lines[-1]), (TOPIC, f"{TOPIC}  pulsar+ssl://{B2}:6651"))
        self.assertEqual([line.split()[0] for line in lines if line.startswith("  ") and line[2] != " "],
            ["metadata", "lookup", "connect"])  # fmt: skip
        self.assertEqual(self.error.getvalue(), "")
        ended = [await proxy.ended(number) for number in range(2)]
        self.assertEqual({record.server_name for record in ended}, {VIP, B2})
        self.assertEqual({str(record.result) for record in ended}, {"ok"})

    async def test_owner_without_route(self) -> None:
        """An owner without a route is reported as a failure; the exit status is its kind."""
        cluster = self.demo_cluster()
        self.assertEqual(
            await self.run_it(self.proxy({VIP: cluster.addresses[B1]}), "--json"), int(FailureKind.NO_ROUTE)
        )
        document = json.loads(self.out.getvalue())
        self.assertEqual(document["owners"][0]["url"], f"pulsar+ssl://{B2}:6651")
        self.assertEqual(document["failure"]["kind"], "no_route")
        self.assertIn(f"add a route for {B2}", self.error.getvalue())

    async def partitioned(self, *more: str) -> tuple[int, Scripted]:
        """Look up a topic of four partitions, two on each broker; broker 2 is down, and the third lookup fails."""
        said = 0

        def script(name: str, fields: Any) -> Any:
            nonlocal said
            if name == "CONNECT":
                return [connected()]
            if name == "PARTITIONED_METADATA":
                return [Partitions(request_id=fields.request_id, response=Partitions.Success, partitions=4)]
            said += 1
            if said == 3:
                return [lookup_answer(fields, Answer.Failed, message="not now")]
            return [lookup_answer(fields, Answer.Connect, f"pulsar+ssl://{(B1, B2)[said % 2]}:6651")]

        broker = Scripted(script)
        where = listen(self, broker, ServerTLS(self.authority, B1, VIP))
        proxy = self.proxy({VIP: where, B1: where})
        return await self.run_it(proxy, *more), broker

    async def test_partitions(self) -> None:
        """Each partition is looked up independently; each owner is connected to once."""
        status, broker = await self.partitioned()
        self.assertEqual(status, int(FailureKind.NO_ROUTE))
        self.assertEqual(
            [line.removeprefix(f"{TOPIC}-partition-") for line in self.out.getvalue().splitlines()[-4:]],
            [
                f"0  pulsar+ssl://{B2}:6651  FAILED (no_route)",
                f"1  pulsar+ssl://{B1}:6651",
                "2  -  FAILED (refused)",
                f"3  pulsar+ssl://{B1}:6651",
            ],
        )
        self.assertEqual([name for name, _ in broker.heard].count("CONNECT"), 2)
        self.assertEqual(self.out.getvalue().count("  connect "), 2)
        self.assertEqual(self.error.getvalue().count("sniproxyctl: "), 2)

    async def test_gone(self) -> None:
        """A broker that disconnects is not asked for the remaining partitions."""

        def script(name: str, fields: Any) -> Any:
            if name == "PARTITIONED_METADATA":
                return [Partitions(request_id=fields.request_id, response=Partitions.Success, partitions=100)]
            return [connected()] if name == "CONNECT" else [b""]

        where = listen(self, Scripted(script), ServerTLS(self.authority, VIP))
        self.assertEqual(await self.run_it(self.proxy({VIP: where})), int(FailureKind.CLOSED))
        self.assertEqual(self.error.getvalue().count("sniproxyctl: "), 1)

    async def scalable(self, *more: str, controller: str | None = None, topic: str = SCALABLE) -> int:
        """Look up a scalable topic of Pulsar 5 with three segments, whose first one is sealed."""
        self.broker = Scripted(scalable(controller, 3))
        where = listen(self, self.broker, ServerTLS(self.authority, B1, VIP))
        return await self.run_it(self.proxy({VIP: where, B1: where}), *more, topic=topic)

    async def test_scalable_topic(self) -> None:
        """The layout, the controller and the owner of each segment are shown; each broker is connected to once."""
        self.assertEqual(await self.scalable(controller=f"pulsar://{B1}:6650"), 0, self.error)
        lines = self.out.getvalue().splitlines()
        self.assertIn(f"controller pulsar://{B1}:6650", [line.strip() for line in lines])
        self.assertEqual(
            [
                ["segment", "0", "0000-ffff", "sealed", "no", "broker"],
                ["segment", "1", "0000-7fff", "active", f"pulsar://{B1}:6650"],
                ["segment", "2", "8000-ffff", "active", f"pulsar://{B1}:6650"],
            ],
            [line.split() for line in lines if line.startswith(" " * 12 + "segment")],
        )
        segments = ("0000-ffff-0", "0000-7fff-1", "8000-ffff-2")
        names = [SCALABLE, *(f"segment://public/default/s/{end}" for end in segments)]
        self.assertEqual([[name, f"pulsar+ssl://{B1}:6651"] for name in names], [line.split() for line in lines[-4:]])
        # By the service name, to the owner of all topics, and to the controller, which has another port.
        self.assertEqual([name for name, _ in self.broker.heard].count("CONNECT"), 3)
        self.assertEqual(self.out.getvalue().count("  connect "), 1)
        self.assertEqual(["lookup"] * 4, [line.split()[0] for line in lines if line.startswith("  lookup")])

    async def test_no_controller(self) -> None:
        """A topic without a controller yet is no failure; of a topic with many segments, the first are looked up."""
        self.patch(lookup, "MAX_SEGMENTS", 2)
        self.patch(lookupreport, "MAX_SEGMENTS", 2)
        self.assertEqual(await self.scalable("--json"), 0, self.error)
        document = json.loads(self.out.getvalue())
        layout = document["layout"]
        self.assertEqual((3, None, 3), (layout["epoch"], layout["controller"], layout["segments_total"]))
        self.assertEqual(["sealed", "active"], [segment["state"] for segment in layout["segments"]])
        self.assertEqual(3, len(document["owners"]))
        self.assertEqual(["1 segment not looked up: the topic has more than 2"], document["warnings"])
        self.assertEqual((None, None), (document["partitions"], document["unrouted"]))
        await self.scalable()
        self.assertIn("no controller yet", self.out.getvalue())

    async def test_controller_by_address(self) -> None:
        """A controller that is advertised by address is a failure with a cure; segments are looked up nevertheless."""
        self.assertEqual(await self.scalable("--json", controller="pulsar://10.0.0.7:6650"), int(FailureKind.NO_ROUTE))
        document = json.loads(self.out.getvalue())
        controller = document["layout"]["controller"]
        self.assertEqual(("pulsar://10.0.0.7:6650", None), (controller["broker_url"], controller["broker_url_tls"]))
        self.assertIn("advertisedAddress", controller["failure"]["cure"])
        self.assertEqual(document["failure"], controller["failure"])
        self.assertEqual(4, len([one for one in document["owners"] if one["url"] and one["failure"] is None]))
        self.assertIn(f"sniproxyctl: the controller of {SCALABLE}: ", self.error.getvalue())

    async def test_bad_controller(self) -> None:
        """A controller's URL that is none is a failure."""
        self.assertEqual(await self.scalable(controller="http://b.test"), int(FailureKind.NO_TLS_URL))

    async def test_segment(self) -> None:
        """A segment is looked up without a request for partitions or for a layout."""
        name = "segment://public/default/s/0000-7fff-1"
        self.assertEqual(await self.scalable(topic=name), 0, self.error)
        self.assertEqual([name, f"pulsar+ssl://{B1}:6651"], self.out.getvalue().splitlines()[-1].split())
        self.assertEqual(["CONNECT", "LOOKUP", "CONNECT"], [command for command, _ in self.broker.heard])

    async def test_unsupported(self) -> None:
        """A broker without scalable topics is a failure that names the version."""
        broker = Scripted(lambda name, fields: [connected("Pulsar Server4.2.4")])
        where = listen(self, broker, ServerTLS(self.authority, VIP))
        self.assertEqual(await self.run_it(self.proxy({VIP: where}), topic=SCALABLE), int(FailureKind.UNSUPPORTED))
        self.assertIn("Pulsar Server4.2.4 does not support scalable topics", self.error.getvalue())

    async def test_config(self) -> None:
        """With a configuration, each named broker without a route is a failure, if nothing else is one."""
        file = self.folder / "sniproxy.toml"
        file.write_text(f'[[listener]]\nendpoint = "tcp:1"\n[[route]]\nserver_name = "{VIP}"\ntarget = "127.0.0.1:1"\n')
        self.assertEqual(await self.scalable("--config", str(file)), int(FailureKind.NO_ROUTE))
        problem = f"sniproxyctl: {file}: {B1} is advertised, but no route has it"
        self.assertEqual(1, self.error.getvalue().count(problem))
        await self.scalable("--config", str(file), "--json")
        document = json.loads(self.out.getvalue())
        self.assertEqual(([document["failure"]["reason"]], 0), (document["unrouted"], len(document["warnings"])))
        file.write_text(file.read_text() + f'[[route]]\nserver_name = "{B1}"\ntarget = "127.0.0.1:1"\n')
        self.assertEqual(await self.scalable("--config", str(file), "--json"), 0, self.error)
        self.assertEqual([], json.loads(self.out.getvalue())["unrouted"])

    def test_interrupted(self) -> None:
        """Ctrl-C ends the command at once in each stage, with status 130."""
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            silent.settimeout(TIMEOUT_S)
            url = f"pulsar+ssl://127.0.0.1:{silent.getsockname()[1]}"
            child: subprocess.Popen[bytes] = programs.start(
                self,
                [*programs.DEFAULT_SIGINT, str(PROGRAM), "lookup", "t", "--service-url", url],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            with silent.accept()[0] as client:
                self.assertTrue(client.recv(1))
                child.send_signal(signal.SIGINT)
                self.assertEqual(child.communicate(timeout=TIMEOUT_S), (b"", b""))
        self.assertEqual(child.returncode, 130)

    async def test_program(self) -> None:
        """The program in its own process: success, a failure's status, wrong usage; a token is never printed."""
        cluster = self.demo_cluster()
        proxy = self.proxy({VIP: cluster.addresses[B1], **cluster.addresses})
        token = self.folder / "token"
        token.write_text("geheim")
        for more, status, reason in (
            (("--json",), 0, ""),
            (("--token", str(token)), 0, ""),
            (("--service-url", "pulsar+ssl://nobody.test"), int(FailureKind.NO_ROUTE), "add a route for nobody.test"),
            (("--proxy-protocol", "x"), 2, "unknown proxy_protocol 'x'; write SNI"),
            (("--config", "/absent"), 2, "/absent: cannot be read: "),
            (("--token", "geheim"), 2, "never the token itself"),
        ):
            arguments = ["lookup", *self.settings(proxy, *more)]
            out, error, code = await getProcessOutputAndValue(str(PROGRAM), arguments, env=os.environ)
            self.assertEqual(code, status, error.decode())
            self.assertIn(reason, error.decode())
            self.assertNotIn(b"geheim", out + error)
            self.assertNotIn(b"Traceback", error)
