"""Tests for sniproxy.server.upgrade.program."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.server.upgrade import program
from sniproxy.server.upgrade.channel import receive, socket_pair
from sniproxy.server.upgrade.messages import Took, encode
from sniproxy.server.upgrade.program import (
    CHANNEL,
    MAX_ERROR_BYTES,
    CannotStart,
    CommandLine,
    Program,
    descriptors_from,
    end_capture,
    systemd_sockets,
)
from tests.support.sockets import TIMEOUT_S, links, opened_since
from tests.support.twistdprocess import ENVIRONMENT


class ProgramCase(SynchronousTestCase):
    """Starts programs in Python. @ivar ours: the test's end of the channel."""

    def setUp(self) -> None:
        before = links()
        self.addCleanup(lambda: self.assertEqual({}, opened_since(before)))
        self.ours, self.theirs = socket_pair()
        self.ours.settimeout(TIMEOUT_S)
        for sock in (self.ours, self.theirs):
            self.addCleanup(sock.close)

    def begin(self, code: str, *words: str, folder: str = "/", **environment: str) -> Program:
        """Start a program. @param words: its arguments."""
        environment.setdefault("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
        command = CommandLine([sys.executable, "-c", code, *words], folder)
        started = Program(command, self.theirs, environment)

        def end() -> None:
            started.kill()
            started._process.wait(TIMEOUT_S)

        self.addCleanup(started.close)
        self.addCleanup(end)  # runs first
        return started

    def said(self, code: str, **more: Any) -> Any:
        """What a program sends through the channel, as JSON. @param code: makes C{value}."""
        self.begin(
            "import json, os, socket, sys\n"
            "channel, errors = map(int, os.environ['SNIPROXY_UPGRADE'].split(':'))\n"
            f"{code}\nsocket.socket(fileno=channel).send(json.dumps(value).encode())",
            **more,
        )
        return json.loads(self.ours.recv(65536))

    def ended(self, code: str) -> Program:
        """Start a program and wait for its end."""
        started = self.begin(code)
        started._process.wait(TIMEOUT_S)
        self.assertTrue(started.ended)
        return started


class StartTests(ProgramCase):
    """What the new process gets."""

    def test_command(self) -> None:
        """It gets the words, the working directory, and more variables."""
        folder = tempfile.mkdtemp()
        self.addCleanup(os.rmdir, folder)
        value = self.said(
            "value = [os.getcwd(), os.environ['NOTIFY_SOCKET'], os.environ['PATH']]", folder=folder, NOTIFY_SOCKET="@x"
        )
        self.assertEqual([os.path.realpath(folder), "@x", os.environ["PATH"]], value)

    def test_channel(self) -> None:
        """It gets one end of the channel, which this process then has no more."""
        started = self.begin(
            "import os, socket\n"
            "sock = socket.socket(fileno=int(os.environ['SNIPROXY_UPGRADE'].split(':')[0]))\n"
            "sock.send(sock.recv(99))"
        )
        self.assertEqual(-1, self.theirs.fileno())
        self.ours.send(encode(Took(9)))
        self.assertEqual((Took(9), []), receive(self.ours))
        self.assertEqual((None, []), receive(self.ours))
        self.assertEqual(0, started._process.wait(TIMEOUT_S))

    def test_descriptors(self) -> None:
        """It gets no other descriptors, such as listening sockets that close at the end of this process."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            os.set_inheritable(server.fileno(), True)
            value = self.said(
                "value = [n for n in os.listdir('/proc/self/fd') if os.path.exists('/proc/self/fd/' + n)]\n"
                "value = [sorted(map(int, value)), channel, errors]"
            )
        numbers, channel, errors = value
        self.assertEqual([0, 1, 2, *sorted((channel, errors))], numbers)
        self.assertNotIn(server.fileno(), numbers)

    def test_standard_error(self) -> None:
        """Its standard error is captured; the second descriptor is the real one."""
        value = self.said("value = [os.path.samestat(os.fstat(errors), os.fstat(2)), list(os.fstat(errors))[:3]]")
        self.assertEqual([False, list(os.fstat(2))[:3]], value)

    def test_none(self) -> None:
        """A program that does not exist has a reason."""
        command = CommandLine(["/nonexistent/python", "-m", "x"], "/")
        error = self.assertRaises(CannotStart, Program, command, self.theirs, {})
        self.assertIn("cannot start /nonexistent/python: ", str(error))
        self.assertIn("No such file", str(error))
        self.assertEqual(-1, self.theirs.fileno())

    def test_no_folder(self) -> None:
        """So has a working directory that was removed."""
        command = CommandLine([sys.executable, "-c", ""], "/nonexistent")
        error = self.assertRaises(CannotStart, Program, command, self.theirs, {})
        self.assertIn("/nonexistent", str(error))


class EndTests(ProgramCase):
    """How a program that failed has ended."""

    def test_status(self) -> None:
        """The status, and the last line of its standard error."""
        started = self.ended("import sys; sys.stderr.write('one\\n\\ntwo \\x1b[1m \\n'); sys.exit(7)")
        self.assertEqual(["one", "two \\x1b[1m "], started.errors())
        self.assertEqual("status 7: two \\x1b[1m", started.why())

    def test_silent(self) -> None:
        """It may say nothing."""
        self.assertEqual("status 0", self.ended("").why())

    def test_signal(self) -> None:
        """A signal may end it."""
        self.assertEqual("signal 9", self.ended("import os; os.kill(os.getpid(), 9)").why())

    def test_running(self) -> None:
        """It may have closed the channel only."""
        started = self.begin(
            "import os, signal, sys\nprint('no more', file=sys.stderr, flush=True)\n"
            "os.close(int(os.environ['SNIPROXY_UPGRADE'].split(':')[0]))\nsignal.pause()"
        )
        self.assertEqual(b"", self.ours.recv(1))
        self.assertFalse(started.ended)
        self.assertEqual("it closed the channel: no more", started.why())

    def test_much(self) -> None:
        """Only the end of what it wrote is shown, also if that is not text."""
        started = self.ended("import os; os.write(2, b'x' * 99999); os.write(2, b'\\n\\xff last')")
        self.assertEqual("\\ufffd last", started.errors()[-1])
        self.assertLess(sum(map(len, started.errors())), MAX_ERROR_BYTES + 9)

    def test_kill(self) -> None:
        """A program that hangs is killed; killing it again does nothing."""
        started = self.begin("import signal; signal.pause()")
        started.kill()
        self.assertEqual(-signal.SIGKILL, started._process.wait(TIMEOUT_S))
        started.kill()

    def test_kill_daemon(self) -> None:
        """A daemon has another process id than the program that was started."""
        started = self.begin(
            "import os, signal, socket\n"
            "sock = socket.socket(fileno=int(os.environ['SNIPROXY_UPGRADE'].split(':')[0]))\n"
            "if os.fork():\n    os._exit(0)\n"
            "sock.send(str(os.getpid()).encode())\nsignal.pause()"
        )
        started._process.wait(TIMEOUT_S)
        started.pid = int(self.ours.recv(99))
        started.kill()
        self.assertEqual(b"", self.ours.recv(1))  # its end is closed


class CaptureTests(SynchronousTestCase):
    """end_capture, with the standard error of this process."""

    def setUp(self) -> None:
        before = os.dup(2)
        captured, real = Path(self.mktemp()), Path(self.mktemp())
        self.captured, self.real = captured.open("w+b", buffering=0), real.open("w+b", buffering=0)

        def restore() -> None:
            os.dup2(before, 2)
            os.close(before)
            self.captured.close()
            self.real.close()

        self.addCleanup(restore)
        self.number = os.dup(self.real.fileno())

    def end(self) -> None:
        """End the capture, then write more."""
        end_capture(self.number)
        os.write(2, b"after\n")
        self.assertRaises(OSError, os.fstat, self.number)

    def test_end(self) -> None:
        """What the file has is written to the real standard error, and so is everything after it."""
        os.dup2(self.captured.fileno(), 2)
        os.write(2, b"before\n")
        self.end()
        self.assertEqual(b"before\n", Path(self.captured.name).read_bytes())
        self.assertEqual(b"before\nafter\n", Path(self.real.name).read_bytes())

    def test_nothing(self) -> None:
        """It may have written nothing."""
        os.dup2(self.captured.fileno(), 2)
        self.end()
        self.assertEqual(b"after\n", Path(self.real.name).read_bytes())

    def test_daemon(self) -> None:
        """A daemon has replaced its standard error: that stays."""
        read, write = os.pipe()
        os.dup2(write, 2)
        os.close(write)
        self.addCleanup(os.close, read)
        self.end()
        self.assertEqual(b"after\n", os.read(read, 99))
        self.assertEqual(b"", Path(self.real.name).read_bytes())

    def test_full(self) -> None:
        """A standard error that takes nothing is no error."""
        os.close(self.number)
        self.number = os.open("/dev/full", os.O_WRONLY)
        os.dup2(self.captured.fileno(), 2)
        os.write(2, b"before\n")
        end_capture(self.number)
        self.assertRaises(OSError, os.fstat, self.number)


class EnvironmentTests(SynchronousTestCase):
    """descriptors_from, CommandLine and systemd_sockets."""

    def test_none(self) -> None:
        """No upgrade has started this process."""
        self.assertIsNone(descriptors_from({}))

    def test_once(self) -> None:
        """The descriptors are not inherited further, and the variable neither."""
        numbers = os.pipe()
        for number in numbers:
            os.set_inheritable(number, True)
            self.addCleanup(os.close, number)
        environment = {CHANNEL: "{}:{}".format(*numbers)}
        self.assertEqual(numbers, descriptors_from(environment))
        self.assertEqual({}, environment)
        self.assertEqual([fcntl.FD_CLOEXEC] * 2, [fcntl.fcntl(number, fcntl.F_GETFD) for number in numbers])

    def test_command(self) -> None:
        """The command line is that of this process, with its interpreter and its options."""
        code = (
            "from sniproxy.server.upgrade.program import CommandLine\nimport json\n"
            "found = CommandLine.current()\nprint(json.dumps([list(found.words), found.folder]))"
        )
        words = [sys.executable, "-W", "ignore", "-c", code, "--config", "x.toml"]
        folder = os.path.realpath(tempfile.gettempdir())
        out = subprocess.run(
            words, stdout=subprocess.PIPE, check=True, cwd=folder, env=ENVIRONMENT, timeout=TIMEOUT_S
        ).stdout
        self.assertEqual([words, folder], json.loads(out))

    def test_systemd(self) -> None:
        """The number of sockets that systemd has passed, if they were for this process."""
        for environment, count in (
            ({"LISTEN_FDNAMES": "front:admin"}, 2),
            ({"LISTEN_FDNAMES": "front"}, 1),
            ({"LISTEN_FDNAMES": ""}, 0),
            ({"LISTEN_FDNAMES": "front", "LISTEN_FDS": "1", "LISTEN_PID": "1"}, 0),
            ({}, 0),
        ):
            self.assertEqual(count, systemd_sockets(environment), environment)


class SystemdTests(ProgramCase):
    """A program to which systemd has passed sockets."""

    def test_names(self) -> None:
        """The new process knows them by their names, and nothing else is at their numbers."""
        self.patch(os, "environ", {**os.environ, "LISTEN_FDNAMES": "front:admin"})
        value = self.said(
            "value = [os.getpid(), *map(os.environ.get, ('LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES')), "
            "min(channel, errors), *(os.path.exists(f'/proc/self/fd/{n}') for n in (3, 4))]"
        )
        pid, listen_pid, count, names, first, *open_ = value
        self.assertEqual((str(pid), "2", "front:admin"), (listen_pid, count, names))
        self.assertGreaterEqual(first, 5)
        self.assertEqual([False, False], open_)

    def test_no_memory_file(self) -> None:
        """A system without files in memory has temporary ones."""
        self.patch(program, "os", _Without(os, "memfd_create"))
        self.assertEqual(["x"], self.ended("import sys; sys.stderr.write('x')").errors())


class _Without:
    """A module without one of its functions."""

    def __init__(self, module: Any, name: str) -> None:
        self._module = module
        self._name = name

    def __getattr__(self, name: str) -> Any:
        if name == self._name:
            raise AttributeError(name)
        return getattr(self._module, name)
