"""Upgrades that fail, with the program in processes. In each case tunnels continue, and new clients are served."""

from __future__ import annotations

import os
import signal
import socket
import threading

from twisted.trial.unittest import TestCase

from tests.support.sockets import read_exactly
from tests.support.upgradedprogram import (
    AT_COMMIT,
    NEW_TUNNELS,
    PLAIN,
    READY,
    WAIT_TIMEOUT_S,
    UpgradedProgram,
    at_committed,
    has,
    running,
)

COUNT = 20
"""Tunnels that are open."""

LATE_ANSWER = (
    "import os\nfrom sniproxy.server.upgrade.channel import Channel\n"
    "from sniproxy.server.upgrade.messages import Commit\n"
    "send = Channel.send\n"
    "def send_and_wait(self, message, *more, **named):\n"
    "    send(self, message, *more, **named)\n"
    "    if isinstance(message, Commit):\n"
    "        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)\n"
    "Channel.send = send_and_wait\n"
)
"""Code of an old process that reads the answer to the commit when the new one has ended."""


class FailureCase(TestCase):
    """Has the assertion that nothing is lost."""

    def check(self, program: UpgradedProgram, tunnels: object = (), serving: int | None = None) -> None:
        """Tunnels continue, and new clients are served. @param serving: by this process. None: the first one."""
        for tunnel in tunnels:  # type: ignore[attr-defined]
            tunnel.exchange()
        new = program.open()
        new.exchange()
        self.assertTrue(has(serving or program.pid, new.client))
        own = "\n".join(line for line in program.said.splitlines() if " new process: " not in line)
        self.assertNotIn("Traceback", own)
        self.assertNotIn("Unhandled", own)

    def failing(self, code: str, reason: str) -> None:
        """Upgrade to a program that fails, then to one that works.

        @param reason: the begin of that of the failure.
        """
        program = UpgradedProgram(self)
        tunnels = [program.open() for _ in range(COUNT)]
        tunnels[0].client.shutdown(socket.SHUT_WR)
        program.write(code)
        why = program.refused()
        self.assertTrue(why.startswith(f"upgrade failed: {reason}"), why)
        program.wait_for(why.splitlines()[0])
        self.check(program, tunnels[1:])
        program.write(PLAIN)
        done = program.upgrade()
        self.assertEqual(program.pid, done["old_pid"])
        self.assertEqual(0, done["stayed"])
        program.wait_for_end(program.pid)
        self.check(program, tunnels[1:], done["pid"])
        self.assertEqual(b"", tunnels[0].target.recv(1))
        tunnels[0].target.sendall(b"half")
        self.assertEqual(b"half", read_exactly(tunnels[0].client, 4))


class StartTests(FailureCase):
    """The new process does not start."""

    def test_configuration(self) -> None:
        """The configuration on disk is invalid: the error is the reason."""
        program = UpgradedProgram(self)
        tunnel = program.open()
        program.configure('[[route]]\nserver_name = "x"\n')
        why = program.refused()
        self.assertIn("proxy.toml:12: route[1]: it has neither target nor resolver", why)
        self.check(program, [tunnel])
        program.configure()
        done = program.upgrade()
        self.check(program, [tunnel], done["pid"])

    def test_import(self) -> None:
        """The new release cannot be imported: the last line of its traceback is the reason."""
        self.failing(
            "import nonexistent_release\n",
            "the new process did not start: status 1: ModuleNotFoundError: No module named 'nonexistent_release'",
        )

    def test_silent(self) -> None:
        """It ends without a word."""
        self.failing("import os\nos._exit(3)\n", "the new process did not start: status 3")

    def test_killed(self) -> None:
        """It is killed, as for want of memory."""
        self.failing("import os\nos.kill(os.getpid(), 9)\n", "the new process did not start: signal 9")

    def test_port(self) -> None:
        """A listener that is only in the new configuration cannot be opened."""
        program = UpgradedProgram(self)
        tunnel = program.open()
        program.configure(
            f'[[listener]]\nname = "other"\nendpoint = "tcp:{program.backend.port}:interface=127.0.0.1"\n'
        )
        self.assertIn(f"port {program.backend.port}: Address already in use", program.refused())
        self.check(program, [tunnel])

    def test_hang(self) -> None:
        """It hangs: it is killed when its time is up."""
        before = f"import sniproxy.server.upgrade.old as old\nold.START_TIMEOUT_S = 0.5\n{PLAIN}"
        program = UpgradedProgram(self, code=before)
        tunnel = program.open()
        program.write("import signal\nsignal.pause()\n")
        self.assertIn("the new process was not ready in 0.5 s", program.refused())
        program.wait_for_end(program.started())
        self.check(program, [tunnel])

    def test_version(self) -> None:
        """It speaks no version of the protocol that this one speaks."""
        self.failing(
            f"import sniproxy.server.upgrade.messages as messages\nmessages.VERSIONS = (7, 8)\n{PLAIN}",
            "this program speaks version 7 or 8 of the upgrade protocol",
        )

    def test_garbage(self) -> None:
        """It speaks another protocol."""
        self.failing(f"{NEW_TUNNELS}channel.send(b'hello')\nread_until(())\n", "the new process")

    def test_out_of_turn(self) -> None:
        """It says what does not follow."""
        self.failing(f"{NEW_TUNNELS}send(messages.Committed())\nread_until(())\n", "unexpected message: Committed")


