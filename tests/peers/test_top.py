"""sniproxyctl top in a real terminal (tmux), and a real proxy with tunnels."""

from __future__ import annotations

import signal
import socket
import socketserver
import threading
from pathlib import Path

from twisted.trial.unittest import TestCase

from tests.peers.cluster import free_ports
from tests.peers.needs import require
from tests.peers.terminal import Terminal
from tests.support.hellos import hello
from tests.support.sockets import TIMEOUT_S, read_exactly
from tests.support.twistdprocess import TwistdProcess

TUNNELS = 40


class Broker:
    """A server that answers the first bytes of a connection. Health checks send none. @ivar address: C{host:port}."""

    def __init__(self, case: TestCase) -> None:
        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                if self.request.recv(65536):
                    self.request.sendall(b"x" * 1000)
                    while self.request.recv(65536):
                        pass

        server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
        server.daemon_threads, server.request_queue_size = True, 64
        server.server_bind()
        server.server_activate()
        self.address = "{}:{}".format(*server.server_address)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        case.addCleanup(server.server_close)
        case.addCleanup(server.shutdown)


class TopTests(TestCase):
    """What a person sees on a screen of 80 by 24."""

    def setUp(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.broker = Broker(self)
        with socket.create_server(("127.0.0.1", 0)) as gone:
            self.gone = "{}:{}".format(*gone.getsockname())
        # The path of a unix socket is at most 107 bytes long, and trial's folders are deep.
        self.admin = Path(f"/tmp/sniproxy-test-{id(self)}.sock")
        self.addCleanup(lambda: self.admin.unlink(missing_ok=True))
        self.file = folder / "sniproxy.toml"
        self.file.write_text(
            '[[listener]]\nname = "public"\nendpoint = "tcp:0:interface=127.0.0.1"\n'
            f'[[route]]\nserver_name = "broker-1.test"\ntarget = "{self.broker.address}"\n'
            f'[[route]]\nserver_name = "broker-2.test"\ntarget = "{self.gone}"\n'
            f'[admin]\nendpoint = "unix:{self.admin}"\n'
            '[timeouts]\ndrain = 0\n[health]\ncheck = "tcp"\ninterval = 0.2\nfall = 1\n'
        )

    def start(self) -> TwistdProcess:
        return TwistdProcess(self, ["--config", str(self.file)])

    def open(self, proxy: TwistdProcess, name: str) -> socket.socket:
        client = socket.create_connection(proxy.address, timeout=TIMEOUT_S)
        self.addCleanup(client.close)
        client.sendall(hello(name=name))
        return client

    def fill(self, proxy: TwistdProcess) -> list[socket.socket]:
        """Open tunnels, through each of which the broker has sent something."""
        clients = []
        for _ in range(TUNNELS):
            clients.append(self.open(proxy, "broker-1.test"))
            read_exactly(clients[-1], 1000)
        return clients

    def top(self, **environment: str) -> Terminal:
        # The shell of the command would end at Ctrl-C, too.
        command = f"trap : INT; sniproxyctl top unix:{self.admin} --interval 0.2; echo status $?; exec cat"
        return Terminal(self, "sh", "-c", command, environment=environment)

    def test_views(self) -> None:
        """Brokers, routes, tunnels and refusals of the proxy; filter, order, help, another size; and the end."""
        proxy = self.start()
        clients = self.fill(proxy)
        proxy.refused()
        terminal = self.top()
        screen = terminal.wait_for(rf"^{self.broker.address} +up .* {TUNNELS} ")
        screen = terminal.wait_for("1 down")
        lines = screen.split("\n")
        self.assertEqual(24, len(lines))
        self.assertTrue(all(len(line) <= 80 for line in lines))
        self.assertRegex(lines[0], r"^sniproxy \S+ ready, up \d+")
        self.assertRegex(lines[1], rf"^{TUNNELS} tunnels  \S+ new/s  \S+ refused/s  1 down")
        self.assertRegex(lines[4], rf"^{self.gone} +down ")
        self.assertRegex(lines[21], rf"^{self.gone} down, .*[Rr]efused")
        red = [line for line in terminal.screen(colours=True) if "\x1b[31m" in line or ";31m" in line]
        self.assertTrue(any(self.gone in line for line in red), red)

        terminal.type("2")
        terminal.wait_for(r"^broker-2\.test: ")
        self.assertRegex(terminal.screen()[4], r"^broker-2\.test .* 0 ")

        terminal.type("3")
        terminal.wait_for(rf"5 warnings +{TUNNELS}$")
        terminal.press("End")
        first = "{}:{}".format(*clients[0].getsockname())
        terminal.wait_for(rf"{first} on listener public, route broker-1\.test")
        terminal.type(f"/{first}")
        terminal.wait_for(rf"5 warnings +1 /{first}_$")
        terminal.press("Enter", "Escape")
        terminal.wait_for(rf"5 warnings +{TUNNELS}$")
        terminal.type("r")
        terminal.wait_for("AGEv")
        terminal.wait_for(rf"^ *\d+s {first}")

        terminal.type("4")
        terminal.wait_for(r"1 no_route +nobody\.test")
        terminal.type("?")
        terminal.wait_for("^q, Ctrl-C +quit$")
        terminal.type("x1")
        terminal.resize(50, 12)
        terminal.wait_for(rf"^{self.gone} .*\n(.*\n)+q quit")
        self.assertTrue(all(len(line) <= 50 for line in terminal.screen()))
        terminal.type("q")
        self.assertEqual("status 0", terminal.wait_for("^status 0$").strip())

    def test_drain(self) -> None:
        """d and y drain the selected broker, whose tunnels end, and d and y again cancel that; n changes nothing."""
        proxy = self.start()
        client = self.open(proxy, "broker-1.test")
        read_exactly(client, 1000)
        terminal = self.top()
        terminal.wait_for(rf"^{self.broker.address} +up +\d+s +1 ")
        terminal.wait_for(rf"^{self.gone} +down ")
        terminal.press("End")
        terminal.wait_for(rf"^{self.broker.address} up, for")
        terminal.type("d")
        terminal.wait_for(rf"^drain {self.broker.address} and close 1 tunnel, 10/s\? y: yes, any other key: no")
        terminal.type("n")
        terminal.wait_for("^q quit")
        terminal.type("d")
        terminal.wait_for("y: yes, any other key: no")
        terminal.type("y")
        terminal.wait_for(rf"^draining {self.broker.address}; d cancels it")
        terminal.wait_for(rf"^{self.broker.address} +draining +\d+s +0 ")
        self.assertEqual(b"", client.recv(1))
        terminal.type("d")
        terminal.wait_for(rf"^allow new connections to {self.broker.address} again\?")
        terminal.type("y")
        terminal.wait_for(rf"^{self.broker.address} +up ")
        terminal.wait_for("drain cancelled, new connections allowed")
        self.open(proxy, "broker-1.test")
        terminal.wait_for(rf"^{self.broker.address} +up +\d+s +1 ")

    def test_unchangeable(self) -> None:
        """Over TCP and without a token, d says what is needed."""
        (port,) = free_ports(1)
        self.file.write_text(self.file.read_text().replace(f"unix:{self.admin}", f"tcp:{port}:interface=127.0.0.1"))
        self.start()
        command = f"sniproxyctl top 127.0.0.1:{port} --interval 0.2; exec cat"
        terminal = Terminal(self, "sh", "-c", command)
        terminal.wait_for(rf"^{self.broker.address} +up ")
        terminal.type("d")
        terminal.wait_for("^changes need --token-file, or an endpoint on a unix socket")

    def test_reconnects(self) -> None:
        """If the proxy goes away the first line says so, and the values stay; if it is back, it is shown again."""
        proxy = self.start()
        terminal = self.top()
        terminal.wait_for(rf"^{self.broker.address} +up ")
        proxy.finish(signal.SIGTERM)
        screen = terminal.wait_for(r"^no answer for \d+s, retrying: ")
        self.assertIn(self.broker.address, screen)
        self.start()
        terminal.wait_for(r"^sniproxy \S+ ready, up \d+s")
        terminal.press("C-c")
        terminal.wait_for("^status 130$")

    def test_no_colour(self) -> None:
        """With NO_COLOR no line has a colour."""
        self.start()
        terminal = self.top(NO_COLOR="1")
        terminal.wait_for(rf"^{self.gone} +down ")
        self.assertNotRegex("".join(terminal.screen(colours=True)), r"\x1b\[[0-9;]*3[0-7]m")


class CompletionTests(TestCase):
    """Shell completion as a person sees it."""

    def complete(self, shell: str, *command: str, begin: str) -> None:
        terminal = Terminal(self, *command, width=100)
        (terminal.folder / "proxy.toml").touch()
        terminal.type(begin)
        terminal.press("Enter")
        terminal.wait_for("^begun")
        terminal.type("sniproxyctl sta\t")
        terminal.wait_for("sniproxyctl status")
        terminal.type("--wat\t")  # tcsh offers the options of all commands
        terminal.wait_for("sniproxyctl status --watch|^--watch +-- ")  # zsh lists what may follow, with its help
        terminal.press("C-u")
        terminal.type("sniproxyctl explain a.test --config pro\t")
        terminal.wait_for("--config proxy.toml")

    def test_bash(self) -> None:
        """bash completes commands, options and files."""
        script = 'eval "$(sniproxyctl --print-completion bash)"; clear; echo begun'
        self.complete("bash", "bash", "--norc", "--noprofile", begin=script)

    def test_zsh(self) -> None:
        """zsh does, from a file in its fpath."""
        script = (
            "sniproxyctl --print-completion zsh >_sniproxyctl; fpath=($PWD $fpath); autoload -U compinit; "
            "compinit -D -u; clear; echo begun"
        )
        require("zsh")
        self.complete("zsh", "zsh", "-f", begin=script)

    def test_tcsh(self) -> None:
        """tcsh does."""
        require("tcsh")
        script = "sniproxyctl --print-completion tcsh >script; source script; clear; echo begun"
        self.complete("tcsh", "tcsh", "-f", begin=script)
