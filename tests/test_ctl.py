"""Tests for sniproxy.ctl."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from io import BytesIO, StringIO
from pathlib import Path
from typing import BinaryIO

from twisted.trial.unittest import TestCase

from sniproxy import __version__, ctl
from sniproxy.cli import progress
from sniproxy.cli.exitstatus import INCOMPLETE
from sniproxy.inspector.capture.files import CaptureReader
from tests.inspector.capture.building import Captured, pcap
from tests.inspector.capture.recorded import CAPTURES
from tests.inspector.capture.wrapping import UNREAD
from tests.support import programs

JAVA = str(CAPTURES / "java-basic.pcap")
LOOKUPS = str(CAPTURES / "java-lookup-only.pcap")


class Terminal(StringIO):
    """An output stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class TerminalInput(BytesIO):
    """An input stream that is a terminal."""

    def isatty(self) -> bool:
        return True


class Interrupted(BytesIO):
    """Standard input that ends with Ctrl-C."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise KeyboardInterrupt
        return data


class Failing(BytesIO):
    """A file that ends with a read error."""

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        if not data:
            raise OSError(5, "Input/output error")
        return data


class CtlCase(TestCase):
    """Runs the program in this process."""

    def setUp(self) -> None:
        self.out = StringIO()
        self.error = StringIO()
        self.input: BinaryIO = BytesIO()
        self.patch(os, "environ", {**os.environ, "NO_COLOR": ""})

    def run_it(self, *arguments: str) -> int:
        return ctl.main(arguments, ctl.Streams(self.input, self.out, self.error))

    def lines(self, *arguments: str, status: int = 0) -> list[str]:
        """Assert the exit status. @return: the lines of the output."""
        self.out.seek(0)
        self.out.truncate()
        self.assertEqual(self.run_it(*arguments), status, self.error.getvalue())
        return self.out.getvalue().splitlines()

    def objects(self, *arguments: str) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.lines(*arguments, "--json")]

    def usage(self, *arguments: str) -> str:
        """Assert that the arguments are wrong usage. @return: the error."""
        said = StringIO()
        self.patch(sys, "stderr", said)
        error = self.assertRaises(SystemExit, self.run_it, *arguments)
        self.assertEqual(error.code, 2)
        return said.getvalue()


class InspectTests(CtlCase):
    """``sniproxyctl inspect``."""

    def test_lines(self) -> None:
        """One aligned line per event; a line introduces each connection; the summary is on standard error."""
        lines = self.lines("inspect", JAVA)
        self.assertEqual(lines[0], "15:04:35.255  1     connection   127.0.0.1:35992 -> 127.0.0.1:6650")
        self.assertEqual(len(lines), 16 + 2)
        self.assertEqual({line[33 - 2 : 33] for line in lines}, {"  "})
        self.assertEqual({line[14:18].strip() for line in lines}, {"1", "2"})
        self.assertEqual(self.error.getvalue(), "16 events shown; 72 packets, 2 connections (2 Pulsar, 0 TLS)\n")

    def test_json(self) -> None:
        """One JSON object per line, exactly one for each answer to a lookup."""
        events = self.objects("inspect", LOOKUPS)
        lookups = [event for event in events if event["event"] == "lookup"]
        self.assertEqual(len(lookups), 7)
        self.assertEqual([event for event in events if "response" in event], lookups)
        self.assertEqual(events[0]["connection"], "127.0.0.1:43716->127.0.0.1:6650")

    def test_options_anywhere(self) -> None:
        """Options may precede the command and be mixed with arguments; after "--" there are only arguments."""
        wanted = self.lines("inspect", "--json", "--commands", "LOOKUP", JAVA)
        self.assertEqual(self.lines("inspect", JAVA, "--commands", "LOOKUP", "--json"), wanted)
        self.assertEqual(self.lines("inspect", "--commands=lookup", JAVA, "--json"), wanted)
        self.assertEqual(self.lines("--json", "--commands", "LOOKUP", "inspect", JAVA), wanted)
        self.assertEqual(self.lines("--json", "inspect", "--commands", "LOOKUP", "--", JAVA), wanted)
        self.assertEqual(len(wanted), 3)

    def test_choice(self) -> None:
        """--follow and --commands select topics and commands; both may be repeated."""
        topics = [event["topic"] for event in self.objects("inspect", LOOKUPS, "--follow", "m?", "--follow", "fresh*")]
        self.assertEqual([str(topic).rpartition("/")[2] for topic in topics], ["m1", "m2", "m3", "fresh-1"])
        events = self.objects("inspect", JAVA, "--commands", "producer,SEND", "--commands", "subscribe")
        self.assertEqual([event["event"] for event in events].count("command"), 5)
        self.assertEqual({event["event"] for event in events}, {"subscribe", "producer", "command"})

    def test_ports(self) -> None:
        """--port selects connections."""
        for port, count in (("6660", 1), ("6650,6660", 2), ("1", 0)):
            events = self.objects("inspect", JAVA, "--port", port)
            self.assertEqual(len({event["connection"] for event in events}), count)

    def test_tls(self) -> None:
        """A TLS connection has one line, with the cure."""
        lines = self.lines("inspect", str(CAPTURES / "java-tls-no-name.pcap"))
        said = [line for line in lines if " tls " in line]
        self.assertEqual(len(said), 3)
        self.assertIn("no server name; TLS cannot be decoded; capture the plaintext port", said[0])

    def test_standard_input(self) -> None:
        """A dash means standard input."""
        wanted = self.lines("inspect", JAVA)
        self.input = BytesIO(Path(JAVA).read_bytes())
        self.assertEqual(self.lines("inspect", "-"), wanted)
        self.input = TerminalInput()
        self.lines("inspect", "-", status=1)
        self.assertIn("standard input is a terminal", self.error.getvalue())

    def test_colour(self) -> None:
        """Colour is used on terminals, unless NO_COLOR is set, and not for JSON."""
        self.assertNotIn("\x1b", "".join(self.lines("inspect", JAVA)))
        self.out = Terminal()
        self.assertIn("\x1b[", "".join(self.lines("inspect", JAVA)))
        self.assertNotIn("\x1b", "".join(self.lines("inspect", JAVA, "--json")))
        self.patch(os, "environ", {**os.environ, "NO_COLOR": "1"})
        self.assertNotIn("\x1b", "".join(self.lines("inspect", JAVA)))

    def test_progress(self) -> None:
        """A large file has a progress bar on a terminal, which is erased before events and at the end."""
        self.patch(progress, "LARGE_BYTES", 1000)
        self.error = Terminal()
        self.lines("inspect", JAVA)
        self.assertIn("of 8.1 kB", self.error.getvalue())
        self.assertEqual(self.error.getvalue().split("\r\x1b[K")[-1].splitlines()[0][:15], "16 events shown")
        self.out, self.error = Terminal(), Terminal()
        self.lines("inspect", JAVA)
        self.assertIn("%", self.error.getvalue())

    def test_no_progress(self) -> None:
        """Small files, pipes and redirected errors have no progress bar."""
        self.error = Terminal()
        self.lines("inspect", JAVA)
        self.assertNotIn("%", self.error.getvalue())
        self.patch(progress, "LARGE_BYTES", 1000)
        self.input = BytesIO(Path(JAVA).read_bytes())
        self.lines("inspect", "-")
        self.assertNotIn("%", self.error.getvalue())
        self.error = StringIO()
        self.lines("inspect", JAVA)
        self.assertNotIn("%", self.error.getvalue())

    def test_unreadable(self) -> None:
        """An unreadable file gives one line with the name and the cure, and status 1."""
        empty = self.mktemp()
        Path(empty).touch()
        for name, why in (
            (str(Path(JAVA).parent / "nope\x1b"), "nope\\x1b: No such file or directory; "),
            (str(Path(JAVA).parent), ": Is a directory; "),
            (__file__, "the file is neither pcap nor pcapng: "),
            (empty, "the file is empty: "),
        ):
            self.error = StringIO()
            self.assertEqual(self.lines("inspect", name, status=1), [])
            self.assertIn(why, self.error.getvalue())
            self.assertEqual(self.error.getvalue().count("\n"), 1)

    def test_broken(self) -> None:
        """The beginning of a damaged file is shown; the status is 1."""
        path = Path(self.mktemp())
        path.write_bytes(Path(JAVA).read_bytes() + b"\xff" * 40)
        self.assertEqual(len(self.lines("inspect", str(path), status=1)), 18)
        said = self.error.getvalue().splitlines()
        self.assertEqual((len(said), said[0][:15]), (2, "16 events shown"))
        self.assertIn(f"{path}: corrupt at byte", said[1])
        self.input, self.error = Failing(Path(JAVA).read_bytes()), StringIO()
        self.assertEqual(len(self.lines("inspect", "-", status=1)), 18)
        self.assertIn("standard input: read error: Input/output error", self.error.getvalue())

    def test_incomplete(self) -> None:
        """Skipped packets have their own exit status, and are named on standard error."""
        path = self.mktemp()
        Path(path).write_bytes(pcap([Captured(1.0, packet) for packet in UNREAD.values()]))
        for command in ("inspect", "topics"):
            self.assertEqual(self.run_it(command, path), INCOMPLETE)
            self.assertIn("1 IPsec ESP", self.error.getvalue())

    def test_interrupted(self) -> None:
        """Ctrl-C ends the reading with a summary and status 130."""
        self.input = Interrupted(Path(JAVA).read_bytes())
        self.assertEqual(len(self.lines("inspect", "-", status=130)), 18)
        self.assertIn("16 events shown", self.error.getvalue())

    def test_secrets(self) -> None:
        """Credentials are never shown, even with --reveal."""
        packets = list(CaptureReader(BytesIO(Path(JAVA).read_bytes())))
        # In place of the client's version, which is shown, stands a secret as long, which is not.
        secret = [
            Captured(one.time, one.data.replace(b"\x0a\x12Pulsar-Java", b"\x1a\x12Pulsar-Java")) for one in packets
        ]
        secret = [Captured(one.time, one.data.replace(b"*\x04none", b"\x0a\x04none")) for one in secret]
        self.input = BytesIO(pcap(secret))
        said = "\n".join(self.lines("inspect", "-", "--reveal", "--json"))
        self.assertIn('"client_version": "none"', said)
        self.assertNotIn("Pulsar-Java", said + self.error.getvalue())


class TopicsTests(CtlCase):
    """``sniproxyctl topics``."""

    def test_table(self) -> None:
        """An aligned table, sorted by topic."""
        lines = self.lines("topics", LOOKUPS)
        self.assertEqual(lines[0].split()[:3], ["TOPIC", "BROKER", "LOOKUPS"])
        self.assertEqual(
            [line.split()[0].rpartition("/")[2] for line in lines[1:]], ["np2", "fresh-1", "m1", "m2", "m3"]
        )
        self.assertEqual(len(set(map(len, lines))), 1)
        self.assertEqual(
            self.error.getvalue(),
            "5 topics, 2 failed lookups (--failures); 24 packets, 1 connection (1 Pulsar, 0 TLS)\n",
        )

    def test_fold(self) -> None:
        """--fold shows one line for the partitions of a topic."""
        name = str(CAPTURES / "python-basic.pcap")
        partitions = [line for line in self.lines("topics", name) if "-partition-" in line]
        folded = [line for line in self.lines("topics", "--fold", name) if "(4 partitions)" in line]
        self.assertEqual((len(partitions), len(folded)), (4, 1))

    def test_failures(self) -> None:
        """--failures and --namespaces replace the topics."""
        failed = json.loads("\n".join(self.lines("topics", "--json", "--failures", LOOKUPS)))
        self.assertEqual({"TopicNotFound"}, {failure["error"] for failure in failed})
        topics = ["persistent://public/nosuchns/t1", "persistent://nosuchtenant/ns/t"]
        self.assertEqual(topics, [failure["topic"] for failure in failed])
        rows = [line.split()[:3] for line in self.lines("topics", "--namespaces", LOOKUPS)]
        self.assertEqual(["NAMESPACE", "LOOKUPS", "FAILED"], rows[0])
        self.assertEqual(
            [["nosuchtenant/ns", "1", "1"], ["public/default", "5", "0"], ["public/nosuchns", "1", "1"]], rows[1:]
        )
        self.assertIn("not allowed with", self.usage("topics", "--failures", "--namespaces", LOOKUPS))

    def test_forms(self) -> None:
        """--json and --csv show the same topics, and exclude each other."""
        objects = json.loads("\n".join(self.lines("topics", "--json", LOOKUPS)))
        rows = list(csv.DictReader(self.lines("topics", LOOKUPS, "--csv")))
        self.assertEqual([row["topic"] for row in rows], [one["topic"] for one in objects])
        self.assertEqual(len(rows), 5)
        self.assertIn("not allowed with", self.usage("topics", "--json", "--csv", LOOKUPS))


class UsageTests(CtlCase):
    """The command line itself."""

    def test_wrong(self) -> None:
        """Wrong usage exits with status 2."""
        for arguments, why in (
            ((), "COMMAND"),
            (("inspect",), "FILE"),
            (("inspect", JAVA, "--jso"), "unrecognized"),
            (("inspect", JAVA, "--commands", "LOKUP"), "unknown command LOKUP; did you mean LOOKUP"),
            (("inspect", JAVA, "--port", "http"), "invalid ports 'http'"),
            (("topics", JAVA, "--port", "65536"), "from 1 to 65535"),
            (("topics", JAVA, "http://127.0.0.1:9"), "give only one capture"),
            (("look", JAVA), "invalid choice"),
            (("look", "inspect", JAVA), "invalid choice: 'look'"),
            (("--json",), "COMMAND"),
            (("--reveal", "topics", JAVA), "unrecognized arguments: --reveal"),
        ):
            self.assertIn(why, self.usage(*arguments))

    def test_usage_of_the_command(self) -> None:
        """An error in the options of a command shows the usage of that command."""
        for arguments in (("inspect", JAVA, "--commands", "NOPE"), ("topics", JAVA, "http://127.0.0.1:9")):
            self.assertTrue(self.usage(*arguments).startswith(f"usage: sniproxyctl {arguments[0]} "))

    def test_version(self) -> None:
        """--version prints the version."""
        for arguments in (("--version",), ("--version", "inspect")):
            said = StringIO()
            self.patch(sys, "stdout", said)
            self.assertRaises(SystemExit, self.run_it, *arguments)
            self.assertEqual(said.getvalue(), f"sniproxyctl {__version__}\n")

    def test_names_and_options_mixed(self) -> None:
        """Options may be mixed with arguments."""
        options = ctl.parse(["topics", "http://a", "--json", "http://b"])
        self.assertEqual(("http://a", ["http://b"], True), (options.file, options.others, options.json))


class ProcessTests(TestCase):
    """The program in its own process."""

    COMMAND = (sys.executable, "-c", "import sys; from sniproxy.ctl import main; sys.exit(main())")

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        # As a user's shell has it: what is not flushed waits.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        return programs.start(self, [*self.COMMAND, *arguments], env=environment, **pipes)

    def test_live(self) -> None:
        """Events of a live capture are shown when their packet arrives."""
        child = self.start("inspect", "-", "--json")
        assert child.stdin is not None and child.stdout is not None
        child.stdin.write(Path(JAVA).read_bytes()[:2000])
        child.stdin.flush()
        with programs.killed_after(child):
            self.assertEqual(json.loads(child.stdout.readline())["event"], "connect")
        _, error = child.communicate(timeout=60)
        self.assertEqual(child.returncode, 0, error)
        self.assertIn(b"the capture ends inside a packet", error)

    def test_reader_gone(self) -> None:
        """If the reader of the output closes the pipe, the program exits silently."""
        for arguments in (("inspect", JAVA), ("topics", JAVA), ("--help",), ("inspect", "--help"), ("--version",)):
            child = self.start(*arguments)
            assert child.stdout is not None
            child.stdout.close()
            child.stdout = None
            _, error = child.communicate(timeout=60)
            self.assertEqual((child.returncode, error), (141, b""), arguments)
