"""Tests for sniproxy.cli.conversation.replay."""

from __future__ import annotations

import io
import json
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred

from sniproxy import ctl
from sniproxy.cli.commands import Streams
from sniproxy.cli.conversation import replay
from sniproxy.cli.conversation.replay import endpoint_of, play_broker, play_client
from sniproxy.cli.failure import CommandFailed
from sniproxy.client.endpoint import SniProxyEndpoint
from sniproxy.client.failures import ClientError
from sniproxy.conversation.player import Login
from sniproxy.conversation.textform import read_conversation
from sniproxy.net.hostendpoint import HostEndpoint
from sniproxy.pulsar import commands_pb2 as pb
from sniproxy.pulsar.commands import write
from sniproxy.testing.pulsar import PulsarCluster
from sniproxy.tls.clientcontext import BadPem
from tests.cli.conversation.demo import TIMEOUT_S, TOPIC, Announced, DemoCase, reactor, round_trip
from tests.conversation.talk import conversation, recorded, talk


def edited(file: Path, old: str, new: str) -> Path:
    """The file with another text."""
    text = file.read_text()
    assert old in text, old
    file.write_text(text.replace(old, new))
    return file


class ReplayCase(DemoCase):
    """Plays files in the reactor of the test."""

    async def as_broker(self, files: list[Path], act: Callable[[str], Any], *words: str) -> int:
        """Play the broker; C{act} is called with its URL."""
        names = [str(file) for file in files]
        options = ctl.parse(["replay", "--as", "broker", *names, "--timeout", "30", *words])
        played = [read_conversation(file.read_text().splitlines()) for file in files]
        self.out, self.told = io.StringIO(), Announced()
        running = Deferred.fromCoroutine(play_broker(options, played, self.out, self.told, reactor))
        self.addCleanup(running.cancel)
        await act(await self.told.url.addTimeout(TIMEOUT_S, reactor))
        return await running.addTimeout(TIMEOUT_S, reactor)

    async def as_client(self, file: Path, address: str, *words: str, login: Login | None = None) -> int:
        """Play the client."""
        options = ctl.parse(
            ["replay", "--as", "client", str(file), "--connect", address, "--timeout", str(TIMEOUT_S), *words]
        )
        played = read_conversation(file.read_text().splitlines())
        host, _, port = address.partition(":")
        self.out, self.told = io.StringIO(), Announced()
        connecting = partial(endpoint_of, options, host, int(port))
        command = play_client(options, played, connecting, login, self.out, self.told, reactor)
        running = Deferred.fromCoroutine(command)
        self.addCleanup(running.cancel)
        return await running.addTimeout(TIMEOUT_S, reactor)


