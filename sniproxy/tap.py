"""The ``twistd sniproxy`` program: its options, configuration and signals."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage

from sniproxy.config import Configuration, describe
from sniproxy.config.diagnostics.permissions import root_warning
from sniproxy.config.file import read_text
from sniproxy.config.parser import from_options, parse
from sniproxy.config.schema import ConfigError, shown
from sniproxy.config.workers import CannotStart, for_worker
from sniproxy.logs import twistd
from sniproxy.logs.writer import CannotOpen
from sniproxy.relay.selector import describe_relay
from sniproxy.resolvers import makers
from sniproxy.server import build, sdnotify
from sniproxy.server.capability import check_user
from sniproxy.server.listeners import why_not_listening
from sniproxy.server.reloader import Reloader
from sniproxy.server.signals import ProgramSignals
from sniproxy.server.upgrade.command import ProgramUpgrade, write_pid_file
from sniproxy.server.upgrade.predecessor import NoOffer, Predecessor, read_offer
from sniproxy.server.upgrade.program import CommandLine
from sniproxy.server.workers import orders, post, sockets, stall, takeover, twistdoptions
from sniproxy.server.workers.admin import channel
from sniproxy.server.workers.handover import BadHandover
from sniproxy.server.workers.takeover import Takeover
from sniproxy.service import ProxyService
from sniproxy.util.closedpipe import fail, say
from sniproxy.util.gcpause import gc_paused, unfreeze
from sniproxy.util.reactor import IReactor, global_reactor
from sniproxy.util.text import counted, printable

if TYPE_CHECKING:
    from sniproxy.server.workers.supervisor import Supervisor
    from sniproxy.server.workers.upgrade import WorkersUpgrade

log = Logger()


class Options(usage.Options):
    """The options of ``twistd sniproxy``."""

    synopsis = "[options]"
    longdesc = (
        "Routes TLS connections by the server name in their ClientHello, for Apache Pulsar's PIP-60; TLS stays end to "
        "end. Give a file (--config) or listeners and routes (--listen tcp:4443 --route NAME=HOST:PORT). "
        "TERM and INT drain and stop, a second one stops at once; HUP reloads the file and keeps open "
        "connections; USR1 reopens the logs. With workers = N in the file, N processes serve it, and this "
        "process supervises them."
    )
    optParameters = [
        ["config", "c", None, "The configuration file (TOML)."],
        ["access-log", "a", None, "The access log file, one JSON object per line; '-': standard output."],
    ]
    optFlags = [
        ["check", None, "Check the configuration, print a summary and warnings, and exit: 0 if it is valid, else 1."]
    ]
    # zsh and bash complete file names for these.
    compData = usage.Completions(optActions={"config": usage.CompleteFiles(), "access-log": usage.CompleteFiles()})

    path: str | None = None
    text: str = ""
    proxy: ProxyService | Supervisor
    post: post.SupervisorLink | None
    command: CommandLine
    keeper: sockets.SocketChannel | None
    predecessor: Predecessor | None
    takeover: Takeover | None = None
    pid_file: str = ""
    warnings: list[str]

    def __init__(self) -> None:
        usage.Options.__init__(self)
        self._listen: list[str] = []
        self._routes: list[str] = []

    def opt_listen(self, endpoint: str) -> None:
        """Accept connections on this Twisted server endpoint, as in tcp:4443:interface=127.0.0.1. Repeats."""
        self._listen.append(endpoint)

    def opt_route(self, route: str) -> None:
        """NAME=HOST:PORT[,HOST:PORT...]: send a server name to these targets, round robin. NAME may begin with '*.'
        or be a regular expression after '~'; a target may contain {server_name}, {1} and {port}, and end in a weight,
        as in 'HOST:PORT weight=2'. Repeats."""
        self._routes.append(route)

    opt_l = opt_listen
    opt_r = opt_route

    def opt_help(self) -> NoReturn:
        """Display this help and exit."""
        say(str(self))

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        from sniproxy import __version__

        say(f"sniproxy {__version__}")

    def opt_help_resolvers(self) -> NoReturn:
        """List the resolver types, one per line, and exit."""
        from sniproxy.resolvers.describing import describe_all

        say(describe_all(makers()))

    def opt_help_resolver(self, name: str) -> NoReturn:
        """Print the options of a resolver type, as in --help-resolver dns, and exit."""
        from sniproxy.resolvers.describing import describe_one

        known = {maker.name: maker for maker in makers()}
        if name not in known:
            fail(f"--help-resolver: unknown type {shown(name)}; types: {', '.join(sorted(known))}")
        say(describe_one(known[name]))

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the options. Wrong usage prints one line instead of twistd's whole help."""
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            fail(f"{error}; twistd sniproxy --help lists the options")

    def parseArgs(self, *arguments: str) -> None:
        """Refuse positional arguments."""
        if arguments:
            path = printable(arguments[0])
            fail(f"{path}: unexpected argument; for a configuration file, write --config {path}")

    def postOptions(self) -> None:
        """Read the configuration, so that errors are reported before anything starts."""
        reactor = global_reactor()
        self.post, self.keeper = post.from_environment(), sockets.from_environment()
        try:
            self.takeover = takeover.received()
            self.predecessor = read_offer(self.keeper)
        except (BadHandover, NoOffer) as error:
            fail(str(error))
        if self.parent is not None:
            twistd.select_observer(self.parent, reactor)
            if self.takeover is not None:
                self.takeover.adjust(self.parent)
            twistdoptions.adjust_pid_file(self.parent, sys.argv)
            if not twistdoptions.set_steady_clock(reactor):
                fail(f"--reactor: {type(reactor).__name__} {twistdoptions.NO_STEADY_CLOCK}")
        self.command = CommandLine.current()
        if self.predecessor is not None and self.parent is not None:
            self.pid_file = twistdoptions.take_pid_file(self.parent)
        if self["config"] is not None and self.post is None:
            # twistd may change its working directory before a reload.
            self.path = os.path.abspath(self["config"])
        try:
            with gc_paused(keep=self.parent is not None):  # twistd's options are the parent
                configuration = self.read()
                self.proxy = self._made(configuration, reactor)
        except ConfigError as error:
            if self.predecessor is not None:
                self.predecessor.refuse(str(error))
            fail(str(error))
        twistd.select_output(configuration.log_format, twistdoptions.uses_standard_output(configuration))
        self.warnings = [*self.proxy.warnings, *root_warning(self.parent)] if self.post is None else []
        if self.parent is not None and self.post is None:
            self.warnings += twistdoptions.log_rotation_warnings(self.parent, configuration)
        if self["check"]:
            if self.takeover is not None:
                self.takeover.answer()
            relay = describe_relay(configuration.relay, configuration.relay_threads)
            say(describe.report(configuration, self.warnings, self.path is not None, relay))

    def _made(self, configuration: Configuration, reactor: IReactor) -> ProxyService | Supervisor:
        check_user(configuration, self.parent)
        # A supervisor stays one when it is left with one worker: the workers' processes are its children.
        if self.post is not None or (configuration.workers == 1 and self.takeover is None):
            return ProxyService(configuration, reactor, None, self.keeper, self.predecessor, channel.inherited(reactor))
        # Imported here: a single process does not need it.
        from sniproxy.server.workers.supervisor import Supervisor

        twistdoptions.check_workers(self.parent, configuration, self.predecessor is not None)
        arguments = twistdoptions.worker_arguments(str(self.path), self["access-log"])
        handover = None if self.takeover is None else self.takeover.handover
        return Supervisor(configuration, reactor, lambda: self.text, arguments, handover, self.predecessor)

    def read(self) -> Configuration:
        """Read the configuration; in a worker, its own part of it. @raise ConfigError: it is invalid."""
        configuration = twistdoptions.with_absolute_log(self._read())
        return configuration if self.post is None else for_worker(configuration, self.post.index)

    def again(self) -> Configuration:
        """Read the configuration for a reload. @raise ConfigError: it is invalid, or C{workers} has changed."""
        if self["config"] is None:
            raise ConfigError("the configuration came from the command line; there is no file to reload")
        configuration = self.changed()
        twistdoptions.check_worker_count(configuration, self.proxy.configuration.workers)
        return configuration

    def changed(self) -> Configuration:
        """Read the configuration for an upgrade of workers. @raise ConfigError: it is invalid."""
        unfreeze()
        return self.read()

    def _read(self) -> Configuration:
        path = self["config"]
        if self.post is not None:
            return parse(self.post.text, path, access_log=self["access-log"])
        if path is None:
            if not self._listen:
                raise ConfigError("nothing to do: give --config FILE, or --listen ENDPOINT and --route NAME=HOST:PORT")
            return from_options(self._listen, self._routes, self["access-log"])
        if self._listen or self._routes:
            raise ConfigError("--config cannot be combined with --listen or --route; write them into the file")
        given = None if self.takeover is None else self.takeover.take_text()
        self.text = read_text(path) if given is None else given
        return parse(
            self.text, path, access_log=self["access-log"], use=lambda found: build.try_build(found, global_reactor())
        )


