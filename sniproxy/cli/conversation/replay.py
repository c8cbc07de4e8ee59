"""The command ``sniproxyctl replay``."""

from __future__ import annotations

import argparse
from functools import partial
from typing import TextIO

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.interfaces import IProtocol, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from sniproxy.cli.conversation.options import DEFAULT_LISTEN
from sniproxy.cli.conversation.played import PlayedBrokers
from sniproxy.cli.conversation.playing import PlayingProtocol
from sniproxy.cli.exitstatus import USAGE
from sniproxy.cli.failure import CommandFailed
from sniproxy.cli.lookup import read_login
from sniproxy.cli.reactor import run_in_reactor
from sniproxy.client.endpoint import SniProxyEndpoint
from sniproxy.client.logins import BadToken
from sniproxy.conversation.brokers import address_of, brokers_by_address
from sniproxy.conversation.comparison import Rules
from sniproxy.conversation.player import Login, Player, needs_login
from sniproxy.conversation.textform import Conversation, ConversationError, Side, read_conversation
from sniproxy.net.hostendpoint import HostEndpoint
from sniproxy.pulsar.serviceurl import BadServiceURL, host_and_port
from sniproxy.tls.clientcontext import BadPem, client_certificate, trust_root
from sniproxy.util.reactor import IReactor
from sniproxy.util.text import bounded, counted, printable

_BROKER_OPTIONS = {"listen": "--listen", "keep_urls": "--keep-urls"}
_CLIENT_OPTIONS = {
    "connect": "--connect",
    "tls": "--tls",
    "server_name": "--server-name",
    "trust": "--trust",
    "certificate": "--certificate",
    "key": "--key",
    "token": "--token",
}


def run_replay(options: argparse.Namespace, out: TextIO, error: TextIO) -> int:
    """Run the command. @return: the exit status.

    @raise CommandFailed: a file cannot be read, or the other side cannot be reached.
    """
    as_broker = options.plays == "broker"
    for name, option in (_CLIENT_OPTIONS if as_broker else _BROKER_OPTIONS).items():
        if getattr(options, name):
            options.usage(f"{option} is for --as {'client' if as_broker else 'broker'}")
    if not as_broker and (options.connect is None or len(options.files) > 1):
        options.usage("--as client needs --connect HOST:PORT and one file")
    played = [_read(name, options.plays) for name in options.files]
    if as_broker:
        ordered = in_order([*zip(options.files, played, strict=True)])
        options.files = [name for name, _ in ordered]
        return run_in_reactor(partial(play_broker, options, [each for _, each in ordered], out, error))
    try:
        token = read_login(options.token, certified=False)
        login = Login(token.method, token.data) if options.token else None
        host, port = host_and_port(options.connect, "--connect")
        if options.key is not None and options.certificate is None:
            options.usage("--key requires --certificate")
        connecting = partial(endpoint_of, options, host, port)
        return run_in_reactor(partial(play_client, options, played[0], connecting, login, out, error))
    except (BadToken, BadServiceURL, BadPem, ValueError) as problem:
        options.usage(str(problem))
        raise


def in_order(files: list[tuple[str, Conversation]]) -> list[tuple[str, Conversation]]:
    """Conversations in the order in which they began: that of C{orders*.jsonl} in a shell is another one.

    Without the times of all of them: in the order given.
    """
    if any(played.started is None for _, played in files):
        return files
    return sorted(files, key=lambda file: file[1].started or 0.0)


def endpoint_of(options: argparse.Namespace, host: str, port: int | None, reactor: IReactor) -> IStreamClientEndpoint:
    """The endpoint of the options. @raise ValueError: no certificate can cover the host. @raise BadPem: a bad file."""
    if not (options.tls or options.server_name or options.trust or options.certificate):
        return HostEndpoint(reactor, host, port or 6650, options.timeout)
    certificate = None
    if options.certificate is not None:
        certificate = client_certificate(options.certificate, options.key, "--certificate", "--key")
    return SniProxyEndpoint(
        reactor,
        options.server_name or host,
        (host, port or 6651),
        trust=None if options.trust is None else trust_root(options.trust, "--trust"),
        certificate=certificate,
        timeout=options.timeout,
    )


