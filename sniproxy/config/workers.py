"""The configuration of workers, and the delay before a worker is restarted. Pure."""

from __future__ import annotations

from typing import TypeVar

import attrs
from msgspec.structs import replace

from sniproxy.config.model import Bridge, Configuration, Listener
from sniproxy.config.schema import MakeError

MAX_WORKERS = 128
"""Workers; one per core is enough."""

STABLE_S = 10.0
"""Seconds of uptime after which a worker is restarted without delay."""

FIRST_DELAY_S, MAX_DELAY_S = 0.5, 30.0
"""Seconds before the first restart of a worker that failed early; the maximum after further failures."""

SUPERVISED = "supervisor"
"""Text and kind of a worker's admin endpoint."""

Entrance = TypeVar("Entrance", Listener, Bridge)


class CannotStart(Exception):
    """A worker did not become ready; the message says why."""


def with_workers(configuration: Configuration, workers: int, reuse_port: bool, error: MakeError) -> Configuration:
    """The configuration with its number of workers, and with shared ports (C{SO_REUSEPORT}) if workers need them.

    @param reuse_port: share ports also without workers.
    @raise ConfigError: the number is out of range, or the workers cannot share an endpoint.
    """
    if not 1 <= workers <= MAX_WORKERS:
        raise error(
            "workers", workers, f"must be a number of processes from 1 to {MAX_WORKERS}; one per core is enough"
        )
    if workers > 1:
        _check_entrances(configuration, error)
    if not reuse_port and workers == 1:
        return configuration
    return replace(
        configuration,
        listeners=tuple(map(_shared, configuration.listeners)),
        bridges=tuple(map(_shared, configuration.bridges)),
        workers=workers,
    )


def for_worker(configuration: Configuration, index: int) -> Configuration:
    """The configuration of one worker: no reload on change, and an admin endpoint that only the supervisor reaches."""
    admin = configuration.admin
    if admin is not None:
        # The same text after a reload: this endpoint stays. Host and port are those of the supervisor's.
        endpoint = attrs.evolve(admin.endpoint, text=SUPERVISED, kind=SUPERVISED)
        admin = replace(admin, endpoint=endpoint, token_file=None, instance=index)
    return replace(configuration, admin=admin, reload_on_change=False)


def restart_delay(uptime: float, before: float) -> float:
    """Seconds to wait before a worker that has ended is restarted.

    @param uptime: its uptime, seconds. @param before: the delay before its own start, seconds.
    """
    if uptime >= STABLE_S:
        return 0.0
    return min(max(FIRST_DELAY_S, 2 * before), MAX_DELAY_S)


def _shared(entrance: Entrance) -> Entrance:
    if entrance.endpoint.port is None:
        return entrance
    return replace(entrance, endpoint=attrs.evolve(entrance.endpoint, shared=True))


def _check_entrances(configuration: Configuration, error: MakeError) -> None:
    for one in configuration.entrances:
        key, endpoint = f"{one.key}.endpoint", one.endpoint
        if endpoint.port == 0:
            cure = "each worker would listen on a different free port; write a fixed port, or remove workers"
            raise error(key, endpoint.text, cure)
        if endpoint.port is None and endpoint.kind != "systemd":
            cure = f"workers cannot share a {endpoint.kind} endpoint; write tcp:, or remove workers"
            raise error(key, endpoint.text, cure)