class BrokerTests(ReplayCase):
    """``replay --as broker``."""

    async def test_equal(self) -> None:
        """A client that does the same again meets the recorded broker, and nothing differs."""
        for words in ((), ("--payloads",)):
            file = await self.record(*words)
            self.assertEqual(0, await self.as_broker([file], round_trip_of()))
            self.assertEqual("", self.out.getvalue())
            self.assertTrue(self.told.getvalue().endswith(f"{file}: equal\n"))

    async def test_differs(self) -> None:
        """A client that does one thing differently is told which field of which frame."""
        file = await self.record()
        status = await self.as_broker([file], round_trip_of(subscription="other"))
        self.assertEqual(1, status)
        [line] = [
            each
            for each in read_conversation(file.read_text().splitlines()).lines
            if each.entry["command"] == "SUBSCRIBE"
        ]
        self.assertEqual(
            f"{file}:{line.number}: SUBSCRIBE subscription\n  expected: 'tour'\n  came:     'other'\n",
            self.out.getvalue(),
        )
        self.assertIn(f"{file}: 1 difference\n", self.told.getvalue())

    async def test_ignored(self) -> None:
        """Fields can be ignored."""
        file = await self.record()
        words = ("--ignore", "SUBSCRIBE.subscription")
        self.assertEqual(0, await self.as_broker([file], round_trip_of(subscription="other"), *words))

    async def test_times(self) -> None:
        """The recorded times may be kept, in part."""
        file = await self.record()
        self.assertEqual(0, await self.as_broker([file], round_trip_of(), "--times", "0.01"))

    async def test_several(self) -> None:
        """Each connection plays the next file; a further one is refused."""
        file = await self.record()
        again = file.with_name(file.name + "-again")
        again.write_text(file.read_text())

        async def act(url: str) -> None:
            await round_trip_of()(url)
            await round_trip_of()(url)

        self.assertEqual(0, await self.as_broker([file, again], act))
        self.assertEqual(2, self.told.getvalue().count(": equal"))

    async def test_brokers(self) -> None:
        """Each recorded broker has an address of its own, to which the answers to lookups lead."""
        cluster = PulsarCluster(2, reactor=reactor)
        cluster.start()
        self.addCleanup(cluster.stop)
        one, two = cluster.brokers
        topic, target = cluster.topic_of(two), one.url.partition("//")[2]
        file = await self.record("--connections", "2", target=target, topic=topic)
        files = [file, file.with_name(f"{file.name}-2")]
        status = await self.as_broker(files, round_trip_of(topic))
        self.assertEqual((0, ""), (status, self.out.getvalue()))
        told = self.told.getvalue()
        self.assertIn(f"playing the broker {two.url.partition('//')[2]} at pulsar://127.0.0.1:", told)
        self.assertEqual((2, 2), (told.count("playing the broker"), told.count(": equal")))

    async def test_refused(self) -> None:
        """A connection that no file is left for is closed."""
        file = await self.record()

        async def act(url: str) -> None:
            sockets = [socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])))]
            self.addCleanup(sockets[0].close)
            await self.assertFailure(Deferred.fromCoroutine(round_trip(url)), ClientError)
            sockets[0].close()

        self.assertEqual(1, await self.as_broker([file], act))
        self.assertIn("further connection", self.told.getvalue())

    async def test_nobody(self) -> None:
        """Without a client, the command ends."""
        file = await self.record()

        async def act(url: str) -> None:
            pass

        failure = await self.assertFailure(
            Deferred.fromCoroutine(self.as_broker([file], act, "--wait", "0.01")), CommandFailed
        )
        self.assertIn("no connection for ", str(failure))

    async def test_bad_endpoint(self) -> None:
        """An endpoint that is none is an error."""
        file = await self.record()

        async def act(url: str) -> None:
            pass

        options = ctl.parse(["replay", "--as", "broker", str(file), "--listen", "nonsense"])
        command = play_broker(options, [conversation(talk())], io.StringIO(), io.StringIO(), reactor)
        failure = await self.assertFailure(Deferred.fromCoroutine(command), CommandFailed)
        self.assertIn("cannot listen on nonsense", str(failure))


