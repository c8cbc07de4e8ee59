"""The command line of ``twistd sniproxy``, in real processes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from twisted.trial.unittest import TestCase

from sniproxy import __version__
from tests.server.workers.running import held_port
from tests.support import programs
from tests.support.hellos import hello
from tests.support.sockets import TIMEOUT_S, read_to_end
from tests.support.twistdprocess import ENVIRONMENT, TWISTD, TwistdProcess


def run(*arguments: str) -> tuple[int, str, str]:
    """Run the program. @return: exit status, standard output, standard error."""
    done = subprocess.run(
        [*TWISTD, *arguments], capture_output=True, text=True, timeout=TIMEOUT_S, env=ENVIRONMENT, check=False
    )
    return done.returncode, done.stdout, done.stderr


def run_unread(*arguments: str) -> tuple[int, str]:
    """Run the program with a closed standard output. @return: exit status, standard error."""
    out, back = os.pipe()
    os.close(out)
    # As a user's shell has it: what is not flushed waits.
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        [*TWISTD, *arguments], stdout=back, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S, env=environment,
        check=False,
    )  # fmt: skip
    os.close(back)
    return done.returncode, done.stderr


def run_with_file(case: TestCase, program: str) -> subprocess.CompletedProcess[str]:
    """Run a Python program with a configuration as its argument."""
    path = Path(case.mktemp())
    path.write_text('[[listener]]\nendpoint = "tcp:0"\n[default]\ntarget = "127.0.0.1:1"\n')
    return subprocess.run(
        [sys.executable, "-c", program, str(path)], capture_output=True, text=True, env=ENVIRONMENT, check=False
    )


class CollectingTests(TestCase):
    """Python's garbage collector, which would scan many routes repeatedly."""

    def test_start(self) -> None:
        """The program's configuration is frozen after the start until a reload; objects of embedders are not."""
        program = (
            "import gc, sys\n"
            "from twisted.internet import reactor\n"
            "from sniproxy.tap import Options\n"
            "for parent in (None, {}):\n"
            "    options = Options()\n"
            "    options.parent = parent\n"
            "    options.parseOptions(['--config', sys.argv[1]])\n"
            "    print(gc.isenabled(), gc.get_freeze_count() > 0)\n"
            "options.again()\n"
            "print(gc.get_freeze_count())"
        )
        ran = run_with_file(self, program)
        self.assertEqual(("True False\nTrue True\n0\n", ""), (ran.stdout, ran.stderr))


