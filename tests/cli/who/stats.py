"""A small HTTP server that answers as a broker's admin API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread
from typing import Any

from twisted.trial.unittest import SynchronousTestCase, TestCase


class AdminAPI:
    """Answers GET requests by path.

    @param answers: JSON, bytes as they are, or a number: a status. A text: a redirect.
    @ivar heard: paths and the Authorization of requests.
    """

    def __init__(self, case: TestCase | SynchronousTestCase, answers: Mapping[str, Any]) -> None:
        self.heard: list[tuple[str, str | None]] = []
        api = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                api.heard.append((self.path, self.headers["Authorization"]))
                answer = answers.get(self.path, 404)
                body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(answer if isinstance(answer, int) else 307 if isinstance(answer, str) else 200)
                if isinstance(answer, str):
                    self.send_header("Location", answer)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                """Nothing."""

        server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{server.server_port}"
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        case.addCleanup(thread.join)
        case.addCleanup(server.server_close)
        case.addCleanup(server.shutdown)


def segment_stats(*producers: str, **consumers: str) -> dict[str, Any]:
    """L{stats} of a segment of a scalable topic, as Pulsar 5.0.1's C{SegmentTopicStats} has them."""
    found = stats(*producers, **consumers)
    return {"ownerBroker": "broker-1:8080", "terminated": False, "producers": found.pop("publishers"), **found}


def stats(*producers: str, **consumers: str) -> dict[str, Any]:
    """The stats of a topic with the addresses of its producers, and of a consumer for each subscription."""
    return {
        "publishers": [{"producerName": f"p{number}", "address": one} for number, one in enumerate(producers)],
        "subscriptions": {
            name: {"consumers": [{"consumerName": "c", "address": address}]} for name, address in consumers.items()
        },
    }
