"""The command ``sniproxyctl lookup``: finds the owner of a topic as a PIP-60 client does, and shows each hop."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from sniproxy.cli.lookupoptions import ENVIRONMENT
from sniproxy.cli.lookupreport import MAX_SEGMENTS, LookupOutcome, hop_lines, write_end, write_json
from sniproxy.cli.lookuproutes import RouteComparison
from sniproxy.cli.reactor import run_in_reactor
from sniproxy.client.brokers import Access, Brokers
from sniproxy.client.failures import ClientError
from sniproxy.client.logins import CERTIFICATE, NO_LOGIN, BadToken, Login, by_token
from sniproxy.client.lookups import Hop, Lookups
from sniproxy.client.redirects import Owner
from sniproxy.client.topics import BadTopic, full_name, is_scalable, is_segment, partitions
from sniproxy.config.schema import ConfigError
from sniproxy.pulsar.serviceurl import BadServiceURL, ProxySettings, pip60
from sniproxy.tls.clientcontext import BadPem, client_certificate, trust_root
from sniproxy.util.reactor import IReactor

_MAX_TOKEN_BYTES = 1 << 20


def run(options: argparse.Namespace, usage: Callable[[str], Any], out: TextIO, error: TextIO) -> int:
    """Run the command in the global reactor. @return: the exit status.

    @param usage: called with the error in the options; raises.
    """
    try:
        topic, settings, access = read(options)
        return run_in_reactor(
            lambda reactor: look_up(
                reactor, topic, settings, access, options.listener, options.json, out, error, options.config
            )
        )
    except (BadServiceURL, BadPem, BadToken, BadTopic, ConfigError) as problem:
        usage(str(problem))
        raise


def read(options: argparse.Namespace) -> tuple[str, ProxySettings, Access]:
    """Parse the options, and read the files that they name.

    @raise BadServiceURL: the URLs or the PIP-60 settings are invalid. @raise BadPem: a certificate or key is invalid.
    @raise BadToken: the token is invalid. @raise BadTopic: the topic is invalid.
    """
    topic = full_name(options.topic)
    settings = pip60(options.service_url, options.proxy_service_url, options.proxy_protocol)
    if options.config is not None and not settings.service_url.tls:
        raise BadServiceURL("--config compares what TLS clients get with the routes: write a pulsar+ssl:// service URL")
    if options.key is not None and options.certificate is None:
        raise BadPem("--key requires --certificate")
    certificate = None
    if options.certificate is not None:
        certificate = client_certificate(options.certificate, options.key, "--certificate", "--key")
    access = Access(
        tls=settings.service_url.tls,
        proxy=settings.proxy,
        trust=None if options.trust is None else trust_root(options.trust, "--trust"),
        certificate=certificate,
        login=read_login(options.token, certified=certificate is not None),
        timeout_s=options.timeout,
    )
    return topic, settings, access


async def look_up(
    reactor: IReactor,
    topic: str,
    settings: ProxySettings,
    access: Access,
    listener: str,
    as_json: bool,
    out: TextIO,
    error: TextIO,
    config: str | None = None,
) -> int:
    """Find the owners of a topic, connect to each and print the result. @return: the exit status.

    @param config: a configuration file, whose routes must have all brokers that answers name. None: not compared.
    @raise ConfigError: the configuration is invalid.
    """
    routes = None if config is None else RouteComparison(config, settings.proxy, reactor)
    outcome = LookupOutcome(topic, settings, compared=config is not None)

    def add_hop(hop: Hop) -> None:
        outcome.hops.append(hop)
        if routes is not None:
            outcome.unrouted.update(dict.fromkeys(routes.problems(hop)))
        if not as_json:
            if len(outcome.hops) == 1 or outcome.hops[-2].topic != hop.topic:
                print(hop.topic, file=out)
            print("\n".join(hop_lines(hop)), file=out, flush=True)

    brokers = Brokers(reactor, access)
    try:
        await _find(Lookups(brokers, settings.service_url, listener, add_hop), outcome)
        await brokers.close()
    except BaseException:
        brokers.abort()
        raise
    if as_json:
        write_json(outcome, out)
    else:
        write_end(outcome, out)
    for what, failure in outcome.failures.items():
        cure = f"\n  cure: {failure.cure}" if failure.cure else ""
        print(f"sniproxyctl: {what}: {failure.reason}{cure}", file=error)
    for why in outcome.unrouted:
        print(f"sniproxyctl: {config}: {why}", file=error)
    return 0 if outcome.failure is None else int(outcome.failure.kind)


async def _find(lookups: Lookups, outcome: LookupOutcome) -> None:
    topic = outcome.topic
    if is_scalable(topic):
        await _find_scalable(lookups, outcome)
    elif is_segment(topic):
        await _find_owners(lookups, outcome, [topic])
    else:
        try:
            outcome.partitions = await lookups.partitions(topic)
        except ClientError as failure:
            outcome.failures[topic] = failure
        else:
            await _find_owners(lookups, outcome, partitions(topic, outcome.partitions))


async def _find_scalable(lookups: Lookups, outcome: LookupOutcome) -> None:
    """Find the owner of a scalable topic, its layout, its controller and the owners of its segments."""
    topic = outcome.topic
    outcome.owners[topic] = None
    try:
        owner = await lookups.owner(topic)
        outcome.owners[topic] = owner.url
        layout = outcome.layout = await lookups.layout(topic, await lookups.connect(topic, owner))
    except ClientError as failure:
        outcome.failures[topic] = failure
        return
    url = layout.controller_url(outcome.settings.service_url.tls)
    if url is not None:
        try:
            await lookups.controller(topic, url)
        except ClientError as failure:
            outcome.failures[outcome.controller] = failure
    await _find_owners(lookups, outcome, [segment.topic for segment in layout.segments[:MAX_SEGMENTS]], owner)


async def _find_owners(
    lookups: Lookups, outcome: LookupOutcome, topics: Sequence[str], connected: Owner | None = None
) -> None:
    """Find the owner of each topic, partition or segment, and connect to it.

    @param connected: an owner that was connected to before. None: none.
    """
    # One connection attempt per broker, for all its topics.
    tried: dict[Owner, ClientError | None] = {} if connected is None else {connected: None}
    for topic in topics:
        outcome.owners[topic] = None
        try:
            owner = await lookups.owner(topic)
            outcome.owners[topic] = owner.url
            if owner not in tried:
                tried[owner] = await _connect(lookups, topic, owner)
            if (failure_there := tried[owner]) is not None:
                raise failure_there
        except ClientError as failure:
            outcome.failures[topic] = failure
            if outcome.hops[-1].phase == "lookup" and not outcome.hops[-1].link.is_open:
                # The broker is unreachable or gone: each further partition would wait for it again.
                return


async def _connect(lookups: Lookups, topic: str, owner: Owner) -> ClientError | None:
    try:
        await lookups.connect(topic, owner)
    except ClientError as failure:
        return failure
    return None


def read_login(token: str | None, certified: bool) -> Login:
    """The login that the options ask for. @param token: of ``--token``. @raise BadToken: it cannot be read."""
    if token is None:
        return CERTIFICATE if certified else NO_LOGIN
    # The argument may be the token itself by mistake: do not print it.
    cure = f"give a file with the token, or {ENVIRONMENT}NAME; never the token itself"
    if token.startswith(ENVIRONMENT):
        name = token.removeprefix(ENVIRONMENT)
        text = os.environ.get(name)
        if text is None:
            raise BadToken(f"--token: no such environment variable; {cure}")
    else:
        try:
            with Path(token).open("rb") as file:
                text = file.read(_MAX_TOKEN_BYTES).decode("latin-1")
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "not a path"
            raise BadToken(f"--token: cannot read the file: {why}; {cure}") from None
    try:
        return by_token(text)
    except BadToken as error:
        raise BadToken(f"--token: {error}; {cure}") from None
