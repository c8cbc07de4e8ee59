"""Tests for the samples of docs/howto/record-and-replay.md."""

from __future__ import annotations

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from sniproxy import ctl
from sniproxy.cli.commands import Streams
from sniproxy.cli.conversation.replay import endpoint_of, play_broker, play_client
from sniproxy.conversation.textform import read_conversation
from tests.cli.conversation.demo import TIMEOUT_S, Announced, DemoCase, reactor
from tests.inspector.capture.recorded import CAPTURES

PAGE = Path(__file__).parent.parent.parent.parent / "docs" / "howto" / "record-and-replay.md"
if not PAGE.exists():
    skip = "docs/ is not here: the tests run apart from the sources"


def blocks(language: str) -> list[str]:
    """The code blocks of the guide in a language."""
    found = re.findall(r"^```([^\n`]*)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [block for each, block in found if each == language]


class GuideTests(DemoCase):
    """The guide."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        shutil.copy(CAPTURES / "python-basic.pcap", self.folder / "orders.pcap")
        self.start = os.getcwd()
        self.addCleanup(os.chdir, self.start)
        os.chdir(self.folder)

    def record_sample(self) -> str:
        """Run the first sample. @return: what it printed."""
        (sample,) = (block for block in blocks("") if block.startswith("$ sniproxyctl record"))
        streams = Streams(io.BytesIO(), io.StringIO(), io.StringIO())
        words = shlex.split(sample.splitlines()[0].removeprefix("$ sniproxyctl "))
        self.assertEqual(0, ctl.main(words, streams))
        self.sample = sample.partition("\n")[2]
        return streams.error.getvalue()  # type: ignore[attr-defined,no-any-return]

    def test_record(self) -> None:
        """Recording a capture prints what the guide shows, and writes the lines that it shows."""
        said = self.record_sample()
        self.assertEqual(self.sample, said)
        written = Path("orders.jsonl").read_text().splitlines()
        (shown,) = blocks("json")
        for line in shown.splitlines():
            self.assertIn(line, written)

    async def test_difference(self) -> None:
        """The difference that the guide shows is that of a client with another topic."""
        self.record_sample()
        (shown,) = (block for block in blocks("") if block.startswith("orders.jsonl:"))
        text = Path("orders.jsonl").read_text()
        Path("changed.jsonl").write_text(text.replace('part4-partition-1", "sub', 'part5-partition-1", "sub'))
        out, error = io.StringIO(), Announced()

        def options(*words: str) -> Any:
            return ctl.parse(["replay", "--timeout", str(TIMEOUT_S), *words])

        files = [read_conversation(Path(each).read_text().splitlines()) for each in ("orders.jsonl", "changed.jsonl")]
        broker = play_broker(options("--as", "broker", "orders.jsonl"), files[:1], out, error, reactor)
        playing = Deferred.fromCoroutine(broker)
        self.addCleanup(playing.cancel)
        port = int((await error.url.addTimeout(TIMEOUT_S, reactor)).rpartition(":")[2])
        words = options("--as", "client", "changed.jsonl", "--connect", "127.0.0.1")
        connecting = partial(endpoint_of, words, "127.0.0.1", port)
        client = play_client(words, files[1], connecting, None, io.StringIO(), io.StringIO(), reactor)
        both = gatherResults([playing, Deferred.fromCoroutine(client)])
        self.assertEqual([1, 0], await both.addTimeout(TIMEOUT_S, reactor))
        self.assertEqual(shown, out.getvalue())

    def test_program(self) -> None:
        """The program of the guide passes for a client that does what was recorded."""
        self.record_sample()
        (program,) = blocks("python")
        path = os.pathsep.join(os.path.join(self.start, each) for each in sys.path)
        self.patch(os, "environ", {**os.environ, "PYTHONPATH": path})
        names: dict[str, Any] = {}

        def run_client(url: str) -> None:
            self.addCleanup(names["replay"].kill)
            script = "import sys; from sniproxy.ctl import main; sys.exit(main())"
            words = ["replay", "--as", "client", "orders.jsonl", "--connect", url.removeprefix("pulsar://")]
            subprocess.run([sys.executable, "-c", script, *words], check=True, timeout=TIMEOUT_S, capture_output=True)

        names["run_client"] = run_client
        exec(program, names)
        self.assertEqual(0, names["replay"].returncode)
