"""What follows an upgrade: pid file, service manager, paths, logs, and tunnels that cannot move. In processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import threading
from collections.abc import Sized
from functools import partial
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from sniproxy.cli.adminclient import drain
from tests.support.hellos import hello
from tests.support.proxies import Backend
from tests.support.sockets import TIMEOUT_S, read_exactly, read_to_end
from tests.support.upgradedprogram import NAME, PLAIN, Ends, UpgradedProgram, has
from tests.tls.material import CA, OTHER_CA, folder, pem
from tests.tls.material import NAME as TLS_NAME


def _has(count: int, found: Sized) -> bool:
    return len(found) == count


class Terminating:
    """A program with a listener that terminates TLS, whose tunnels cannot move."""

    def __init__(self, case: SynchronousTestCase, more: str = "") -> None:
        self._case = case
        files = folder(Path(case.mktemp()), shown_pem=pem(TLS_NAME), ca_pem=OTHER_CA.cert_pem.bytes())
        path = files.resolve()
        self._backend = Backend(case)
        self.program = UpgradedProgram(
            case,
            f'{more}[[listener]]\nname = "tls"\nendpoint = "tcp:0:interface=127.0.0.1"\n'
            f'certificates = "{path}/shown.pem"\nupstream_trust = "{path}/ca.pem"\n'
            f'[[route]]\nserver_name = "{TLS_NAME}"\ntarget = "{self._backend.address}"\n',
        )

    def open(self) -> Ends:
        """Open a tunnel: two TLS sessions."""
        accepted: list[ssl.SSLSocket] = []

        def accept() -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            OTHER_CA.issue_cert(TLS_NAME).configure_cert(context)
            accepted.append(context.wrap_socket(self._backend.accept(), server_side=True))

        accepting = threading.Thread(target=accept)
        accepting.start()
        context = ssl.create_default_context()
        CA.configure_trust(context)
        address = self.program.address_of("tls")
        assert address is not None
        client = context.wrap_socket(socket.create_connection(address, TIMEOUT_S), server_hostname=TLS_NAME)
        accepting.join()
        ends = Ends(client, accepted[0])
        self._case.addCleanup(ends.close)
        return ends


class TunnelTests(SynchronousTestCase):
    """What becomes of connections."""

    def test_moved(self) -> None:
        """A tunnel that has moved has one record, of its whole life."""
        program = UpgradedProgram(self)
        tunnel = program.open()
        tunnel.exchange(1000)
        for _ in range(2):
            program.upgrade()
            tunnel.exchange(1000)
        (live,) = program.wait_for_status("tunnels", len)
        self.assertEqual(3000 + len(hello(name=NAME)), live["bytes_up"])
        tunnel.close()
        program.until(program.records, "record")
        (line,) = program.records()
        record = json.loads(line)
        self.assertEqual(3000 + len(hello(name=NAME)), record["bytes_up"])
        self.assertEqual(3000, record["bytes_down"])
        self.assertEqual(("ok", NAME, "main"), (record["result"], record["server_name"], record["listener"]))

    def test_later(self) -> None:
        """A connection that becomes a tunnel after the upgrade moves then, and the old process ends."""
        program = UpgradedProgram(self, "[timeouts]\nhello = 600\n")
        client = program.connect()
        first, rest = hello(name=NAME)[:50], hello(name=NAME)[50:]
        client.sendall(first)
        program.wait_for_status("live", lambda live: live == 1)
        self.assertEqual(1, program.upgrade()["stayed"])
        client.sendall(rest)
        tunnel = program.opened(client)
        program.wait_for_end(program.pid)
        tunnel.exchange()
        self.assertEqual(1, program.status()["live"])

    def test_waiting(self) -> None:
        """A client that connects at the moment of the commit is served by the new process."""
        program = UpgradedProgram(self)
        program.write(
            "import os, threading\nfrom sniproxy.server.upgrade.predecessor import Predecessor\n"
            "take_over = Predecessor._take_over\n"
            "def wait(*given):\n"
            "    open('held', 'x').close()\n"
            "    while not os.path.exists('go'):\n"
            "        threading.Event().wait(0.01)\n"
            f"    take_over(*given)\nPredecessor._take_over = wait\n{PLAIN}"
        )
        os.kill(program.pid, signal.SIGUSR2)
        program.until((program.folder / "held").exists, "commit")
        client = program.connect()
        client.sendall(hello(name=NAME))
        (program.folder / "go").touch()
        tunnel = program.opened(client)
        tunnel.exchange()
        self.assertTrue(has(program.started(), client))

    def test_new_route(self) -> None:
        """A route that is only in the new configuration has tunnels; the old route's tunnels continue without it."""
        program = UpgradedProgram(self)
        tunnel = program.open()
        other = "other.upgrade.test"
        text = (program.folder / "proxy.toml").read_text()
        (program.folder / "proxy.toml").write_text(text.replace(NAME, other))
        program.upgrade()
        program.open(other).exchange()
        tunnel.exchange()
        with program.connect() as client:
            client.sendall(hello(name=NAME))
            self.assertNotEqual(b"", read_to_end(client))  # an alert

    def test_drain(self) -> None:
        """What drains continues to drain."""
        program = UpgradedProgram(self)
        drain(program.admin, program.backend.address, 1.0)
        before = program.status()["drains"]
        program.upgrade()
        self.assertEqual([one["name"] for one in before], [one["name"] for one in program.status()["drains"]])


