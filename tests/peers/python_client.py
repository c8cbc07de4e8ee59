"""The real Python client (pulsar-client, based on the C++ client), run by an interpreter that has it.

Prints one JSON object per topic: {"topic", "partitions", "sent", "received"} or {"topic", "error", "root"}. The Python
API has no option for an SNI proxy, but its C++ library has. `--proxy` calls setProxyServiceUrl and setProxyProtocol of
that library on the C++ object: for tests only.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import re
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import _pulsar  # type: ignore[import-not-found]
import pulsar  # type: ignore[import-not-found]

_CONFIGURATION = "_ZN6pulsar19ClientConfiguration"
_SET_URL = _CONFIGURATION + "18setProxyServiceUrlERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
_SET_PROTOCOL = _CONFIGURATION + "16setProxyProtocolENS0_13ProxyProtocolE"
_SNI = 0


class _String(ctypes.Structure):
    """A std::string of GNU's library: pointer, length and capacity."""

    _fields_ = [("characters", ctypes.c_void_p), ("length", ctypes.c_size_t), ("room", ctypes.c_size_t * 2)]


def set_proxy(configuration: Any, url: str) -> None:
    """Set the SNI proxy of a `_pulsar.ClientConfiguration`."""
    (file,) = (Path(_pulsar.__file__).parent / "pulsar_client.libs").glob("libpulsar-*.so*")
    library = ctypes.CDLL(str(file))
    # A Python object of pybind11 has the pointer to its C++ object right after CPython's own head (16 bytes).
    target = ctypes.c_void_p.from_address(id(configuration) + object.__basicsize__).value
    characters = ctypes.create_string_buffer(url.encode())
    string = _String(ctypes.addressof(characters), len(url), (ctypes.c_size_t * 2)(len(url), 0))
    for symbol, argument in (_SET_URL, ctypes.byref(string)), (_SET_PROTOCOL, ctypes.c_int(_SNI)):
        setter = getattr(library, symbol)
        setter.restype = ctypes.c_void_p
        setter(ctypes.c_void_p(target), argument)


class ProxiedClient(pulsar.Client):  # type: ignore[misc]
    """A `pulsar.Client` that sets the proxy in its configuration before it creates the C++ client."""

    def __init__(self, url: str, proxy: str | None, **options: Any) -> None:
        make = _pulsar.Client

        def proxied(url: str, configuration: Any) -> Any:
            if proxy is not None:
                set_proxy(configuration, proxy)
            return make(url, configuration)

        _pulsar.Client = proxied
        try:
            super().__init__(url, **options)
        finally:
            _pulsar.Client = make


def round_trip(client: Any, topics: Sequence[str], options: argparse.Namespace) -> dict[str, object]:
    """Produce messages to the topics and consume them, by a consumer of one topic or of the pattern."""
    partitions = len(client.get_topic_partitions(topics[0]))
    read = re.compile(options.pattern) if options.pattern else topics[0]
    consumer = client.subscribe(read, "python", initial_position=pulsar.InitialPosition.Earliest)
    producers = [client.create_producer(topic, send_timeout_millis=options.timeout * 1000) for topic in topics]
    sent: set[bytes] = set()

    def send(count: int) -> None:
        for _ in range(count):
            for producer in producers:
                message = (b"%08d" % len(sent)).ljust(options.size, b"x")
                producer.send(message)
                sent.add(message)

    send(options.n)
    if options.endless == "true":
        told = threading.Event()

        def listen() -> None:
            sys.stdin.readline()
            told.set()

        threading.Thread(target=listen, daemon=True).start()
        while not told.wait(0.005):
            if len(sent) % 50 == 0:
                print(json.dumps({"sending": topics[0]}), flush=True)
            send(1)
        send(options.n)
    received: set[bytes] = set()
    # A set: what was not yet acknowledged when a topic moved comes again.
    while received != sent:
        message = consumer.receive(options.timeout * 1000)
        consumer.acknowledge(message)
        received.add(message.data())
    for producer in producers:
        producer.close()
    consumer.close()
    return {"partitions": partitions, "sent": len(sent), "received": len(received)}


def main() -> int:
    """Run the client. Returns the exit status: 3 if a topic failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--proxy")
    parser.add_argument("--trust", default="")
    parser.add_argument("--verify", choices=["true", "false"], default="true", help="verify the host name")
    parser.add_argument("--token", type=Path, help="a file with a token")
    parser.add_argument("--timeout", type=int, default=15, help="seconds of one operation")
    parser.add_argument("-n", "--n", type=int, default=5, help="messages a topic")
    parser.add_argument("--size", type=int, default=0, help="bytes of a message, at least")
    parser.add_argument("--pattern", default="", help="read all topics by one consumer of this pattern")
    parser.add_argument(
        "--endless", choices=["true", "false"], default="false", help="send until told by standard input"
    )
    parser.add_argument("--log", choices=["Error", "Info"], default="Error", help="the level of its log")
    parser.add_argument("topics", nargs="+")
    options = parser.parse_args()
    client = ProxiedClient(
        options.url,
        options.proxy,
        authentication=pulsar.AuthenticationToken(options.token.read_text()) if options.token else None,
        tls_trust_certs_file_path=options.trust,
        tls_validate_hostname=options.verify == "true",
        operation_timeout_seconds=options.timeout,
        logger=pulsar.ConsoleLogger(getattr(pulsar.LoggerLevel, options.log)),
    )
    status = 0
    for topics in [options.topics] if options.pattern else [[topic] for topic in options.topics]:
        try:
            report = round_trip(client, topics, options)
        except Exception as failure:
            report = {"error": type(failure).__name__, "root": str(failure)}
            status = 3
        print(json.dumps({"topic": options.pattern or topics[0], **report}), flush=True)
    client.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