class Command(Service):
    """Runs the proxy as a program: reports start errors in one line and handles signals."""

    def __init__(self, options: Options, reactor: IReactor) -> None:
        self._reactor = reactor
        self._proxy = options.proxy
        self._post = options.post
        self._parent = options.parent
        self._daemon = options.parent is not None and not options.parent["nodaemon"]
        self._stalls = stall.StallWatch(reactor) if isinstance(self._proxy, ProxyService) else None
        self._warnings = options.warnings
        # A worker has none: its supervisor took it out of the environment.
        self._manager = sdnotify.from_environment(os.environ, os.getpid(), reactor, self._proxy.summary)
        self._reloader = Reloader(reactor, options.proxy, options.again, options.path, self._manager)
        self._predecessor = options.predecessor
        self._pid_file = options.pid_file
        self._takeover = options.takeover
        self._keeper = options.keeper
        self._program: ProgramUpgrade | None = None
        self._upgrade: ProgramUpgrade | WorkersUpgrade
        if isinstance(self._proxy, ProxyService):
            self._program = self._upgrade = ProgramUpgrade(
                reactor, self._proxy, options.command, options.parent, self._manager, self._retire, self._end
            )
            if self._post is None:
                self._proxy.view.upgrade = self._upgrade.upgrade
        else:
            self._upgrade = self._proxy.upgrade_by(options.command, options.changed, self._surroundings)
        at_upgrade = self._upgrade.at_signal if self._post is None else None
        self._signals = ProgramSignals(reactor, self._proxy, self._reloader.reload, at_upgrade)

    def privilegedStartService(self) -> None:
        """Listen before twistd drops its privileges, so that ports below 1024 are allowed."""
        try:
            self._proxy.startService()
        except CannotListenError as error:
            self._fail(why_not_listening(error))
        except (CannotOpen, CannotStart, ConfigError) as error:
            self._fail(str(error))
        if self._parent is not None:
            twistdoptions.chown_logs(self._parent, self._proxy.configuration)
        for warning in self._warnings:
            log.warn("warning: {warning}", warning=warning)
        self._signals.prepare()
        self._reloader.start()
        # By then Twisted has installed its own signal handlers, which ours call.
        self._reactor.callWhenRunning(self._run)

    def stopService(self) -> Deferred[None]:
        """Drain and stop."""
        self._reloader.stop()
        if self._stalls is not None:
            self._stalls.stop()
        stopped = self._proxy.stopService()
        if self._manager is not None:
            self._manager.stopping()
            stopped.addBoth(self._manager.stop)
        return stopped

    def _fail(self, message: str) -> NoReturn:
        """Log an error and exit."""
        log.critical("{message}", message=message)
        if self._predecessor is not None:
            self._predecessor.refuse(message)
        if self._daemon:
            # twistd's first process waits for a report, which an exit would not send.
            raise twistdoptions.NotStarted(message)
        fail(message)

    def _run(self) -> None:
        self._signals.start()
        if self._takeover is not None:
            takeover.unblock()
        if self._stalls is not None:
            self._stalls.start()
        if self._post is not None and self._program is not None:  # also if it is never in charge: it may have tunnels
            given = self._post, self._proxy, self._reloader, self._keeper, self._program, self._end
            self._post.receive_orders(self._reactor, orders.Orders(*given).obey)
        if self._predecessor is None:
            self._announce()
        elif self._program is not None and not self._signals.stopping:  # a supervisor may have ended
            self._program.take_over(self._announce)
        elif not isinstance(self._proxy, ProxyService) and self._proxy.first is not None:
            self._proxy.first.take_over(self._announce, self._end)

    def _announce(self) -> None:
        """The proxy accepts connections."""
        write_pid_file(self._pid_file, self._parent)
        log.info(
            "ready: {routes}, {descriptors} descriptors",
            routes=counted(len(self._proxy.configuration.routes), "route"),
            descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )
        if self._manager is not None:
            self._manager.ready()
        if self._post is not None:
            self._post.report(post.READY)
        if self._takeover is not None:
            self._takeover.finish(self._parent)
            if self._takeover.handover.reload:
                self._reloader.reload()

    def _surroundings(self) -> tuple[Mapping[str, str], str]:
        """See L{SupervisorReplacement}."""
        pid_file = "" if self._parent is None else str(self._parent.get("pidfile", ""))
        return {} if self._manager is None else self._manager.environment, pid_file

    def _retire(self, successor: int | None) -> None:
        """Another process has taken over, and has the service manager and the file to watch."""
        self._manager = None
        self._reloader.stop(successor if self._post is None else None)  # a worker's supervisor sees to it

    def _end(self) -> None:
        if not self._signals.stopping:
            self._signals.stopping = True
            self._reactor.stop()


def makeService(options: Options) -> IService:
    """Make the service. twistd calls this."""
    return Command(options, global_reactor())
