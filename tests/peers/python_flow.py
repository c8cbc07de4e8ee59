"""The real Python client in a run with a fault, by an interpreter that has it.

It subscribes, sends numbered messages one by one, and receives and acknowledges them meanwhile. What cannot be opened
it tries again twice; a message it sends once. At last it opens the consumer again and receives what is left. It prints
what tests/peers/flowevents.py reads.
"""

from __future__ import annotations

import argparse
import json
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pulsar  # type: ignore[import-not-found]

#: How often a consumer or producer is tried to be opened, and the seconds between.
TRIES, TRY_AGAIN_S = 3, 0.5
#: Seconds without a message after which the new consumer has received all that is left, and the old one, which has all.
QUIET_S = 1.0


def report(what: str, **more: object) -> None:
    """Print an event."""
    line = json.dumps({"at": time.monotonic(), "what": what, **more})
    # At once, and in lines of its own: the client's log goes to the same file.
    os.write(1, f"\n{line}\n".encode())


def attempt(what: str, action: Callable[[], Any], **more: object) -> Any:
    """Do and report something. Returns its result. None: it failed."""
    began = time.monotonic()
    result, error, text = None, "", ""
    try:
        result = action()
    except Exception as failure:
        error, text = type(failure).__name__, str(failure)
    report(what, seconds=time.monotonic() - began, error=error, text=text, **more)
    return result


def opened(what: str, action: Callable[[], Any]) -> Any:
    """Open something, also after failures. Returns None if all attempts fail."""
    for number in range(TRIES):
        if number:
            threading.Event().wait(TRY_AGAIN_S)
        result = attempt(what, action)
        if result is not None:
            return result
    return None


class Receiver:
    """Receives and acknowledges in a thread until `stop`."""

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self._stopped = threading.Event()
        self._numbers: set[int] = set()
        self._last_at = time.monotonic()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def wait(self, count: int, quiet_s: float) -> None:
        """Wait until nothing has come for a time; `QUIET_S` suffices once that many different messages have come."""
        while not self._stopped.wait(0.05):
            enough_s = QUIET_S if len(self._numbers) >= count else quiet_s
            if time.monotonic() - self._last_at >= enough_s:
                return

    def stop(self) -> None:
        """Stop it."""
        self._stopped.set()
        self._thread.join()

    def touch(self) -> None:
        """Begin the quiet time."""
        self._last_at = time.monotonic()

    def _receive(self) -> None:
        while not self._stopped.is_set():
            try:
                message = self._consumer.receive(200)
                self._last_at = time.monotonic()
                number = int(message.data())
                self._numbers.add(number)
                report("message", n=number)
                self._consumer.acknowledge(message)
            except pulsar.Timeout:
                pass
            except Exception as failure:
                report("receive", error=type(failure).__name__, text=str(failure))
                self._stopped.wait(0.2)


def main() -> None:
    """Run the client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--topic", required=True)
    parser.add_argument("--n", type=int, default=20, help="messages")
    parser.add_argument("--interval", type=float, default=0.05, help="seconds between two messages")
    parser.add_argument("--idle_after", type=int, default=0, help="the message that a pause follows")
    parser.add_argument("--idle", type=float, default=0, help="seconds of the pause")
    parser.add_argument("--send_timeout", type=int, default=5, help="seconds")
    parser.add_argument("--timeout", type=int, default=8, help="seconds of any other operation")
    parser.add_argument("--quiet", type=float, default=3, help="seconds to wait for messages that do not come")
    options = parser.parse_args()
    logger = pulsar.ConsoleLogger(pulsar.LoggerLevel.Error)
    client = pulsar.Client(options.url, operation_timeout_seconds=options.timeout, logger=logger)

    def subscribe() -> Any:
        return client.subscribe(options.topic, "flow", initial_position=pulsar.InitialPosition.Earliest)

    def create_producer() -> Any:
        timeout_ms = options.send_timeout * 1000
        return client.create_producer(options.topic, send_timeout_millis=timeout_ms, batching_enabled=False)

    consumer = opened("consumer", subscribe)
    receiver = None if consumer is None else Receiver(consumer)
    producer = opened("producer", create_producer)
    for number in range(1, options.n + 1) if producer is not None else ():
        text = str(number).encode()
        attempt("send", lambda text=text: producer.send(text) or True, n=number)  # type: ignore[misc]
        threading.Event().wait(options.idle if number == options.idle_after else options.interval)
    if receiver is not None:
        receiver.touch()
        receiver.wait(options.n, options.quiet)
        receiver.stop()
        attempt("close", consumer.close)
    report("again")
    consumer = opened("consumer", subscribe)
    if consumer is not None:
        receiver = Receiver(consumer)
        receiver.wait(0, QUIET_S)
        receiver.stop()
        attempt("close", consumer.close)
    report("end")
    # Closing the client would wait for a connection that is stuck.
    os._exit(0)


if __name__ == "__main__":
    main()
