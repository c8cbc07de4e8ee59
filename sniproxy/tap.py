"""The ``twistd sniproxy`` program: its options, configuration and signals."""

from __future__ import annotations

import os
import resource
import signal
import sys
from collections.abc import Sequence
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from msgspec.structs import replace
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger
from twisted.python import usage

from sniproxy.config import Configuration, describe
from sniproxy.config.diagnostics.permissions import root_warning
from sniproxy.config.parser import from_options, parse
from sniproxy.config.schema import ConfigError, shown
from sniproxy.config.workers import CannotStart, for_worker
from sniproxy.logs import twistd
from sniproxy.logs.writer import STANDARD_OUTPUT, CannotOpen
from sniproxy.relay.selector import describe_relay
from sniproxy.resolvers import makers
from sniproxy.server import build
from sniproxy.server.capability import check_user
from sniproxy.server.listeners import why_not_listening
from sniproxy.server.reloader import Reloader
from sniproxy.server.workers import post, sockets, stall, twistdoptions
from sniproxy.service import ProxyService
from sniproxy.util.closedpipe import exit_on_broken_pipe
from sniproxy.util.gcpause import gc_paused, unfreeze
from sniproxy.util.reactor import IReactor, global_reactor
from sniproxy.util.text import counted, printable

if TYPE_CHECKING:
    from sniproxy.server.workers.supervisor import Supervisor

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
        _say(str(self))

    def opt_version(self) -> NoReturn:
        """Print the version and exit."""
        from sniproxy import __version__

        _say(f"sniproxy {__version__}")

    def opt_help_resolvers(self) -> NoReturn:
        """List the resolver types, one per line, and exit."""
        from sniproxy.resolvers.describing import describe_all

        _say(describe_all(makers()))

    def opt_help_resolver(self, name: str) -> NoReturn:
        """Print the options of a resolver type, as in --help-resolver dns, and exit."""
        from sniproxy.resolvers.describing import describe_one

        known = {maker.name: maker for maker in makers()}
        if name not in known:
            _fail(f"--help-resolver: unknown type {shown(name)}; types: {', '.join(sorted(known))}")
        _say(describe_one(known[name]))

    def parseOptions(self, options: Sequence[str] | None = None) -> None:
        """Read the options. Wrong usage prints one line instead of twistd's whole help."""
        try:
            usage.Options.parseOptions(self, options)
        except usage.UsageError as error:
            _fail(f"{error}; twistd sniproxy --help lists the options")

    def parseArgs(self, *arguments: str) -> None:
        """Refuse positional arguments."""
        if arguments:
            path = printable(arguments[0])
            _fail(f"{path}: unexpected argument; for a configuration file, write --config {path}")

    def postOptions(self) -> None:
        """Read the configuration, so that errors are reported before anything starts."""
        reactor = global_reactor()
        if self.parent is not None:
            twistd.select_observer(self.parent, reactor)
            twistdoptions.adjust_pid_file(self.parent, sys.argv)
            if not twistdoptions.set_steady_clock(reactor):
                _fail(f"--reactor: {type(reactor).__name__} {twistdoptions.NO_STEADY_CLOCK}")
        self.post = post.from_environment()
        if self["config"] is not None and self.post is None:
            # twistd may change its working directory before a reload.
            self.path = os.path.abspath(self["config"])
        try:
            with gc_paused(keep=self.parent is not None):  # twistd's options are the parent
                configuration = self.read()
                self.proxy = self._made(configuration, reactor)
        except ConfigError as error:
            _fail(str(error))
        self.warnings = [*self.proxy.warnings, *root_warning(self.parent)] if self.post is None else []
        if self.parent is not None and self.post is None:
            self.warnings += twistdoptions.log_rotation_warnings(self.parent, configuration)
        if self["check"]:
            relay = describe_relay(configuration.relay, configuration.relay_threads)
            _say(describe.report(configuration, self.warnings, self.path is not None, relay))

    def _made(self, configuration: Configuration, reactor: IReactor) -> ProxyService | Supervisor:
        check_user(configuration, self.parent)
        if configuration.workers == 1 or self.post is not None:
            return ProxyService(configuration, reactor, keeper=sockets.from_environment())
        # Imported here: a single process does not need it.
        from sniproxy.server.workers.supervisor import Supervisor

        twistdoptions.check_workers(self.parent)
        arguments = twistdoptions.worker_arguments(str(self.path), self["access-log"])
        return Supervisor(configuration, reactor, lambda: self.text, arguments)

    def read(self) -> Configuration:
        """Read the configuration; in a worker, its own part of it. @raise ConfigError: it is invalid."""
        configuration = _with_absolute_log(self._read())
        return configuration if self.post is None else for_worker(configuration, self.post.index)

    def again(self) -> Configuration:
        """Read the configuration for a reload. @raise ConfigError: it is invalid, or C{workers} has changed."""
        if self["config"] is None:
            raise ConfigError("the configuration came from the command line; there is no file to reload")
        unfreeze()
        configuration = self.read()
        before = self.proxy.configuration.workers
        if configuration.workers != before:
            cure = f"{before} at start; restart to change it"
            raise ConfigError(f"{configuration.filename}: workers = {configuration.workers}: {cure}")
        return configuration

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
        try:
            with open(path, encoding="utf-8-sig") as file:
                self.text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise ConfigError(f"{path}: cannot be read: {why}") from error
        return parse(
            self.text, path, access_log=self["access-log"], use=lambda found: build.try_build(found, global_reactor())
        )


