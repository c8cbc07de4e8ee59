"""Several processes that serve one configuration: what each of them serves, and how soon one is replaced. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import attrs
from msgspec.structs import replace

from sniproxy.config.model import Bridge, Configuration, Listener
from sniproxy.config.schema import ConfigError

MAX_WORKERS = 128
"""Workers; each core is busy with one."""

STABLE_S = 10.0
"""Seconds. A worker that lived so long is replaced at once."""

FIRST_DELAY_S, MAX_DELAY_S = 0.5, 30.0
"""Seconds before another one takes the place of one that died young, and of those that go on dying young."""

Entrance = TypeVar("Entrance", Listener, Bridge)
Error = Callable[[str, object, str], ConfigError]
"""Makes an error of a key, its value and the cure."""


class CannotStart(Exception):
    """A worker did not become ready; the message says why."""


def with_workers(configuration: Configuration, workers: int, reuse_port: bool, error: Error) -> Configuration:
    """The configuration with its workers, and with listeners that share their ports when they have to, or may.

    @raise ConfigError: there cannot be so many, or something is there that they cannot share.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise error(
            "workers", workers, f"must be a number of processes from 1 to {MAX_WORKERS}; one per core is enough"
        )
    if workers > 1:
        _check_entrances(configuration, error)
        _check_admin(configuration, workers, error)
    if not reuse_port and workers == 1:
        return configuration
    return replace(
        configuration,
        listeners=tuple(map(_shared, configuration.listeners)),
        bridges=tuple(map(_shared, configuration.bridges)),
        workers=workers,
    )


def for_worker(configuration: Configuration, index: int) -> Configuration:
    """What one of several workers serves: an admin endpoint of its own, and no watch on the file."""
    admin = configuration.admin
    if admin is not None:
        endpoint = admin.endpoint.for_instance(index)
        assert endpoint is not None, "it has been checked"
        admin = replace(admin, endpoint=endpoint, instance=index)
    return replace(configuration, admin=admin, reload_on_change=False)


def restart_delay(lived: float, before: float) -> float:
    """Seconds until another worker takes the place of one that has ended.

    @param lived: seconds that it lived. @param before: the pause before it was started.
    """
    if lived >= STABLE_S:
        return 0.0
    return min(max(FIRST_DELAY_S, 2 * before), MAX_DELAY_S)


def _shared(entrance: Entrance) -> Entrance:
    if entrance.endpoint.port is None:
        return entrance
    return replace(entrance, endpoint=attrs.evolve(entrance.endpoint, shared=True))


def _check_entrances(configuration: Configuration, error: Error) -> None:
    for one in configuration.entrances:
        key, endpoint = f"{one.key}.endpoint", one.endpoint
        if endpoint.port == 0:
            cure = "each worker would listen on a different free port; write a fixed port, or remove workers"
            raise error(key, endpoint.text, cure)
        if endpoint.port is None and endpoint.kind != "systemd":
            cure = f"workers cannot share a {endpoint.kind} endpoint; write tcp:, or remove workers"
            raise error(key, endpoint.text, cure)


def _check_admin(configuration: Configuration, workers: int, error: Error) -> None:
    if configuration.admin is None:
        return
    endpoint = configuration.admin.endpoint
    last = endpoint.for_instance(workers - 1)
    if last is None:
        cure = f"each of {workers} workers needs its own; write unix:, or tcp: with {workers - 1} ports free above it"
        raise error("admin.endpoint", endpoint.text, cure)
    if not endpoint.port or last.port is None:
        return
    for one in configuration.entrances:
        port = one.endpoint.port
        if port is not None and endpoint.port <= port <= last.port:
            cure = (
                f"workers use ports {endpoint.port} to {last.port} for it, and {one.key} uses {port}; move one of them"
            )
            raise error("admin.endpoint", endpoint.text, cure)