class MoveTests(FailureCase):
    """The new process fails while tunnels move."""

    def failing_after(self, taken: int, code: str, reason: str, before: str = PLAIN) -> None:
        """Upgrade to a program that takes some tunnels and then fails. Those are lost, and only those.

        @param code: what it does then.
        """
        program = UpgradedProgram(self, code=before)
        tunnels = [program.open() for _ in range(COUNT)]
        program.write(
            f"{NEW_TUNNELS}{READY}for _ in range({taken}):\n"
            "    send(messages.Took(read_until(messages.Tunnel).number))\n"
            f"read_until(messages.Tunnel)\n{code}"
        )
        self.assertIn(reason, program.refused())
        program.wait_for("upgrade failed")
        self.assertEqual(COUNT - taken, program.status()["live"])
        self.check(program, tunnels[taken:])
        program.write(PLAIN)
        done = program.upgrade()
        self.check(program, tunnels[taken:], done["pid"])

    def test_killed(self) -> None:
        """It is killed."""
        self.failing_after(5, "os.kill(os.getpid(), 9)\n", "the new process has failed: ")

    def test_killed_early(self) -> None:
        """It is killed before it has taken a tunnel: none is lost."""
        self.failing_after(0, "os.kill(os.getpid(), 9)\n", "the new process has failed: ")

    def test_garbage(self) -> None:
        """It sends what is no message."""
        self.failing_after(3, "channel.send(b'hello')\n", "not a message of this protocol")

    def test_hang(self) -> None:
        """It stops, and does not answer."""
        before = f"import sniproxy.server.upgrade.old as old\nold.ANSWER_TIMEOUT_S = 0.5\n{PLAIN}"
        code = "os.kill(os.getpid(), signal.SIGSTOP)\n"
        self.failing_after(0, code, "the new process did not answer for 0.5 s", before)

    def test_hang_at_commit(self) -> None:
        """It takes all tunnels, and does not answer the commit: new clients wait, and the old process serves them."""
        before = f"import sniproxy.server.upgrade.old as old\nold.ANSWER_TIMEOUT_S = 0.5\n{PLAIN}"
        program = UpgradedProgram(self, code=before)
        program.write(f"{NEW_TUNNELS}{READY}read_until(messages.Commit)\nread_until(messages.Aborted)\n")
        self.assertIn("did not answer", program.refused())
        self.check(program)

    def test_late_at_commit(self) -> None:
        """It hangs before it reads the commit, and reads it late: the old process serves, also when it has ended."""
        before = f"import sniproxy.server.upgrade.old as old\nold.ANSWER_TIMEOUT_S = 0.5\n{PLAIN}"
        program = UpgradedProgram(self, code=before)
        tunnels = [program.open() for _ in range(3)]
        program.write(f"{AT_COMMIT}{PLAIN}")
        self.assertIn("did not answer", program.refused())
        process = program.started()
        os.kill(process, signal.SIGCONT)
        program.wait_for("upgrade: the old process continues")
        self.check(program, tunnels)
        for tunnel in tunnels:
            tunnel.close()
        program.wait_for_end(process)
        self.check(program)

    def test_late_when_it_accepts(self) -> None:
        """It hangs when it has begun to accept, before it says so: it stops accepting, and the old process serves."""
        before = f"import sniproxy.server.upgrade.old as old\nold.ANSWER_TIMEOUT_S = 0.5\n{PLAIN}"
        pids = ("--nodaemon", "--pidfile=x.pid")
        program = UpgradedProgram(self, code=before, options=pids)
        tunnels = [program.open() for _ in range(3)]
        program.write(f"{at_committed('os.kill(os.getpid(), signal.SIGSTOP)')}{PLAIN}")
        self.assertIn("did not answer", program.refused())
        process = program.started()
        self.check(program)
        os.kill(process, signal.SIGCONT)
        program.wait_for("upgrade: the old process continues")
        for _ in range(5):
            self.check(program, tunnels)
        self.assertNotIn("took over from process", program.said)
        self.assertEqual(str(program.pid), (program.folder / "x.pid").read_text())
        for tunnel in tunnels:
            tunnel.close()
        program.wait_for_end(process)
        self.check(program)

    def test_killed_when_it_accepts(self) -> None:
        """It is killed when it has begun to accept, before or after it says so: the old process serves."""
        for code in (
            at_committed("os.kill(os.getpid(), signal.SIGKILL)"),
            at_committed("pass", "os.kill(os.getpid(), signal.SIGKILL)"),
        ):
            # The old process reads the answer when the new one has ended.
            program = UpgradedProgram(self, code=f"{LATE_ANSWER}{PLAIN}")
            program.write(f"{code}{PLAIN}")
            self.assertIn("the new process has failed: the other process has ended", program.refused())
            self.check(program)

    def test_old_killed(self) -> None:
        """The old process is killed in the middle: the new one serves, with the tunnels that it has taken."""
        program = UpgradedProgram(self)
        tunnels = [program.open() for _ in range(COUNT)]
        program.write(
            "import os\nfrom sniproxy.server.upgrade.receiver import TunnelReceiver\n"
            "keep = TunnelReceiver._keep_promise\nold = os.getppid()\n"
            "def keep_promise(self, number):\n"
            "    keep(self, number)\n"
            "    if self.adopted == 5:\n"
            "        os.kill(old, 9)\n"
            f"TunnelReceiver._keep_promise = keep_promise\n{PLAIN}"
        )
        os.kill(program.pid, signal.SIGUSR2)
        program.wait_for("ready:", 2)
        self.assertEqual(-signal.SIGKILL, program.process.wait(WAIT_TIMEOUT_S))
        self.assertIn("failed during the upgrade", program.said)
        process = program.started()
        moved = program.status()["live"]
        self.assertGreaterEqual(moved, 5)
        self.check(program, tunnels[:moved], process)

    def test_descriptors(self) -> None:
        """The new process may open fewer files: what it cannot take stays with the old one, which says so."""
        program = UpgradedProgram(self)
        tunnels = [program.open() for _ in range(COUNT)]
        program.write(f"import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))\n{PLAIN}")
        why = program.refused()
        self.assertIn("no descriptors are left (limit of open files)", why)
        for tunnel in tunnels:
            tunnel.exchange()