def _with_absolute_log(configuration: Configuration) -> Configuration:
    """With an absolute access log path: twistd may change its working directory before the log is opened."""
    path = configuration.access_log
    if path is None or path == STANDARD_OUTPUT:
        return configuration
    return replace(configuration, access_log=os.path.abspath(path))


class NotStarted(Exception):
    """The program could not start; the message says why."""


class Command(Service):
    """Runs the proxy as a program: reports start errors in one line and handles signals."""

    def __init__(self, options: Options, reactor: IReactor) -> None:
        self._reactor = reactor
        self._proxy = options.proxy
        self._post = options.post
        self._parent = options.parent
        self._daemon = options.parent is not None and not options.parent["nodaemon"]
        self._stalls: stall.StallWatch | None = None
        if isinstance(self._proxy, ProxyService):
            self._stalls = stall.StallWatch(reactor)
        self._warnings = options.warnings
        self._reloader = Reloader(reactor, options.proxy, options.again, options.path)
        self._previous: dict[int, Any] = {}
        self._stopping = False

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
        # The default action of HUP would end the process.
        signal.signal(signal.SIGHUP, self._reload)
        self._reloader.start()
        # By then Twisted has installed its own signal handlers, which ours call.
        self._reactor.callWhenRunning(self._run)

    def stopService(self) -> Deferred[None]:
        """Drain and stop."""
        self._reloader.stop()
        if self._stalls is not None:
            self._stalls.stop()
        return self._proxy.stopService()

    def _fail(self, message: str) -> NoReturn:
        """Log an error and exit."""
        log.critical("{message}", message=message)
        if self._daemon:
            # twistd's first process waits for a report, which an exit would not send.
            raise NotStarted(message)
        _fail(message)

    def _run(self) -> None:
        for number, handler in (
            (signal.SIGTERM, self._stop),
            (signal.SIGINT, self._stop),
            (signal.SIGUSR1, self._reopen),
        ):
            self._previous[number] = signal.getsignal(number)  # before ours: the signal may arrive at once
            signal.signal(number, handler)
        if self._stalls is not None:
            self._stalls.start()
        log.info(
            "ready: {routes}, {descriptors} descriptors",
            routes=counted(len(self._proxy.configuration.routes), "route"),
            descriptors=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        )
        if self._post is not None:
            self._post.receive_orders(self._reactor, self._obey)
            self._post.report(post.READY)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        """The first signal drains, the second stops at once. In a worker the supervisor decides that."""
        if self._stopping:
            if self._post is None:
                self._reactor.callFromThread(self._proxy.end_now)
        else:
            self._stopping = True
            self._pass_on(number, frame)

    def _reload(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._reloader.reload)

    def _reopen(self, number: int, frame: FrameType | None) -> None:
        self._reactor.callFromThread(self._proxy.reopen_logs)
        self._pass_on(number, frame)  # twistd rotates its log on this signal

    def _obey(self, what: str, text: str) -> None:
        """Obey an order of the supervisor."""
        assert self._post is not None
        if what == post.HEARTBEAT:
            self._post.report(post.HEARTBEAT)
        elif what == post.RELOAD:
            self._post.text, report = text, self._post.report
            self._reloader.reload().addCallback(lambda why: report(post.RELOADED if why is None else post.REFUSED))
        elif what == post.REFUSED:
            self._proxy.reload(partial(_raise, text))
        elif what == post.REOPEN:
            self._proxy.reopen_logs()
        else:
            if what == post.END:
                self._proxy.end_now()
            if not self._stopping:
                self._stopping = True
                self._reactor.stop()

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        previous = self._previous.get(number)
        if callable(previous):
            previous(number, frame)


def makeService(options: Options) -> IService:
    """Make the service. twistd calls this."""
    return Command(options, global_reactor())


def _raise(why: str) -> NoReturn:
    raise ConfigError(why)


def _say(text: str) -> NoReturn:
    with exit_on_broken_pipe(sys.stdout):
        print(text)
    sys.exit(0)


def _fail(message: str) -> NoReturn:
    with exit_on_broken_pipe(*(() if sys.__stderr__ is None else (sys.__stderr__,))):
        for line in message.split("\n"):
            print(f"sniproxy: {line}", file=sys.__stderr__)
    sys.exit(1)