class ServiceManagerTests(TestCase):
    """A unit of ``Type=notify``."""

    def started(self, more: str = "") -> tuple[socket.socket, TwistdProcess, Path]:
        """@return: the service manager's socket, the process that it started, and its configuration file."""
        path = Path(self.mktemp())
        port = held_port(self) if more else 0
        path.write_text(
            f'{more}[[listener]]\nendpoint = "tcp:{port}:interface=127.0.0.1"\n[default]\ntarget = "a.test"\n'
        )
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(manager.close)
        manager.settimeout(TIMEOUT_S)
        name = f"sniproxy-tap-{os.getpid()}-{path.name}"
        manager.bind(f"\0{name}")
        environment = {"NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "1000000000"}
        return manager, TwistdProcess(self, ["--config", str(path)], environment), path

    def test_states(self) -> None:
        """Ready when the ports are bound, reloading and ready again, with the reason of a failure, and stopping."""
        manager, process, path = self.started()
        ready = f"READY=1\nMAINPID={process.process.pid}\nSTATUS=0 tunnels"
        self.assertEqual(ready, manager.recv(4096).decode())
        path.write_text("[[listener]]\n")
        process.process.send_signal(signal.SIGHUP)
        self.assertTrue(manager.recv(4096).startswith(b"RELOADING=1\nMONOTONIC_USEC="))
        failed = manager.recv(4096).decode()
        self.assertTrue(failed.startswith("READY=1\nSTATUS=reload failed, keeping the current configuration"), failed)
        self.assertIn("listener[0].endpoint: missing", failed)
        process.finish(signal.SIGTERM)
        self.assertEqual("STOPPING=1\nSTATUS=draining", manager.recv(4096).decode())

    def test_workers(self) -> None:
        """The supervisor alone reports, once all workers listen."""
        manager, process, _ = self.started("workers = 2\n")
        self.assertEqual(
            f"READY=1\nMAINPID={process.process.pid}\nSTATUS=2 of 2 workers, 0 tunnels", manager.recv(4096).decode()
        )
        process.finish(signal.SIGTERM)
        self.assertEqual("STOPPING=1\nSTATUS=draining", manager.recv(4096).decode())


class SignalTests(TestCase):
    """Signals that arrive while the handlers are set."""

    def test_at_once(self) -> None:
        """A signal that arrives while its handler is set is passed on."""
        program = (
            "import signal, sys\n"
            "from twisted.internet import reactor\n"
            "from sniproxy.tap import Options, makeService\n"
            "signal.signal(signal.SIGTERM, lambda number, frame: print('passed on'))\n"
            "options = Options()\n"
            "options.parseOptions(['--config', sys.argv[1]])\n"
            "service, really = makeService(options), signal.signal\n"
            "def at_once(number, handler):\n"
            "    before = really(number, handler)\n"
            "    if number == signal.SIGTERM: signal.raise_signal(number)\n"
            "    return before\n"
            "signal.signal = at_once\n"
            "service._run()\n"
        )
        ran = run_with_file(self, program)
        self.assertEqual(("passed on\n", ""), (ran.stdout, ran.stderr))


class CheckTests(TestCase):
    """--check, --help and errors."""

    def write(self, text: str) -> str:
        path = Path(self.mktemp())
        path.write_text(text)
        return str(path)

    def test_check(self) -> None:
        """--check shows a valid configuration with its warnings, with status 0."""
        path = self.write(
            '[[listener]]\nendpoint = "tcp:4443:interface=127.0.0.1"\n[[route]]\nserver_name = "dotless"\n'
            'target = "127.0.0.1:4443"\n[timeouts]\nidle = 30\n'
        )
        status, out, err = run("--config", path, "--check")
        self.assertEqual((0, ""), (status, err))
        for text in (
            "  dotless",
            "warning: route dotless: a name without a dot: Java clients never send it",
            "warning: route dotless: target 127.0.0.1:4443 is a listener of this proxy",
            "warning: timeouts.idle = 30",
            "the configuration is valid",
        ):
            self.assertIn(text, out)

    def test_options_alone(self) -> None:
        """--listen and --route, which repeat, replace the file."""
        status, out, _ = run(
            *("--listen", "tcp:4443", "--listen", "tcp:4444", "--route", "a.test=10.0.0.7:6651"),
            *("--route", "*.eu.test=10.0.0.8,10.0.0.9:1", "--access-log", "-", "--check"),
        )
        self.assertEqual(0, status)
        for text in (
            "tcp:4443",
            "tcp:4444",
            "a.test",
            "10.0.0.8:6651, 10.0.0.9:1 (round robin)",
            "access log          -",
        ):
            self.assertIn(text, out)

    def test_closed_pipe(self) -> None:
        """A write to a closed pipe ends the program silently, as SIGPIPE does."""
        for arguments in (
            ("--help",),
            ("--version",),
            ("--help-resolvers",),
            ("--help-resolver", "dns"),
            ("--listen", "tcp:4443", "--route", "a.test=10.0.0.7:6651", "--check"),
        ):
            self.assertEqual((128 + signal.SIGPIPE, ""), run_unread(*arguments), arguments)

    def test_errors(self) -> None:
        """Every error is one line on standard error, with status 1 and without a traceback."""
        bad = self.write('[[listener]]\nendpoint = "tcp:4443"\ncolour = "red"\n')
        workers = self.write('workers = 0\n[[listener]]\nendpoint = "tcp:4443"\n')
        binary = Path(self.mktemp())
        binary.write_bytes(b"\xff")
        for arguments, expected in (
            (("--config", bad, "--check"), f'{bad}:3: listener[0].colour = "red": unknown key'),
            (("--config", bad), f'{bad}:3: listener[0].colour = "red": unknown key'),
            (("--config", "/nonexistent"), "/nonexistent: cannot be read: No such file or directory"),
            (("--config", str(binary)), f"{binary}: cannot be read: it is not UTF-8"),
            (("--config", bad, "--listen", "tcp:1"), "--config cannot be combined with --listen or --route"),
            (("--config", workers, "--check"), "workers = 0: must be a number of processes from 1 to 128"),
            ((), "nothing to do: give --config FILE"),
            (("x.toml",), "x.toml: unexpected argument; for a configuration file, write --config x.toml"),
            (("--confog", "x.toml"), "option --confog not recognized; twistd sniproxy --help lists the options"),
            (("--listen", "foo:1", "--check"), "Twisted cannot use this endpoint"),
            (("--listen", "systemd:domain=INET:index=0"), "a descriptor that systemd did not pass"),
            (("--listen", "unix:/nonexistent/socket"), "cannot listen on unix:/nonexistent/socket"),
            (("--listen", "tls:4443"), 'command line: --listen = "tls:4443": TLS passes through to the brokers'),
            (("--listen", "tcp:4443", "--route", "a"), "write NAME=HOST:PORT"),
            (("--listen", "tcp:0:interface=127.0.0.1", "--access-log", "/nonexistent/x"), "x: cannot open: "),
        ):
            status, out, err = run(*arguments)
            self.assertEqual(1, status, out + err)
            self.assertIn(expected, err)
            self.assertNotIn("Traceback", out + err)

    def test_version(self) -> None:
        """--version prints the version of sniproxy."""
        self.assertEqual((0, f"sniproxy {__version__}\n", ""), run("--version"))

    def test_help_resolvers(self) -> None:
        """--help-resolvers lists the types, --help-resolver shows one; an unknown type is an error."""
        status, out, _ = run("--help-resolvers")
        self.assertEqual(0, status)
        self.assertIn("static", [line.split()[0] for line in out.splitlines()])
        status, out, _ = run("--help-resolver", "static")
        self.assertEqual(0, status)
        self.assertIn("target", out)
        status, _, err = run("--help-resolver", "statik")
        self.assertEqual(1, status)
        self.assertIn('unknown type "statik"; types: ', err)

    def test_help(self) -> None:
        """--help explains each option."""
        status, out, _ = run("--help")
        self.assertEqual(0, status)
        for option in ("--config", "--listen", "--route", "--access-log", "--check"):
            self.assertIn(option, out)


class ProcessTests(TestCase):
    """The running program."""

    def test_run(self) -> None:
        """It listens, refuses, logs, and exits on a signal."""
        log = Path(self.mktemp())
        proxy = TwistdProcess(self, ("-l", "tcp:0:interface=127.0.0.1", "-r", "a.b=127.0.0.1:9", "-a", str(log)))
        proxy.refused()
        status, said = proxy.finish(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, status)  # twistd ends as the signal would have ended it
        self.assertIn("stopped: 1 no_route", said)
        self.assertNotIn("Traceback", said)
        (line,) = log.read_text().splitlines()
        self.assertEqual("no_route", json.loads(line)["result"])

    def test_standard_output(self) -> None:
        """With --access-log - lines go to standard output, as JSON unless that is a terminal."""
        proxy = TwistdProcess(self, ("-l", "tcp:0:interface=127.0.0.1", "--access-log", "-"))
        proxy.refused()
        _, said = proxy.finish(signal.SIGINT)
        self.assertIn('"result": "no_route"', said)

    def test_two_outputs(self) -> None:
        """The access log on standard output is not mixed with the program's log."""
        for words in (["run"], None):
            program = (
                TWISTD if words is None else (sys.executable, "-c", "from sniproxy.ctl import main; main()", *words)
            )
            process: subprocess.Popen[str] = programs.start(
                self,
                [*program, "--listen", "tcp:0:interface=127.0.0.1", "--access-log", "-"], env=ENVIRONMENT, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            timer = threading.Timer(TIMEOUT_S, programs.kill_group, (process,))
            timer.start()
            self.addCleanup(timer.cancel)
            assert process.stderr is not None
            port = 0
            for line in process.stderr:
                port = int(line.rpartition(":")[2]) if "listening on" in line else port
                if "ready:" in line:
                    break
            with socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S) as client:
                client.sendall(hello(name="nobody.test"))
                read_to_end(client)
            process.terminate()
            out, error = process.communicate(timeout=TIMEOUT_S)
            self.assertEqual(["no_route"], [json.loads(line)["result"] for line in out.splitlines()])
            self.assertIn("stopped: 1 no_route", error)

    def test_own_log(self) -> None:
        """Without an access log, each connection is a line in the program's log."""
        proxy = TwistdProcess(self, ("-l", "tcp:0:interface=127.0.0.1"))
        proxy.refused()
        _, said = proxy.finish(signal.SIGTERM)
        self.assertIn("nobody.test  alert unrecognized_name  (no route has this name)", said)

    def test_reopen(self) -> None:
        """SIGUSR1 reopens the access log."""
        log = Path(self.mktemp())
        proxy = TwistdProcess(self, ("-l", "tcp:0:interface=127.0.0.1", "-a", str(log)))
        log.rename(f"{log}.1")
        proxy.process.send_signal(signal.SIGUSR1)
        proxy.wait_for("reopened")
        proxy.refused()
        proxy.finish(signal.SIGTERM)
        self.assertEqual(["", "no_route"], [Path(f"{log}.1").read_text(), json.loads(log.read_text())["result"]])

    def test_reload(self) -> None:
        """SIGHUP reloads the file: an invalid one changes nothing, a valid one applies; the program continues."""
        file = Path(self.mktemp())
        text = '[[listener]]\nendpoint = "tcp:0:interface=127.0.0.1"\n[access_log]\npath = "-"\n'
        file.write_text(text)
        proxy = TwistdProcess(self, ("--config", str(file)))
        for written, said in (
            ("colour = 1\n" + text, f"{file}:1: colour = 1: unknown key"),
            (f"{text}[timeouts]\nodd = 1\neven = 2\n", f"{file}:7: timeouts.even = 2: unknown key"),
            (
                f'{text}[admin]\nendpoint = "unix:x"\ntoken_file = "none"\n'
                '[[route]]\nserver_name = "a b"\ntarget = "b"\n',
                f'{file}:9: route[0].server_name = "a b": the character',
            ),
            (text + '[[route]]\nserver_name = "a.test"\ntarget = "127.0.0.1:9"\n', f"reloaded {file}: 1 route"),
        ):
            file.write_text(written)
            proxy.process.send_signal(signal.SIGHUP)
            proxy.wait_for(said)
        proxy.refused()
        status, said = proxy.finish(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, status)
        self.assertIn('"result": "no_route"', said)
        self.assertRegex(proxy.said, r":7: admin\.token_file = .*: cannot read the file")
        self.assertNotIn("Traceback", proxy.said)

    def test_blocked(self) -> None:
        """An event loop that was blocked for over a second is logged."""
        proxy = TwistdProcess(self, ("-l", "tcp:0:interface=127.0.0.1"))
        proxy.process.send_signal(signal.SIGSTOP)
        timer = threading.Timer(2.0, proxy.process.send_signal, (signal.SIGCONT,))
        timer.start()
        self.addCleanup(timer.join)
        proxy.wait_for("event loop blocked for")
        proxy.finish(signal.SIGTERM)

    def test_reload_without_a_file(self) -> None:
        """SIGHUP without a configuration file is logged, and changes nothing."""
        proxy = TwistdProcess(self, ("-l", "tcp:0:interface=127.0.0.1"))
        proxy.process.send_signal(signal.SIGHUP)
        proxy.wait_for("reload failed, keeping the current configuration: the configuration came from the command line")
        self.assertEqual(-signal.SIGTERM, proxy.finish(signal.SIGTERM)[0])

    def test_busy_port(self) -> None:
        """For a busy port it prints one line with the process that holds it, and exits with status 1."""
        with socket.socket() as holder:
            holder.bind(("127.0.0.1", 0))
            holder.listen()
            status, out, err = run("--listen", f"tcp:{holder.getsockname()[1]}:interface=127.0.0.1")
        self.assertEqual(1, status)
        self.assertIn(f"Address already in use; it is held by pid {os.getpid()}", err)
        self.assertNotIn("Traceback", out + err)

    def test_busy_port_of_a_daemon(self) -> None:
        """A daemon that cannot listen reports it and exits with status 1; its parent does not hang."""
        log = Path(self.mktemp())
        with socket.create_server(("127.0.0.1", 0)) as holder:
            endpoint = f"tcp:{holder.getsockname()[1]}:interface=127.0.0.1"
            daemon = [*TWISTD[:-2], "-l", str(log), "sniproxy", "--listen", endpoint]
            done = subprocess.run(
                daemon, capture_output=True, text=True, timeout=TIMEOUT_S, env=ENVIRONMENT, check=False
            )
        self.assertEqual(1, done.returncode)
        self.assertIn("NotStarted: cannot listen on 127.0.0.1 port", done.stderr)
        self.assertIn("Address already in use; it is held by pid", log.read_text())

    def test_workers_and_twistd(self) -> None:
        """Options of twistd that are incompatible with workers are refused in one line."""
        file = Path(self.mktemp())
        file.write_text('workers = 2\n[[listener]]\nendpoint = "tcp:4443"\n')
        done = subprocess.run(
            [*TWISTD[:-1], "--uid", "0", "sniproxy", "--config", str(file)],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_S,
            env=ENVIRONMENT,
            check=False,
        )
        self.assertEqual((1, ""), (done.returncode, done.stdout))
        self.assertIn("sniproxy: twistd --uid cannot be used with workers", done.stderr)

    def test_two_signals_at_once(self) -> None:
        """Of two signals in one round of the reactor, none is lost."""
        with socket.create_server(("127.0.0.1", 0)) as backend:
            backend.settimeout(TIMEOUT_S)
            target = f"127.0.0.1:{backend.getsockname()[1]}"
            proxy = TwistdProcess(self, ("-l", "tcp:0:interface=127.0.0.1", "-r", f"a.test={target}", "-a", "-"))
            with socket.create_connection(proxy.address, timeout=TIMEOUT_S) as client:
                client.sendall(hello(name="a.test"))
                upstream, _ = backend.accept()
                with upstream:
                    upstream.recv(1)
                    proxy.process.send_signal(signal.SIGSTOP)
                    proxy.process.send_signal(signal.SIGINT)
                    proxy.process.send_signal(signal.SIGTERM)
                    _, said = proxy.finish(signal.SIGCONT)
        self.assertIn('"result": "shutdown"', said)
        self.assertNotIn("Traceback", said)

    def test_drain_and_second_signal(self) -> None:
        """The first signal starts the drain; the second one ends it."""
        with socket.socket() as backend:
            backend.bind(("127.0.0.1", 0))
            backend.listen()
            backend.settimeout(TIMEOUT_S)
            target = f"127.0.0.1:{backend.getsockname()[1]}"
            proxy = TwistdProcess(self, ("-l", "tcp:0:interface=127.0.0.1", "-r", f"a.test={target}", "-a", "-"))
            with socket.create_connection(proxy.address, timeout=TIMEOUT_S) as client:
                client.sendall(hello(name="a.test"))
                upstream, _ = backend.accept()
                with upstream:
                    upstream.recv(1)  # now it is a tunnel
                    proxy.process.send_signal(signal.SIGTERM)
                    proxy.wait_for("s: 1 tunnel")
                    status, said = proxy.finish(signal.SIGTERM)
        self.assertEqual(-signal.SIGTERM, status)  # twistd ends as the signal would have ended it
        self.assertIn('"result": "shutdown"', said)
        self.assertNotIn("Traceback", said)
