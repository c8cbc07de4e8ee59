"""The proxy and the bridge under test: `twistd -n sniproxy` in separate processes."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.peers.children import Child

#: One line of the access log.
Connection = dict[str, Any]


def configuration(routes: Mapping[str, Sequence[str]], port: int, access_log: Path) -> str:
    """The TOML of a proxy: a listener on 127.0.0.1, a route for each name, the access log."""
    lines = ["[[listener]]", f'endpoint = "tcp:{port}:interface=127.0.0.1"', 'name = "public"']
    for name, targets in routes.items():
        lines += ["[[route]]", f'server_name = "{name}"', f"target = {json.dumps(list(targets))}"]
    lines += ["[access_log]", f"path = {json.dumps(str(access_log))}"]
    return "\n".join(lines) + "\n"


def bridges(spans: Sequence[Span], access_log: Path) -> str:
    """The TOML of bridges only, with the access log."""
    lines = []
    for number, span in enumerate(spans):
        lines += ["[[bridge]]", f'endpoint = "tcp:{span.port}:interface=127.0.0.1"', f'name = "bridge-{number}"']
        lines += [f'service_url = "pulsar+ssl://{span.service}"', f'proxy_service_url = "{span.proxy}"']
        lines += ['proxy_protocol = "SNI"', f'trust = "{span.trust}"', span.more]
    lines += ["[access_log]", f"path = {json.dumps(str(access_log))}"]
    return "\n".join(lines) + "\n"


@frozen
class Span:
    """A `[[bridge]]`: the service's `host:port`, the proxy's URL, its trust file. `port` 0: any free port."""

    service: str
    proxy: str
    trust: Path
    port: int = 0
    #: More lines of its table.
    more: str = ""


class Program:
    """`twistd -n sniproxy`.

    `ports`: of its listeners on 127.0.0.1, in configuration order. `text`: the configuration, which must name
    `access_log`, access.jsonl in the folder, and may name `event_log`, events.jsonl. `inside`: the beginning of a
    command that runs it. Raises ChildError, with its output, if it does not start.
    """

    def __init__(self, folder: Path, text: str, inside: Sequence[str] = ()) -> None:
        self.event_log = folder / "events.jsonl"
        self.access_log = folder / "access.jsonl"
        self.access_log.touch()
        self.config = folder / "sniproxy.toml"
        self.config.write_text(text)
        twistd = Path(sys.executable).with_name("twistd")
        command = [*inside, str(twistd), "-n", "--pidfile=", "sniproxy", "--config", str(self.config)]
        count = sum(text.count(table) for table in ("[[listener]]\n", "[[bridge]]\n"))
        self._stopped = False
        self._process = Child(command, cwd=folder)
        try:
            self.ports = self._process.wait_for(lambda lines: _listening(lines, count), "listening on 127.0.0.1")
            # tail reports new lines without polling.
            self._log = Child(["tail", "-n", "+1", "-F", str(self.access_log)])
        except BaseException:
            self._process.stop()
            raise

    @property
    def port(self) -> int:
        """The port of the first listener."""
        return self.ports[0]

    @property
    def said(self) -> list[str]:
        """The lines of its log so far."""
        return self._process.lines

    def said_at(self, text: str) -> float | None:
        """When it said the first line with a text, in seconds of the monotonic clock. None: it has not said it."""
        lines = zip(self._process.times, self._process.lines, strict=False)
        return next((at for at, line in lines if text in line), None)

    def wait_for_text(self, text: str) -> str:
        """Wait for a line of its log that has the text. Raises ChildError on a timeout."""
        return self._process.wait_for_text(text)

    def connections(self, enough: Callable[[list[Connection]], bool] = bool) -> list[Connection]:
        """Wait until `enough` accepts the access log (default: it has a line). Raises ChildError on a timeout."""

        def found(lines: list[str]) -> list[Connection] | None:
            logged = [json.loads(line) for line in lines if line.startswith("{")]
            return logged if enough(logged) else None

        if self._stopped:  # tail may have ended before it read the last lines
            logged = found(self.access_log.read_text().splitlines())
            if logged is not None:
                return logged
        return self._log.wait_for(found, "access log")

    def names(self, *expected: str) -> list[str]:
        """The server names in the access log in the order of their ends, once the expected ones are there, each as
        often as expected.

        Other names may be among them.
        """
        wanted = Counter(expected)
        logged = self.connections(lambda log: wanted <= Counter(line["server_name"] for line in log))
        return [line["server_name"] for line in logged]

    def signal(self, number: int) -> None:
        """Send it a signal."""
        self._process.process.send_signal(number)

    def kill(self) -> None:
        """Kill it. The records of open connections are lost."""
        self._process.process.kill()
        self.stop()

    def stop(self) -> None:
        """Stop it. Can be repeated."""
        self._process.stop()
        self._stopped = True
        self._log.stop()


class Proxy(Program):
    """A proxy on `port` of 127.0.0.1.

    `routes`: server name to targets (`127.0.0.1:6651`). `port` 0: any free port. `more`: further lines of its
    configuration; `top`: its first lines.
    """

    def __init__(
        self,
        folder: Path,
        routes: Mapping[str, Sequence[str]],
        port: int = 0,
        more: str = "",
        inside: Sequence[str] = (),
        top: str = "",
    ) -> None:
        super().__init__(folder, top + configuration(routes, port, folder / "access.jsonl") + more, inside)

    @property
    def url(self) -> str:
        """The URL of the proxy for a client with a proxy option."""
        return f"pulsar+ssl://127.0.0.1:{self.port}"


class Bridge(Program):
    """A process with bridges. `more`: further lines of its configuration."""

    def __init__(self, folder: Path, spans: Sequence[Span], more: str = "") -> None:
        super().__init__(folder, bridges(spans, folder / "access.jsonl") + more)

    @property
    def url(self) -> str:
        """The service URL for a client, with all bridges."""
        return "pulsar://" + ",".join(f"127.0.0.1:{port}" for port in self.ports)


def _listening(lines: list[str], count: int) -> list[int] | None:
    found = [
        match for line in lines if (match := re.search(r"(?<!\] admin: )listening on \S*127\.0\.0\.1\S*?:(\d+)", line))
    ]
    return [int(match[1]) for match in found] if len(found) >= count else None