class OldProcessTests(SynchronousTestCase):
    """Tunnels that cannot move."""

    def test_chain(self) -> None:
        """They stay with their process through several upgrades, and the process in charge shows it until it ends."""
        started = Terminating(self)
        program, stays, moves = started.program, started.open(), started.program.open()
        first = program.pid
        pids = [first]
        for _ in range(3):
            done = program.upgrade()
            self.assertEqual((pids[-1], 1), (done["old_pid"], done["moved"]))
            self.assertEqual(1 if done["old_pid"] == first else 0, done["stayed"])
            pids.append(done["pid"])
            (old,) = program.wait_for_status("old_processes", lambda old: [one["tunnels"] for one in old] == [1])
            self.assertEqual(first, old["pid"])
            self.assertIsNotNone(old["ends"])
            stays.exchange()
            moves.exchange()
        for pid in pids[1:-1]:
            program.wait_for_end(pid)
        second = started.open()
        second.exchange()
        stays.close()
        program.wait_for_end(first)
        program.wait_for_status("old_processes", lambda old: not old)
        second.exchange()
        moves.exchange()

    def test_two(self) -> None:
        """Two old processes have tunnels."""
        started = Terminating(self)
        program = started.program
        stay = []
        for count in (1, 2):
            stay.append(started.open())
            program.upgrade()
            program.wait_for_status("old_processes", partial(_has, count))
        for number, tunnel in enumerate(stay):
            tunnel.exchange()
            tunnel.close()
            program.wait_for_status("old_processes", partial(_has, 1 - number))

    def test_stop(self) -> None:
        """A stop of the process in charge ends the old one, which drains its tunnels as at a stop of its own."""
        started = Terminating(self, "[timeouts]\ndrain = 1\n")
        program, stays = started.program, started.open()
        first = program.pid
        pid = program.upgrade()["pid"]
        program.wait_for_status("old_processes", partial(_has, 1))
        os.kill(pid, signal.SIGTERM)
        self.assertEqual(b"", stays.client.recv(1))
        program.wait_for_end(first)
        program.wait_for_end(pid)

    def test_end(self) -> None:
        """C{upgrade_drain} ends what is left; the new process is not concerned."""
        started = Terminating(self, "[timeouts]\nupgrade_drain = 1\ndrain = 0\n")
        program, stays, moves = started.program, started.open(), started.program.open()
        program.upgrade()
        self.assertEqual(b"", stays.client.recv(1))
        program.wait_for_end(program.pid)
        moves.exchange()
        program.open().exchange()


