"""A demonstration of geo-replication: two real Pulsar clusters and the proxy between them. `make geo-demo`."""

from __future__ import annotations

import argparse
import shlex
import signal
import socket
import sys
from collections.abc import Sequence

import sniproxy
from sniproxy.demo.printer import TourPrinter
from tests.peers import lab, provide, versions
from tests.peers.children import ChildError
from tests.peers.cluster import Cluster, free_ports
from tests.peers.geo import NAMESPACE, Door, Geo, Traffic, ways
from tests.peers.needs import apt_line, missing
from tests.peers.proxy import Connection, Proxy

#: The flag of `pulsar-admin clusters create` for each field of ClusterData that we set.
FLAGS = {
    "serviceUrlTls": "--url-secure",
    "brokerServiceUrlTls": "--broker-url-secure",
    "proxyServiceUrl": "--proxy-url",
    "proxyProtocol": "--proxy-protocol",
    "brokerClientTlsEnabled": "--tls-enable",
    "brokerClientTrustCertsFilePath": "--tls-trust-certs-filepath",
}


class Demo:
    """Two clusters, `geo`, one proxy in front of both, and a client of each; `page` shows their messages."""

    def __init__(self, page: TourPrinter, geo: Geo) -> None:
        self._page = page
        self._geo = geo
        self._clients = geo.lab.proxy(
            {name: targets for cluster in geo.clusters for name, targets in lab.routes(cluster).items()}
        )
        self.proxy = self._proxy()
        self._topic = f"persistent://{NAMESPACE}/demo"
        self._traffic: Traffic | None = None

    def _proxy(self) -> Proxy:
        return self._geo.proxy(*self._geo.clusters)

    def show(self) -> None:
        """Run the demonstration. Raises ChildError."""
        page, geo = self._page, self._geo
        page.heading("1. Each cluster is told where the other is; PIP-60's part is --proxy-url and --proxy-protocol")
        for here, there in (geo.clusters, geo.clusters[::-1]):
            page.line(here.name, command(there, geo.cluster_data(there)))

        page.heading(f"2. Messages cross both ways, in {self._topic}")
        self._traffic = Traffic(geo.lab.material.trust, [self._topic], ways(geo, self._clients))
        page.line("clients", "one in each cluster: sends there, and reads what comes from the other")
        self._cross("there is no plain port open between us")

        page.heading("3. The proxy is stopped and started again")
        self.proxy.stop()
        page.line("proxy", "has stopped. Its access log says what the brokers asked it for:")
        for line in self.proxy.connections():
            page.line("", asked(line))
        self.proxy = self._proxy()
        page.line("proxy", "is back; the brokers find that out by themselves")
        self._cross("the proxy was away")

        page.heading("4. Many messages, in both clusters at once")
        self._traffic.go()
        self._traffic.wait_until_crossing(500)
        report = self._traffic.finish()
        for sender, cluster in zip("ab", geo.clusters, strict=True):
            key = f"{sender} {self._topic}"
            page.line(
                cluster.name, f"sent {report['sent'][key]}; {report['crossed'][key]} arrived in the other cluster"
            )
        text = "missing {missing}, before an earlier one of its key {misordered}, twice {duplicates}"
        page.line("in all", text.format(**report))
        if report["missing"] or report["misordered"]:
            raise ChildError("messages were lost, or came in the wrong order")

    def _cross(self, text: str) -> None:
        assert self._traffic is not None
        east, west = self._geo.clusters
        for sender, here, there in (("a", east, west), ("b", west, east)):
            said = f"{here.name} to {there.name}: {text}"
            self._page.line(here.name, "a client sends a message")
            self._traffic.say(sender, said)
            self._page.line(there.name, f'a client reads "{said}"')

    def what_next(self) -> None:
        """What to try while it serves."""
        page, geo = self._page, self._geo
        page.heading("Done. All of it runs until Ctrl-C. Try:")
        admin = geo.doors["west"].admin
        stats = f"https://{geo.west.service_name}:{admin}/admin/v2/persistent/{NAMESPACE}/{self._topic.rpartition('/')[2]}/stats"
        curl = ["curl", "-sL", "--cacert", str(geo.lab.material.trust), "--connect-to", f"::127.0.0.1:{admin}", stats]
        page.text(f"  cat {self.proxy.config}")
        page.text(f"  tail -f {self.proxy.access_log}")
        page.text(f"  {shlex.join(curl)}    # the admin API through the proxy")
        page.text(
            f"  curl -s http://127.0.0.1:{geo.east.brokers[0].web}/admin/v2/clusters/west    # what east knows of west"
        )
        page.text()

    def stop(self) -> None:
        """Stop the proxies and the clients; the lab stops the clusters."""
        if self._traffic is not None:
            self._traffic.stop()
        self._clients.stop()
        self.proxy.stop()


