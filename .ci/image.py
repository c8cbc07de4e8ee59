"""Builds the image of the Containerfile, and runs it with the configuration of examples/kubernetes/base.

No registry of images is needed: mmdebstrap makes the base image of Debian's packages, buildah builds, runc runs. The
container is that of the Deployment: another user than root, a read-only root, no capabilities, and a ConfigMap as
kubelet publishes it. Its network is a namespace with the addresses of a cluster, in which the embedded cluster listens.
Needs root; packages: buildah, iproute2, mmdebstrap, runc.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from twisted.internet import task
from twisted.internet.defer import Deferred
from twisted.internet.utils import getProcessOutputAndValue
from twisted.protocols.portforward import ProxyFactory

from sniproxy.testing.pulsar import PulsarCluster
from sniproxy.util.reactor import IReactor

ROOT = Path(__file__).resolve().parent.parent
SUITE = "trixie"
RECIPE = ROOT / "examples" / "kubernetes" / "base"
SERVICE = "pulsar.example.com"
SERVICE_ADDRESS = "10.8.0.7"
PODS = {f"pulsar-broker-{number}": f"10.4.0.{number + 10}" for number in range(2)}
TOPICS = [f"topic-{number}" for number in range(8)]
PATIENCE_S = 60.0
USER = 65532


def build(work: Path) -> None:
    """Build the image, and leave its root in work/root and its settings in work/image.json."""
    buildah = ["buildah", "--root", f"{work}/store", "--runroot", f"{work}/run", "--storage-driver", "overlay"]

    def run(*words: str) -> str:
        return subprocess.run(
            [*buildah, *words], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
        ).stdout.strip()

    try:
        base = f"{work}/base.tar"
        bootstrap = ["mmdebstrap", "--quiet", "--variant=minbase", "--include=ca-certificates", SUITE, base, mirror()]
        subprocess.run(bootstrap, check=True)
        empty = run("from", "scratch")
        run("add", "-q", empty, base, "/")
        run("commit", "-q", empty, f"docker.io/library/debian:{SUITE}-slim")
        # The authorities of this machine, for where a proxy of its network ends TLS.
        trust = "/etc/ssl/certs:/etc/ssl/certs:ro"
        run("build", "--pull-never", "--format", "docker", "--isolation", "chroot", "-v", trust, "-t", "sniproxy",
            "-f", "Containerfile", ".")  # fmt: skip
        print(run("images", "--format", "{{.Name}} {{.Size}}", "localhost/sniproxy"), flush=True)
        settings = json.loads(run("inspect", "--type", "image", "localhost/sniproxy"))["Docker"]["config"]
        (work / "image.json").write_text(json.dumps(settings))
        root = run("mount", run("from", "--pull-never", "localhost/sniproxy"))
        # Outside of folders that only root may enter.
        subprocess.run(["cp", "-a", root, work / "root"], check=True)
    finally:
        subprocess.run([*buildah, "umount", "--all"], stdout=subprocess.DEVNULL)
        shutil.rmtree(work / "store", ignore_errors=True)


def mirror() -> str:
    """The mirror of Debian that this machine uses."""
    said = subprocess.run(["apt-cache", "policy"], capture_output=True, text=True, check=True).stdout
    return re.findall(r"^ +\d+ (http\S+/debian) ", said, re.MULTILINE)[0]


class Container:
    """The container. @ivar log: a file with its standard error. @ivar access: one with its standard output."""

    def __init__(self, work: Path) -> None:
        self.work = work
        self.settings = json.loads((work / "image.json").read_text())
        self.log, self.access = work / "stderr", work / "stdout"
        self.process: subprocess.Popen[bytes] | None = None
        self._number = 0

    def start(self) -> None:
        """Start it, with empty logs."""
        self._number += 1
        self.name = f"sniproxy-image-{os.getpid()}-{self._number}"
        (self.work / "config.json").write_text(json.dumps(self._specification()))
        with self.log.open("wb") as log, self.access.open("wb") as access:
            command = [*self._runc(), "run", "--bundle", str(self.work), self.name]
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=access, stderr=log)

    def execute(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command in it."""
        return subprocess.run([*self._runc(), "exec", self.name, *words], capture_output=True, text=True)

    def wait_until_healthy(self) -> None:
        """Wait for the health check of the image."""
        kind, *words = self.settings["Healthcheck"]["Test"]
        assert kind == "CMD"
        deadline = time.monotonic() + PATIENCE_S
        while self.execute(*words).returncode:
            assert self.process is not None and self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.2)

    def stop(self, signal: str) -> int:
        """Send a signal, and wait for its end. @return: the exit status."""
        assert self.process is not None
        subprocess.run([*self._runc(), "kill", self.name, signal], check=True)
        return self.process.wait(PATIENCE_S)

    def remove(self) -> None:
        """End it in any case."""
        subprocess.run([*self._runc(), "delete", "--force", self.name], capture_output=True)

    def _runc(self) -> list[str]:
        return ["runc", "--root", str(self.work / "runc")]

    def _specification(self) -> dict[str, object]:
        user, group = self.settings["User"].split(":")
        none: list[str] = []
        sets = ("bounding", "effective", "permitted", "inheritable", "ambient")
        return {
            "ociVersion": "1.0.0",
            "process": {
                "user": {"uid": int(user), "gid": int(group)},
                "args": [*self.settings["Entrypoint"], *self.settings["Cmd"]],
                "env": self.settings["Env"],
                "cwd": "/",
                "capabilities": dict.fromkeys(sets, none),
                "noNewPrivileges": True,
            },
            "root": {"path": "root", "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                bind(self.work / "volume", "/etc/sniproxy"),
                bind(self.work / "hosts", "/etc/hosts"),
            ],
            # Of the network, that of this process.
            "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
        }


