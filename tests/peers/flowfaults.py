"""The faults of docs/reference/client-faults.md, in the order of its table."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen

IDLE_AFTER = 5
"""The message that the pause of an idle run follows."""


@frozen
class FlowFault:
    """A fault between a client and a broker.

    `name`: for the command line. `title`: the first cell of its row. `keys`: those of its `[[fault]]` table, and
    perhaps more tables; `{other}` is the URL of another listener in front of the same broker.
    """

    name: str
    title: str
    keys: str
    #: Seconds of the pause after message `IDLE_AFTER`; as after the others.
    idle_s: float = 0.05
    #: Whether the broker sends PINGs.
    pings: bool = True

    @property
    def long(self) -> bool:
        """Whether a run lasts longer than a minute."""
        return self.idle_s > 10


ALL = (
    FlowFault("connected-reset", "`CONNECTED`, the first: `reset`", 'on = "CONNECTED"\nnth = 1\naction = "reset"'),
    FlowFault(
        "lookup-too-many",
        "`LOOKUP`, the first two: `error` TooManyRequests",
        'on = "LOOKUP"\ntimes = 2\naction = "error"\nerror = "TooManyRequests"',
    ),
    FlowFault(
        "lookup-not-ready",
        "`LOOKUP`, the first two: `error` ServiceNotReady",
        'on = "LOOKUP"\ntimes = 2\naction = "error"\nerror = "ServiceNotReady"',
    ),
    FlowFault(
        "subscribe-drop", "the answer to `SUBSCRIBE`: `drop`", 'on = "SUCCESS"\nnth = 1\naction = "drop"'
    ),
    FlowFault(
        "producer-not-ready",
        "`PRODUCER`, the first two: `error` ServiceNotReady",
        'on = "PRODUCER"\ntimes = 2\naction = "error"\nerror = "ServiceNotReady"',
    ),
    FlowFault(
        "producer-success-drop",
        "`PRODUCER_SUCCESS`, the first: `drop`",
        'on = "PRODUCER_SUCCESS"\nnth = 1\naction = "drop"',
    ),
    FlowFault("send-drop", "`SEND` 5: `drop`", 'on = "SEND"\nnth = 5\naction = "drop"'),
    FlowFault(
        "send-checksum",
        "`SEND` 5: `error` ChecksumError",
        'on = "SEND"\nnth = 5\naction = "error"\nerror = "ChecksumError"',
    ),
    FlowFault("receipt-drop", "`SEND_RECEIPT` 5: `drop`", 'on = "SEND_RECEIPT"\nnth = 5\naction = "drop"'),
    FlowFault("receipt-reset", "`SEND_RECEIPT` 5: `reset`", 'on = "SEND_RECEIPT"\nnth = 5\naction = "reset"'),
    FlowFault(
        "receipt-half-close",
        "`SEND_RECEIPT` 5: `half_close`",
        'on = "SEND_RECEIPT"\nnth = 5\naction = "half_close"',
    ),
    FlowFault(
        "receipt-delay",
        "`SEND_RECEIPT` 5: `delay` of 7 s",
        'on = "SEND_RECEIPT"\nnth = 5\naction = "delay"\nseconds = 7',
    ),
    FlowFault(
        "receipt-stop",
        "`SEND_RECEIPT` 5: `stop`, then 40 idle seconds",
        'on = "SEND_RECEIPT"\nnth = 5\naction = "stop"',
        idle_s=40,
    ),
    FlowFault(
        "receipt-close-producer",
        "`SEND_RECEIPT` 5: `close_producer`",
        'on = "SEND_RECEIPT"\nnth = 5\naction = "close_producer"',
    ),
    FlowFault(
        "receipt-close-producer-url",
        "`SEND_RECEIPT` 5: `close_producer` with `url`",
        'on = "SEND_RECEIPT"\nnth = 5\naction = "close_producer"\nurl = "{other}"',
    ),
    FlowFault(
        "receipt-migrate",
        "`SEND_RECEIPT` 5: `migrate`",
        'on = "SEND_RECEIPT"\nnth = 5\naction = "migrate"\nurl = "{other}"',
    ),
    FlowFault(
        "receipt-migrate-close",
        "`SEND_RECEIPT` 5: `migrate`, and 6: `close_producer`",
        'on = "SEND_RECEIPT"\nnth = 5\naction = "migrate"\nurl = "{other}"\n'
        '[[fault]]\non = "SEND_RECEIPT"\nnth = 6\naction = "close_producer"',
    ),
    FlowFault("message-drop", "`MESSAGE` 5: `drop`", 'on = "MESSAGE"\nnth = 5\naction = "drop"'),
    FlowFault("message-reset", "`MESSAGE` 5: `reset`", 'on = "MESSAGE"\nnth = 5\naction = "reset"'),
    FlowFault(
        "message-close-consumer",
        "`MESSAGE` 5: `close_consumer`",
        'on = "MESSAGE"\nnth = 5\naction = "close_consumer"',
    ),
    FlowFault("bytes-cut", "byte 1,000 of the broker: `cut`", 'after_bytes = 1000\nnth = 1\naction = "cut"'),
    FlowFault(
        "pong-drop",
        "`PONG` in 95 idle seconds: `drop`",
        'on = "PONG"\nfrom = "broker"\naction = "drop"',
        idle_s=95,
    ),
    FlowFault(
        "pong-drop-no-ping",
        "`PONG` in 95 idle seconds: `drop`; the broker sends no `PING`",
        'on = "PONG"\nfrom = "broker"\naction = "drop"',
        idle_s=95,
        pings=False,
    ),
)  # fmt: skip


def find(name: str) -> FlowFault:
    """The fault of that name. Raises ValueError, with the names there are."""
    for fault in ALL:
        if fault.name == name:
            return fault
    raise ValueError(f"no fault {name}; there are {', '.join(one.name for one in ALL)}")


def configuration(fault: FlowFault, ports: tuple[int, int], broker: tuple[str, int], access_log: Path) -> str:
    """The TOML of a proxy with two listeners in front of a broker, and the fault, whose name is `fault`."""
    target = f"{broker[0]}:{broker[1]}"
    urls = [f"pulsar://127.0.0.1:{port}" for port in ports]
    lines = []
    for port in ports:
        lines += ["[[listener]]", f'endpoint = "tcp:{port}:interface=127.0.0.1"', f'name = "port-{port}"']
        lines += ["plaintext = true", f'target = "{target}"']
    lines += ["[[fault]]", 'name = "fault"', fault.keys.format(other=urls[1])]
    for port, url in zip(ports, urls, strict=True):
        # Keeps the client on the listener that it has asked.
        lines += ["[[fault]]", f'name = "lead-{port}"', f'listener = "port-{port}"', 'on = "LOOKUP_RESPONSE"']
        lines += ['action = "redirect"', 'response = "connect"', f'url = "{url}"']
    return "\n".join([*lines, "[access_log]", f'path = "{access_log}"']) + "\n"