def command(cluster: Cluster, data: dict[str, object]) -> str:
    """The `pulsar-admin` command, in lines, that configures this cluster at another one."""
    words = []
    for name, value in data.items():
        words.append(FLAGS[name] if value is True else f"{FLAGS[name]} {shlex.quote(str(value))}")
    return " \\\n                  ".join([f"pulsar-admin clusters create {cluster.name}", *words])


def asked(line: Connection) -> str:
    """A readable line for a line of the access log."""
    sizes = f"{line['bytes_up']} bytes up, {line['bytes_down']} down"
    return f"{line['listener']}: SNI = {line['server_name']}, to {line['target']}, {line['result']}, {sizes}"


def busy(port: int) -> bool:
    """Whether a process listens on the port of 127.0.0.1 (0: never). Checked before the brokers start."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError:
        return True
    return False


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, show the demonstration, and serve. Returns the exit status, 0 for success."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.peers.geo_demo",
        description="Two real Pulsar clusters that replicate to each other through the proxy (PIP-60).",
    )
    parser.add_argument("--port", type=int, default=4443, help="the proxy's port on 127.0.0.1; 0: any free one")
    parser.add_argument("--once", action="store_true", help="end after the tour; status 0 when all of it worked")
    options = parser.parse_args(arguments)
    page = TourPrinter(sys.stdout)
    absent = missing(["java", "setpriv", "tail"])
    if absent:
        print(f"sniproxy: no {', '.join(absent)} here: {apt_line(absent)}", file=sys.stderr)
        return 1
    if not all(provide.part(name).path.is_dir() for name in provide.needed(versions.current())):
        print("sniproxy: the real Pulsar is not provided: make peers", file=sys.stderr)
        return 1
    if busy(options.port):
        cure = f"choose another: make geo-demo PORT={options.port + 1 if options.port < 65535 else 4443}"
        print(f"sniproxy: 127.0.0.1:{options.port} is in use; {cure}", file=sys.stderr)
        return 1
    page.heading(f"sniproxy {sniproxy.__version__}: geo-replication through the proxy, with real Pulsar brokers")
    page.line("starting", "two clusters in three JVMs: half a minute")
    free, admin = free_ports(2)
    demo = None
    try:
        geo = Geo(lab.shared(), Door(options.port or free, admin))
        for cluster in geo.clusters:
            names = ", ".join(broker.name for broker in cluster.brokers)
            page.line(cluster.name, f"{cluster.service_name}, with {names}; no DNS knows the names")
        demo = Demo(page, geo)
        door = geo.doors["east"]
        page.line("proxy", f"on 127.0.0.1:{door.port}, and on port {door.admin} for HTTPS; decrypts nothing")
        demo.show()
        if options.once:
            page.heading("Done. Without ONCE=1, all of it keeps running.")
        else:
            demo.what_next()
            signal.pause()
    except KeyboardInterrupt:
        page.text()
    except ChildError as failure:
        print(f"sniproxy: the demo failed: {failure}", file=sys.stderr)
        return 1
    finally:
        if demo is not None:
            demo.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
