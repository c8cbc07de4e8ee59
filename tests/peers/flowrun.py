"""Runs a real client behind the proxy with one fault: the proxy is a program, the brokers are embedded."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from attrs import frozen

from sniproxy.testing.pulsar import PulsarCluster
from sniproxy.testing.pulsar.broker import BrokerEvent
from sniproxy.testing.pulsar.connection import KEEP_ALIVE_S
from tests.peers import flowfaults, proven, provide, versions
from tests.peers.children import Child, ChildError
from tests.peers.cluster import free_ports
from tests.peers.flowevents import Event, derive, read_events
from tests.peers.flowfacts import Fact
from tests.peers.flowfaults import IDLE_AFTER, FlowFault
from tests.peers.jvm import java_command
from tests.peers.proxy import Program

TOPIC = "persistent://public/default/flow"
MESSAGES = 20
LONGEST_S = 240.0
"""Seconds that a run may last. Calls that hang end by their timeouts before."""

_NEVER_S = 3600.0
_PULSAR = versions.find(versions.DEFAULT)


class FlowError(Exception):
    """A run says nothing: the fault was not applied, or the client did not start. The message has its output."""


@frozen
class FlowClient:
    """A real client. `parts`: those of `provide` that it needs. `command`: from the URL and the fault."""

    name: str
    parts: tuple[str, ...]
    command: Callable[[str, FlowFault], list[str]]

    @property
    def absent(self) -> list[str]:
        """The parts that are not provided."""
        return [part for part in self.parts if not provide.part(part).path.is_dir()]


def _java(url: str, fault: FlowFault) -> list[str]:
    options = {"url": url, "topic": TOPIC, "n": MESSAGES, "idle_after": IDLE_AFTER, "idle": fault.idle_s}
    return [
        *java_command("PulsarFlow", "160m", "error", _PULSAR),
        *(f"{name}={value}" for name, value in options.items()),
    ]


def _python(url: str, fault: FlowFault) -> list[str]:
    options = {"url": url, "topic": TOPIC, "n": MESSAGES, "idle_after": IDLE_AFTER, "idle": fault.idle_s}
    program = [str(provide.part("python").path / "bin" / "python"), str(provide.HERE / "python_flow.py")]
    return [*program, *(f"--{name}={value}" for name, value in options.items())]


def _go(url: str, fault: FlowFault) -> list[str]:
    idle = f"{fault.idle_s}s"
    options = {"url": url, "flow": TOPIC, "n": MESSAGES, "timeout": "8s", "idle-after": IDLE_AFTER, "idle": idle}
    return [str(provide.part("go").path / "go-client"), *(f"-{name}={value}" for name, value in options.items())]


def all_clients() -> list[FlowClient]:
    """The clients in the order of the table's columns, with their versions."""
    python, go = proven.clients()
    return [
        FlowClient(f"Java {_PULSAR.release}", tuple(provide.needed(_PULSAR)), _java),
        FlowClient(f"Python {python}", ("python",), _python),
        FlowClient(f"Go {go}", ("go",), _go),
    ]


def run_flow(fault: FlowFault, client: FlowClient, folder: Path) -> list[Fact]:
    """Run a client once. `folder`: an empty one for the proxy's files. Raises FlowError, ChildError."""
    events: list[Event] = []

    def note(event: BrokerEvent) -> None:
        if event.command in ("CONNECT", "PRODUCER", "SUBSCRIBE"):
            events.append(Event(time.monotonic(), event.command))

    keep_alive_s = KEEP_ALIVE_S if fault.pings else _NEVER_S
    with PulsarCluster(1, keep_alive_s=keep_alive_s, on_event=note) as cluster:
        ports = free_ports(2)
        (broker,) = cluster.addresses.values()
        text = flowfaults.configuration(fault, (ports[0], ports[1]), broker, folder / "access.jsonl")
        proxy = Program(folder, text)
        try:
            child = Child(client.command(f"pulsar://127.0.0.1:{ports[0]}", fault))
            try:
                child.wait_for_text('"end"', LONGEST_S)
            except ChildError:
                if not read_events(child.lines):
                    raise
            finally:
                child.stop()
            applied_at = proxy.said_at("fault fault: ")
            if applied_at is None:
                raise FlowError("\n".join(["the fault was not applied", *child.lines[-20:], *proxy.said[-20:]]))
            events.append(Event(applied_at, "fault"))
            stored = numbers(cluster.messages(TOPIC))
        finally:
            proxy.stop()
    return derive([*events, *read_events(child.lines)], stored, MESSAGES)


def numbers(messages: list[bytes]) -> Mapping[int, int]:
    """How often each number is among the payloads."""
    return Counter(int(message) for message in messages)