async def play_client(
    options: argparse.Namespace,
    played: Conversation,
    connecting: partial[IStreamClientEndpoint],
    login: Login | None,
    out: TextIO,
    error: TextIO,
    reactor: IReactor,
) -> int:
    """Play the client. @return: the exit status. @raise CommandFailed: the broker cannot be reached."""
    if login is None and needs_login(played):
        print("sniproxyctl: the recording has no credentials; give them with --token", file=error)
    player = Player(played, "client", _rules(options), login=login)
    playing = PlayingProtocol(player, reactor, options.timeout, options.times, close=True)
    endpoint = connecting(reactor)
    try:
        # Another Deferred, because endpoints report a cancellation with different errors.
        connected: Deferred[IProtocol] = endpoint.connect(Factory.forProtocol(lambda: playing))
        await connected.addTimeout(options.timeout, reactor)
    except TookTooLong:
        raise CommandFailed(f"{options.connect}: no connection within {options.timeout:g} s") from None
    except Exception as problem:
        raise CommandFailed(f"{options.connect}: {bounded(str(problem))}; check --connect") from None
    try:
        await playing.finished
    finally:
        playing.stop()
    return _result([(options.files[0], player)], out, error)


async def play_broker(
    options: argparse.Namespace, played: list[Conversation], out: TextIO, error: TextIO, reactor: IReactor
) -> int:
    """Play the brokers to the clients that connect. @return: the exit status.

    @raise CommandFailed: the endpoint cannot listen, or no client came.
    """
    text = options.listen or DEFAULT_LISTEN
    by_address = {} if options.keep_urls or text.startswith("unix:") else brokers_by_address(played)
    others = set(by_address.values())
    first = played[0].broker
    brokers = [each.broker if each.broker in others else first for each in played]
    listening = PlayedBrokers(text, reactor)

    def url_here(url: str) -> str:
        here = listening.urls[by_address.get(address_of(url) or "", first)]
        return url if here is None or here.partition(":")[0] != url.partition(":")[0] else here

    try:
        for broker in dict.fromkeys(brokers):
            await listening.open(broker)
        players = [Player(each, "broker", _rules(options), None if options.keep_urls else url_here) for each in played]
        playing = [PlayingProtocol(each, reactor, options.timeout, options.times, close=False) for each in players]
        for broker, one in zip(brokers, playing, strict=True):
            listening.put(broker, one)
        for broker, url in listening.urls.items():
            name = "" if broker == first else f" {printable(broker)}"
            print(f"playing the broker{name} at {url or text}", file=error, flush=True)
        for count, one in enumerate(playing):
            try:
                await listening.begins(one, options.wait)
            except TookTooLong:
                _result([*zip(options.files, players[:count], strict=False)], out, error)
                raise CommandFailed(
                    f"no connection for {printable(options.files[count])} within {options.wait:g} s"
                ) from None
        for one in playing:
            await one.finished
    finally:
        listening.close()
    if listening.further:
        print(f"sniproxyctl: {counted(listening.further, 'further connection')} refused: no file is left", file=error)
    return _result([*zip(options.files, players, strict=True)], out, error)


def _rules(options: argparse.Namespace) -> Rules:
    return Rules(options.strict, frozenset(options.ignore))


def _read(name: str, plays: Side) -> Conversation:
    """Read a file. @raise CommandFailed: with the status of wrong usage, because 1 means that something differs."""
    try:
        with open(name, encoding="utf-8", errors="replace") as file:
            return read_conversation(file, plays)
    except ConversationError as problem:
        raise CommandFailed(f"{printable(name)}: {problem}", USAGE) from None
    except (OSError, ValueError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "not a path"
        raise CommandFailed(f"cannot read {printable(name)}: {why}", USAGE) from None


def _result(played: list[tuple[str, Player]], out: TextIO, error: TextIO) -> int:
    """Print the differences, and a summary of each file. @return: the exit status."""
    for name, player in played:
        for difference in player.differences:
            print(difference.text(printable(name)), file=out)
        more = f", the first {len(player.differences)} of them shown" if player.count > len(player.differences) else ""
        result = "equal" if not player.count else f"{counted(player.count, 'difference')}{more}"
        print(f"{printable(name)}: {result}", file=error)
    return int(any(player.count for _, player in played))
