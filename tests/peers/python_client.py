"""The real Python client (pulsar-client, with the C++ client inside); run by the interpreter that has it.

It prints one JSON object a topic: {"topic", "partitions", "sent", "received"} or {"topic", "error", "root"}.

The Python API has no option for an SNI proxy; the C++ library in the package has. `--proxy` calls that library's
setProxyServiceUrl and setProxyProtocol on the C++ object below the Python one: fit for a test, and for nothing else.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import sys
from pathlib import Path
from typing import Any

import _pulsar  # type: ignore[import-not-found]
import pulsar  # type: ignore[import-not-found]

_CONFIGURATION = "_ZN6pulsar19ClientConfiguration"
_SET_URL = _CONFIGURATION + "18setProxyServiceUrlERKNSt7__cxx1112basic_stringIcSt11char_traitsIcESaIcEEE"
_SET_PROTOCOL = _CONFIGURATION + "16setProxyProtocolENS0_13ProxyProtocolE"
_SNI = 0


class _String(ctypes.Structure):
    """A std::string of GNU's library: where the characters are, how many, and how much room there is."""

    _fields_ = [("characters", ctypes.c_void_p), ("length", ctypes.c_size_t), ("room", ctypes.c_size_t * 2)]


def set_proxy(configuration: Any, url: str) -> None:
    """Gives a `_pulsar.ClientConfiguration` an SNI proxy."""
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
    """A `pulsar.Client` whose configuration gets the proxy just before the C++ client is made from it."""

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


def round_trip(client: Any, topic: str, n: int, timeout: int) -> dict[str, object]:
    """Sends n messages and receives them."""
    partitions = len(client.get_topic_partitions(topic))
    consumer = client.subscribe(topic, "python", initial_position=pulsar.InitialPosition.Earliest)
    producer = client.create_producer(topic)
    for i in range(n):
        producer.send(b"%08d" % i)
    received = set()
    for _ in range(n):
        message = consumer.receive(timeout * 1000)
        consumer.acknowledge(message)
        received.add(message.data())
    producer.close()
    consumer.close()
    return {"partitions": partitions, "sent": n, "received": len(received)}


def main() -> int:
    """The exit status: 3 when a topic failed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--proxy")
    parser.add_argument("--trust", required=True)
    parser.add_argument("--verify", choices=["true", "false"], default="true", help="verify the host name")
    parser.add_argument("--timeout", type=int, default=15, help="seconds of one operation")
    parser.add_argument("-n", type=int, default=5, help="messages a topic")
    parser.add_argument("topics", nargs="+")
    options = parser.parse_args()
    client = ProxiedClient(
        options.url,
        options.proxy,
        tls_trust_certs_file_path=options.trust,
        tls_validate_hostname=options.verify == "true",
        operation_timeout_seconds=options.timeout,
        logger=pulsar.ConsoleLogger(pulsar.LoggerLevel.Error),
    )
    status = 0
    for topic in options.topics:
        try:
            report = round_trip(client, topic, options.n, options.timeout)
        except Exception as failure:
            report = {"error": type(failure).__name__, "root": str(failure)}
            status = 3
        print(json.dumps({"topic": topic, **report}), flush=True)
    client.close()
    return status


if __name__ == "__main__":
    sys.exit(main())