class PlaceTests(SynchronousTestCase):
    """Files and sockets with names."""

    def check_pid_file(self, *options: str) -> None:
        """The pid file has the process in charge. The end of the old process does not remove it."""
        program = UpgradedProgram(self, options=("--pidfile=proxy.pid", *options))
        tunnel = program.open()
        file = program.folder / "proxy.pid"
        self.assertEqual(program.pid, int(file.read_text()))
        before, mode = program.pid, file.stat().st_mode
        for _ in range(2):
            pid = program.upgrade()["pid"]
            program.until(lambda: file.read_text().strip() == str(pid), "the process in charge in the pid file")  # noqa: B023
            program.wait_for_end(before)
            self.assertEqual(pid, int(file.read_text()))
            self.assertEqual(mode, file.stat().st_mode)
            before = pid
        tunnel.exchange()
        program.open().exchange()
        os.kill(pid, signal.SIGTERM)
        program.wait_for("draining over")
        os.kill(pid, signal.SIGTERM)
        program.wait_for_end(pid)
        self.assertFalse(file.exists())

    def test_pid_file(self) -> None:
        """In the foreground."""
        self.check_pid_file("--nodaemon")

    def test_daemon(self) -> None:
        """As a daemon, with its log file."""
        self.check_pid_file("--logfile=out")

    def test_unix(self) -> None:
        """UNIX sockets keep their paths, also those that are in no folder that the process may write to."""
        program = UpgradedProgram(self, endpoint="unix:{folder}/proxy.sock")
        tunnel = program.open()
        paths = [program.folder / name for name in ("proxy.sock", "admin")]
        before = [path.stat()[:2] for path in paths]  # mode and inode
        process = program.pid
        for _ in range(2):
            pid = program.upgrade()["pid"]
            program.wait_for_end(process)
            self.assertEqual(before, [path.stat()[:2] for path in paths])
            tunnel.exchange()
            program.open().exchange()
            program.wait_for_status("old_processes", lambda old: not old)
            process = pid

    def test_systemd_socket(self) -> None:
        """A socket that systemd has passed is used by each process in turn."""
        passed = (
            "import os, socket\nsock = socket.create_server(('127.0.0.1', 0)).detach()\n"
            "if sock != 3:\n    os.dup2(sock, 3)\n"
            "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES='front')\n"
        )
        program = UpgradedProgram(self, code=passed + PLAIN, endpoint="systemd:domain=INET:name=front")
        tunnel = program.open()
        program.write(PLAIN)
        process = program.pid
        for _ in range(2):
            process, before = program.upgrade()["pid"], process
            program.wait_for_end(before)
            tunnel.exchange()
            new = program.open()
            new.exchange()
            self.assertTrue(has(process, new.client))

    def test_service_manager(self) -> None:
        """The service manager learns the new main process, which feeds it."""
        address = f"@sniproxy-upgrade-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(TIMEOUT_S)
            sock.bind("\0" + address[1:])
            program = UpgradedProgram(self, environment={"NOTIFY_SOCKET": address})
            first = sock.recv(4096).decode().splitlines()
            self.assertEqual(["READY=1", f"MAINPID={program.pid}"], first[:2])
            pid = program.upgrade()["pid"]
            waiting = [["READY=1", f"MAINPID={pid}"], [f"MAINPID={pid}"]]
            while waiting:  # the state of a process, in one line, may come between
                heard = sock.recv(4096).decode().splitlines()[:2]
                waiting = [one for one in waiting if one != heard]

    def test_output(self) -> None:
        """What the new process writes while it starts is in the output, when it is in charge."""
        program = UpgradedProgram(self)
        program.write(f"import sys\nprint('a warning of the library', file=sys.stderr)\n{PLAIN}")
        program.upgrade()
        program.wait_for("a warning of the library")
        program.wait_for("took over from process ")
        self.assertNotIn("Traceback", program.said)

    def test_half(self) -> None:
        """A target that has closed its side stays so."""
        program = UpgradedProgram(self)
        tunnel = program.open()
        tunnel.target.shutdown(socket.SHUT_WR)
        self.assertEqual(b"", tunnel.client.recv(1))
        program.upgrade()
        tunnel.client.sendall(b"more")
        self.assertEqual(b"more", read_exactly(tunnel.target, 4))