class ClientTests(ReplayCase):
    """``replay --as client``."""

    async def test_equal(self) -> None:
        """A broker of the same kind gives the same answers, with ids and addresses of its own."""
        file = await self.record()
        self.assertEqual(0, await self.as_client(file, self.cluster()))
        self.assertEqual("", self.out.getvalue())
        self.assertIn(": equal\n", self.told.getvalue())

    async def test_differs(self) -> None:
        """An answer that differs is shown."""
        file = edited(await self.record(), '"partitions": 0', '"partitions": 3')
        self.assertEqual(1, await self.as_client(file, self.cluster()))
        self.assertIn("PARTITIONED_METADATA_RESPONSE partitions\n  expected: 3\n  came:     0\n", self.out.getvalue())

    async def test_strict(self) -> None:
        """Versions differ on request."""
        file = edited(await self.record(), "sniproxy-stand-in", "another")
        self.assertEqual(0, await self.as_client(file, self.cluster()))
        self.assertEqual(1, await self.as_client(file, self.cluster(), "--strict"))
        self.assertIn("CONNECTED server_version", self.out.getvalue())

    async def test_tls(self) -> None:
        """With TLS and a server name, through the certificate of the broker."""
        file = await self.record()
        cluster = PulsarCluster(1, reactor=reactor, tls=True)
        cluster.start()
        self.addCleanup(cluster.stop)
        pem = Path(self.mktemp())
        pem.write_bytes(cluster.authority_pem)
        host, port = cluster.addresses["broker-1.pulsar.test"]
        words = ("--trust", str(pem), "--server-name", "broker-1.pulsar.test", "--ignore", "brokerServiceUrl")
        self.assertEqual(0, await self.as_client(file, f"{host}:{port}", *words, "--ignore", "brokerServiceUrlTls"))
        wrong = ("--trust", str(pem), "--server-name", "broker-9.pulsar.test")
        self.assertEqual(1, await self.as_client(file, f"{host}:{port}", *wrong))
        self.assertIn("the broker closed the connection (", self.out.getvalue())

    async def test_both_with_tls(self) -> None:
        """A broker that is played with TLS meets a client with TLS."""
        cluster = PulsarCluster(1, reactor=reactor, tls=True)
        key, trust, file = (Path(self.mktemp()) for _ in range(3))
        key.write_bytes(cluster.proxy_pem())
        trust.write_bytes(cluster.authority_pem)
        url = pb.CommandLookupTopicResponse(
            request_id=1, brokerServiceUrl="pulsar://b:1", brokerServiceUrlTls="pulsar+ssl://b:2"
        )
        file.write_text("\n".join(recorded([*talk(), ("broker", write(url))])))
        played = read_conversation(file.read_text().splitlines())
        listen = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={key}"
        options = ctl.parse(["replay", "--as", "broker", str(file), "--listen", listen])
        out, error = io.StringIO(), Announced("pulsar+ssl://")
        running = Deferred.fromCoroutine(play_broker(options, [played], out, error, reactor))
        self.addCleanup(running.cancel)
        address = (await error.url.addTimeout(TIMEOUT_S, reactor)).removeprefix("pulsar+ssl://")
        words = ("--trust", str(trust), "--server-name", "localhost")
        self.assertEqual(0, await self.as_client(file, address, *words))
        self.assertEqual(0, await running.addTimeout(TIMEOUT_S, reactor))

    async def test_login(self) -> None:
        """Credentials that were struck out are asked for."""
        file = edited(
            await self.record(), '"auth_method_name": "none"', '"auth_method_name": "x", "auth_data": {"struck": 4}'
        )
        self.assertEqual(0, await self.as_client(file, self.cluster()))
        self.assertIn("give them with --token", self.told.getvalue())
        self.assertEqual(0, await self.as_client(file, self.cluster(), login=Login("token", b"abc")))
        self.assertNotIn("--token", self.told.getvalue())

    async def test_unreachable(self) -> None:
        """A broker that cannot be reached is an error in one line."""
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{closed.getsockname()[1]}"
            file = await self.record()
            failure = await self.assertFailure(Deferred.fromCoroutine(self.as_client(file, address)), CommandFailed)
        self.assertIn(f"{address}: ", str(failure))