class MeanwhileTests(FailureCase):
    """What happens while an upgrade runs."""

    def begin(self) -> tuple[UpgradedProgram, list[object], int]:
        """Begin an upgrade that waits. @return: the program, its tunnels, and the new process."""
        program = UpgradedProgram(self)
        tunnels: list[object] = [program.open() for _ in range(3)]
        program.write(f"import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)\n{PLAIN}")
        os.kill(program.pid, signal.SIGUSR2)
        process = program.started()
        program.wait_for_state(process, "T")
        return program, tunnels, process

    def test_second(self) -> None:
        """A second upgrade is refused or waits; the first one ends."""
        program, tunnels, process = self.begin()
        os.kill(program.pid, signal.SIGUSR2)
        os.kill(process, signal.SIGCONT)
        program.wait_for("is in charge after")
        program.wait_for_end(program.pid)
        self.check(program, tunnels, process)

    def test_second_by_request(self) -> None:
        """The answer to a second request says that the first upgrade has succeeded."""
        program, tunnels, process = self.begin()
        answers: list[str] = []
        asking = threading.Thread(target=lambda: answers.append(program.refused()))
        asking.start()
        program.until(lambda: b"upgrade" in (program.folder / "out").read_bytes(), "request")
        os.kill(process, signal.SIGCONT)
        asking.join(WAIT_TIMEOUT_S)
        self.assertEqual(["upgrade failed: another process has taken over"], answers)
        program.wait_for_end(program.pid)
        self.check(program, tunnels, process)

    def test_stop(self) -> None:
        """A stop ends the upgrade, and the new process with it."""
        program, _, process = self.begin()
        os.kill(program.pid, signal.SIGTERM)
        program.wait_for("upgrade failed: the proxy is stopping")
        os.kill(program.pid, signal.SIGTERM)
        program.process.wait(WAIT_TIMEOUT_S)
        self.assertFalse(running(process))

    def test_changed_meanwhile(self) -> None:
        """A change of the file that the new process has not seen is read by it when the upgrade has ended."""
        program = UpgradedProgram(self)
        program.write(
            "import os, signal\nfrom sniproxy.service import ProxyService\nstart = ProxyService.startService\n"
            "def stop_and_start(self):\n    os.kill(os.getpid(), signal.SIGSTOP)\n    start(self)\n"
            f"ProxyService.startService = stop_and_start\n{PLAIN}"
        )
        os.kill(program.pid, signal.SIGUSR2)
        process = program.started()
        program.wait_for_state(process, "T")
        program.configure(f'[[route]]\nserver_name = "later.test"\ntarget = "{program.backend.address}"\n')
        os.kill(program.pid, signal.SIGHUP)
        os.kill(process, signal.SIGCONT)
        program.wait_for(f"process {process}, which has taken over, reloads instead")
        program.wait_for("reloaded proxy.toml: 2 routes")
        program.open("later.test").exchange()

    def test_reload(self) -> None:
        """A reload waits for the end of the upgrade, and is the new process's then."""
        program, tunnels, process = self.begin()
        os.kill(program.pid, signal.SIGHUP)
        os.kill(process, signal.SIGCONT)
        program.wait_for("is in charge after")
        program.wait_for_end(program.pid)
        self.check(program, tunnels, process)