def bind(source: Path, destination: str) -> dict[str, object]:
    return {"destination": destination, "type": "bind", "source": str(source), "options": ["rbind", "ro"]}


def publish(volume: Path, version: int, text: str) -> None:
    """Publish a version of the ConfigMap, as kubelet does."""
    folder = volume / f"..2026_11_29_20_00_00.{version}"
    folder.mkdir(parents=True)
    volume.chmod(0o777)
    (folder / "sniproxy.toml").write_text(text)
    (volume / "..data_tmp").symlink_to(folder.name)
    (volume / "..data_tmp").rename(volume / "..data")
    if not (volume / "sniproxy.toml").is_symlink():
        (volume / "sniproxy.toml").symlink_to("..data/sniproxy.toml")
    for old in volume.glob("..2026*"):
        if old != folder:
            shutil.rmtree(old)


async def lookup(topic: str, trust: Path, service: str = SERVICE) -> tuple[int, str]:
    """Look a topic up and connect to its owner, as a client does. @return: the exit status and the output."""
    words = [
        "lookup", topic, "--service-url", f"pulsar+ssl://{service}:6651", "--trust", str(trust),
        "--proxy-service-url", "pulsar+ssl://127.0.0.1:4443", "--proxy-protocol", "SNI",
    ]  # fmt: skip
    program = "import sys; from sniproxy.ctl import main; sys.exit(main())"
    out, error, status = await getProcessOutputAndValue(sys.executable, ["-P", "-c", program, *words], env=os.environ)
    return status, (out + error).decode()


async def both_phases(trust: Path) -> None:
    """Look topics up through the container, and connect to their owners."""
    owners = set()
    for topic in TOPICS:
        status, said = await lookup(topic, trust)
        assert status == 0, said
        (owner,) = re.findall(r"^  connect +SNI (\S+), .* connected", said, re.MULTILINE)
        owners.add(owner)
    assert owners == {f"{pod}.{SERVICE}" for pod in PODS}, owners
    status, said = await lookup(TOPICS[0], trust, f"pulsar-zookeeper-0.{SERVICE}")
    assert status != 0 and "unrecognized" in said, said


async def wait_for(path: Path, text: str, reactor: IReactor) -> None:
    """Wait until a file has a text."""
    deadline = time.monotonic() + PATIENCE_S
    while text not in path.read_text():
        assert time.monotonic() < deadline, path.read_text()
        await pause(reactor)