class CommandTests(ReplayCase):
    """The command line."""

    def run_replay(self, *words: str) -> int:
        streams = Streams(io.BytesIO(), io.StringIO(), io.StringIO())
        self.called: list[Any] = []

        def run(command: Any) -> int:
            self.called.append(command)
            return 0

        self.patch(replay, "run_in_reactor", run)
        status = ctl.main(["replay", *words], streams)
        self.error_text = streams.error.getvalue()  # type: ignore[attr-defined]
        return status

    def file(self) -> str:
        name: str = self.mktemp()
        Path(name).write_text("\n".join(recorded(talk())))
        return name

    def test_commands(self) -> None:
        """Each side runs in the reactor, with the login that was given."""
        token = self.mktemp()
        Path(token).write_text("abc\n")
        self.assertEqual(0, self.run_replay("--as", "broker", self.file()))
        self.assertIs(play_broker, self.called[0].func)
        self.assertEqual(0, self.run_replay("--as", "client", self.file(), "--connect", "h", "--token", token))
        self.assertEqual(Login("token", b"abc"), self.called[0].args[3])
        self.assertEqual(0, self.run_replay("--as", "client", self.file(), "--connect", "h:1"))
        self.assertIsNone(self.called[0].args[3])

    def test_order(self) -> None:
        """Files are played in the order in which they were recorded; without all times, in that of the command."""
        names = [self.file() for _ in range(3)]
        for times, order in (
            (("12:00:02", "12:00:10", "12:00:01"), (2, 0, 1)),
            (("12:00:02", "12:00:10", "soon"), (0, 1, 2)),
        ):
            for number, (name, time) in enumerate(zip(names, times, strict=True)):
                head = {"conversation": 1, "client": f"c:{number}", "started": f"2026-11-30T{time}+00:00"}
                Path(name).write_text(json.dumps(head) + "\n")
            self.assertEqual(0, self.run_replay("--as", "broker", *names))
            options, played = self.called[0].args[:2]
            self.assertEqual([names[at] for at in order], options.files)
            self.assertEqual([f"c:{at}" for at in order], [each.client for each in played])

    def test_endpoints(self) -> None:
        """TLS options give an endpoint with TLS."""
        for words, kind in (
            ((), HostEndpoint),
            (("--tls",), SniProxyEndpoint),
            (("--server-name", "b"), SniProxyEndpoint),
        ):
            options = ctl.parse(["replay", "--as", "client", "x", "--connect", "h", *words])
            self.assertIsInstance(endpoint_of(options, "h", None, reactor), kind)

    def test_usage(self) -> None:
        """Options of the other side, and files that are no certificates or tokens, are wrong usage."""
        client = ("--as", "client", self.file(), "--connect", "h:1")
        for words in (
            ("--as", "broker", self.file(), "--tls"),
            ("--as", "client", self.file()),
            (*client, self.file()),
            (*client, "--listen", "tcp:0"),
            (*client, "--token", "/nowhere"),
            (*client, "--key", "/nowhere"),
            ("--as", "client", self.file(), "--connect", "h:x"),
        ):
            self.patch(sys, "stderr", io.StringIO())
            self.assertEqual(2, self.assertRaises(SystemExit, self.run_replay, *words).code, words)
        options = ctl.parse(["replay", *client, "--certificate", "/nowhere"])
        self.assertRaises(BadPem, endpoint_of, options, "h", 1, reactor)

    def test_bad_files(self) -> None:
        """A file that cannot be read or played is an error in one line, with the status of wrong usage."""
        bad, incomplete = self.mktemp(), self.mktemp()
        Path(bad).write_bytes(b'{"conversation": 1}\n\xff\n')
        Path(incomplete).write_text("\n".join(recorded(talk())))
        edited(Path(incomplete), '"PRODUCER_SUCCESS", "fields": {"request_id": 7, ', '"PRODUCER_SUCCESS", "fields": {')
        for name, reason in (
            ("/nowhere", "No such file"),
            ("a\0b", "not a path"),
            (bad, f"{bad}: line 2: not JSON"),
            (incomplete, f"{incomplete}: line 5: PRODUCER_SUCCESS: request_id is missing; Pulsar requires it"),
        ):
            self.assertEqual(2, self.run_replay("--as", "broker", name))
            self.assertIn(reason, self.error_text)
            self.assertEqual(1, self.error_text.count("\n"))
        self.assertEqual(0, self.run_replay("--as", "client", incomplete, "--connect", "h"))


def round_trip_of(topic: str = TOPIC, **settings: str) -> Callable[[str], Any]:
    """A client that does what was recorded."""

    async def act(url: str) -> None:
        try:
            got = await round_trip(url, topic, b"hello", **settings)
        except ClientError as error:
            raise AssertionError(str(error)) from error
        assert got == b"hello", got

    return act