def pause(reactor: IReactor) -> Deferred[None]:
    return task.deferLater(reactor, 0.1, lambda: None)


def check_process(container: Container) -> None:
    """Assert that process 1 has no privileges, and can write nothing."""
    status = dict(re.findall(r"^(\w+):\s*(.*)$", container.execute("cat", "/proc/1/status").stdout, re.MULTILINE))
    assert status["Uid"].split() == [str(USER)] * 4, status["Uid"]
    assert {int(status[f"Cap{kind}"], 16) for kind in ("Prm", "Eff", "Bnd", "Inh", "Amb")} == {0}
    assert status["NoNewPrivs"] == "1"
    for path in ("/file", "/tmp/file", "/opt/sniproxy/file", "/etc/sniproxy/file"):
        assert "Read-only file system" in container.execute("touch", path).stderr, path


async def run(reactor: IReactor, work: Path) -> None:
    """Run the image. @param work: the folder with its root."""
    for address in (SERVICE_ADDRESS, *PODS.values()):
        assert ipaddress.ip_address(address).is_private
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    cluster = PulsarCluster(
        [f"{pod}.{SERVICE}" for pod in PODS], reactor=reactor, tls=True, behind_proxy=True, service_name=SERVICE
    )
    cluster.start()
    first = cluster.addresses[f"pulsar-broker-0.{SERVICE}"]
    places = {SERVICE_ADDRESS: first, **{PODS[name.partition(".")[0]]: at for name, at in cluster.addresses.items()}}
    for address, place in places.items():
        reactor.listenTCP(6652, ProxyFactory(*place), interface=address)
    names = {f"{pod}.pulsar-broker-headless.pulsar.svc.cluster.local": address for pod, address in PODS.items()}
    names["pulsar-broker-external.pulsar.svc.cluster.local"] = SERVICE_ADDRESS
    (work / "hosts").write_text("".join(f"{address} {name}\n" for name, address in names.items()))
    trust = work / "ca.pem"
    trust.write_bytes(cluster.authority_pem)
    text = (RECIPE / "sniproxy.toml").read_text()
    publish(work / "volume", 1, text)
    container = Container(work)
    try:
        container.start()
        container.wait_until_healthy()
        check_process(container)
        await both_phases(trust)
        print("both phases through the image, as user 65532 with a read-only root and no capabilities", flush=True)
        publish(work / "volume", 2, text.replace("drain = 60", "drain = 1"))
        await wait_for(container.log, "reloaded", reactor)
        print("the ConfigMap's next version was reloaded", flush=True)
        assert container.stop("KILL") == 128 + 9
        container.start()
        container.wait_until_healthy()
        await both_phases(trust)
        print("killed, started again: both phases", flush=True)
        status = container.stop("TERM")
        assert status == 0, f"{status}: {container.log.read_text()}"
        results = [json.loads(line)["result"] for line in container.access.read_text().splitlines()]
        # Of each topic: partitions and lookup, then its owner; the refused name is last.
        assert set(results) == {"ok", "no_route"} and results.count("ok") >= 2 * len(TOPICS), results
        entries = [json.loads(line) for line in container.log.read_text().splitlines()]
        assert not [one for one in entries if one["level"] in ("error", "critical")], entries
        # The recipe has one, of the admin endpoint.
        assert len([one for one in entries if one["level"] == "warn"]) == 1, entries
        print(f"stopped by TERM with status 0; {len(results)} lines in the access log", flush=True)
    finally:
        container.remove()
    await cluster.stop()


def main() -> None:
    """Build in a folder of its own, then run in a network namespace of its own."""
    if len(sys.argv) == 2:
        task.react(lambda reactor: Deferred.fromCoroutine(run(reactor, Path(sys.argv[1]))))
    with tempfile.TemporaryDirectory(prefix="sniproxy-image-") as folder:
        work = Path(folder)
        work.chmod(0o755)
        build(work)
        done = subprocess.run(["unshare", "--net", sys.executable, __file__, folder], cwd=ROOT)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
