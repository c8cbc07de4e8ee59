"""Every shipped example, and every sample of the manual that needs no other program, works as documented."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import SkipTest, TestCase

from sniproxy.config.diagnostics.advice import operator_warnings
from sniproxy.config.parser import parse
from sniproxy.relay.engine import MODULE
from sniproxy.resolvers.namefile import parse_toml
from sniproxy.server.build import build
from sniproxy.testing.pulsar import PulsarCluster
from tests.inspector.capture.recorded import CAPTURES
from tests.support.configerrors import LISTENER
from tests.support.proxies import Proxy
from tests.tls.material import CA, pem

ROOT = Path(__file__).parent.parent
# A uid is named, so that the warning about root is not printed.
TWISTD = (
    sys.executable, "-c", "from twisted.scripts.twistd import run; run()",
    "--pidfile=", f"--uid={os.getuid()}", "-n", "sniproxy",
)  # fmt: skip
MAX_EXPOSURE = 2.0


def pages() -> list[Path]:
    found = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if not all(path.exists() for path in found) or len(found) == 1:
        raise SkipTest("docs/ is not here: the tests run apart from the sources")
    return found


def blocks(language: str) -> Iterator[tuple[str, str]]:
    """The code blocks of all pages in a language (empty: without one), each with page and line."""
    for page in pages():
        text = page.read_text()
        for match in re.finditer(r"^```([^\n`]*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
            if match[1] == language:
                yield f"{page.name}:{text.count(chr(10), 0, match.start()) + 1}", match[2]


def run(*arguments: str, cwd: Path = ROOT) -> tuple[int, str]:
    """Run twistd sniproxy. @return: exit status and output."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([p or os.getcwd() for p in sys.path])}
    ran = subprocess.run(
        [*TWISTD, *arguments], cwd=cwd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    return ran.returncode, ran.stdout


class ExampleTests(TestCase):
    """etc/, and the samples of README and docs/."""

    def build(self, place: str, text: str) -> list[str]:
        """The warnings of a sample; the files that it names exist."""
        from tests.support.reactor import reactor

        folder = Path(self.mktemp())
        text = text.replace('"/var/run/secrets/', '"secrets/')
        for name in re.findall(r'"(\w[\w/.-]*(?:\.pem|\.crt|-token|/token|/))"', text):
            path = folder / name
            path = path / "own.pem" if name.endswith("/") else path
            path.parent.mkdir(parents=True, exist_ok=True)
            if name.endswith("token"):
                path.write_text("secret")
            else:
                path.write_bytes(CA.cert_pem.bytes() if path.stem == "ca" else pem("a.test"))
        configuration = parse(text, str(folder / f"{place}.toml"))
        build(configuration, reactor)
        return operator_warnings(configuration)

    def test_etc(self) -> None:
        """Each configuration in etc/ is valid as shipped."""
        paths = sorted((ROOT / "etc").glob("*.toml"))
        if not paths:
            raise SkipTest("etc/ is not here: the tests run apart from the sources")
        for path in paths:
            status, out = run("--config", str(path.relative_to(ROOT)), "--check")
            self.assertEqual(0, status, out)
            self.assertIn("the configuration is valid", out)

    def test_toml(self) -> None:
        """Each TOML sample is a valid configuration, possibly after adding a listener, or a file of names."""
        found = list(blocks("toml"))
        self.assertGreater(len(found), 10)
        for place, text in found:
            if re.match(r'"[^"]+" = ', text):
                parse_toml(text)
                continue
            whole = text if "[[listener]]" in text or "[[bridge]]" in text else f"{text}\n{LISTENER}"
            # The sample of a plugin, which is not installed; or of the relay engine, which may be.
            if 'type = "pods"' in text or ('relay = "engine"' in text and find_spec(MODULE) is None):
                parse(whole, place)
            else:
                self.build(place, whole)

    def test_commands(self) -> None:
        """Each command line of run or twistd without a file, or with a file of etc/, is valid."""
        found = []
        for place, text in blocks(""):
            for line in text.replace("\\\n", " ").splitlines():
                command = re.match(r"(?:\$ )?(?:sniproxyctl run|twistd -n sniproxy)( .*)", line)
                words = shlex.split(command[1], comments=True) if command else []
                files = [word for word in words if word.endswith(".toml")]
                if command and all((ROOT / file).exists() for file in files):
                    found.append(place)
                    status, out = run(*words, *([] if "--check" in words or "--help" in words else ["--check"]))
                    self.assertEqual(0, status, f"{place}: {out}")
        self.assertGreater(len(found), 2)

    def test_check_sample(self) -> None:
        """The output of --check is as in the manual, where the relay engine is installed."""
        samples = [text for _, text in blocks("") if text.startswith("$ twistd -n sniproxy --check")]
        self.assertEqual(1, len(samples))
        command, _, shown = samples[0].replace("\\\n", " ").partition("\n")
        _, out = run(*shlex.split(command)[4:])
        if find_spec(MODULE) is None:
            out = re.sub(r"(?m)^(relay +)python: .*", r"\1engine, 1 thread", out)
        self.assertEqual(shown, out)


class ToolTests(TestCase):
    """Samples of sniproxyctl in the manual, with the embedded cluster or a recorded capture."""

    timeout = 120
    maxDiff = None

    CAPTURES: ClassVar = {
        "topics orders.pcap": "python-basic",
        "topics --failures missing.pcap": "java-lookup-only",
        "topics geo.pcap": "geo-replication",
    }

    async def shown(self, command: str, folder: Path) -> tuple[str, int]:
        """Run sniproxyctl. @return: its output, standard error last, with general durations; and its status."""
        environment = {**os.environ, "TZ": "UTC", "PYTHONPATH": os.pathsep.join(p or os.getcwd() for p in sys.path)}
        program = "import sys; from sniproxy.ctl import main; sys.exit(main())"
        out, error, status = await getProcessOutputAndValue(
            sys.executable, ["-c", program, *shlex.split(command)], env=environment, path=str(folder)
        )
        return general((out + error).decode()), status

    def routes(self, targets: Mapping[str, list[str]]) -> str:
        return "".join(f'[[route]]\nserver_name = "{name}"\ntarget = {to}\n' for name, to in targets.items())

    async def test_topics(self) -> None:
        """Tables of captures are as in the manual, without the last line, which goes to standard error."""
        found = []
        for place, text in blocks(""):
            command, _, table = text.partition("\n\n")
            name = self.CAPTURES.get(command.removeprefix("sniproxyctl "))
            if command.startswith("sniproxyctl topics ") and table:
                self.assertIsNotNone(name, f"{place}: no capture for {command}")
                found.append(name)
                words = command.removeprefix("sniproxyctl ").split()
                said, status = await self.shown(shlex.join([*words[:-1], f"{name}.pcap"]), CAPTURES)
                self.assertEqual((table, 0), ("".join(said.splitlines(keepends=True)[:-1]), status), place)
        self.assertEqual(list(self.CAPTURES.values()), found)

    async def test_inspect(self) -> None:
        """Events of a capture are as in the manual, which may leave out lines."""
        (sample,) = (text for _, text in blocks("") if re.match(r"[0-9:.]+ +1 +connection ", text))
        said, _ = await self.shown("inspect java-basic.pcap", CAPTURES)
        lines = said.splitlines()
        shown = [line for line in general(sample).splitlines() if line != "..."]
        self.assertEqual(shown, [line for line in lines if line in shown])
        self.assertEqual(9, len(lines) - len(shown) - 1)  # and the last line, on standard error

    async def test_cluster(self) -> None:
        """Lookups and explanations with the embedded cluster are as in the manual."""
        from tests.support.reactor import reactor

        cluster = PulsarCluster(reactor=reactor, tls=True, behind_proxy=True)
        cluster.start()
        self.addCleanup(cluster.stop)
        one, two = (f"{host}:{port}" for host, port in cluster.addresses.values())
        lookups = {"pulsar-vip.test": [two], "broker-1.pulsar.test": [one], "broker-2.pulsar.test": [two]}
        proxy = Proxy(self, self.routes(lookups))
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / "ca.pem").write_bytes(cluster.authority_pem)
        routes = {"*.pulsar.test": [one], "broker-1.pulsar.test": [one], "pulsar-vip.test": [one, two]}
        text = '[[listener]]\nname = "public"\nendpoint = "tcp:4443"\n' + self.routes(routes)
        (folder / "sniproxy.toml").write_text(text)
        commands = []
        for place, text in blocks(""):
            command, _, expected = text.replace("\\\n", " ").partition("\n")
            kind = re.match(r"\$ sniproxyctl (lookup|explain(?! --all))", command)
            if kind is None or "topic://" in command:  # the embedded cluster has no scalable topics
                continue
            commands.append(kind[1])
            words = command.removeprefix("$ sniproxyctl ").replace(":4443", f":{proxy.port}")
            said, _ = await self.shown(words, folder)
            for real, written in ((f"127.0.0.1:{proxy.port}", "127.0.0.1:4443"), (one, "127.0.0.1:6651")):
                said = said.replace(real, written)
            self.assertEqual(general(expected), said, place)
        self.assertEqual(["explain", "lookup", "lookup"], sorted(commands))


def general(text: str) -> str:
    """The text without values that differ between runs: durations and expiry dates."""
    text = re.sub(r"\b[0-9.]+ ms\b", "N ms", text)
    return re.sub(r"expires( +)[0-9-]+ \([0-9]+ days", r"expires\1DATE (N days", text)


class UnitTests(TestCase):
    """etc/sniproxy.service."""

    def test_exposure(self) -> None:
        """systemd rates the service's exposure as low."""
        if shutil.which("systemd-analyze") is None:
            raise SkipTest("systemd-analyze is not here; apt-get install systemd provides it")
        unit = ROOT / "etc" / "sniproxy.service"
        if not unit.exists():
            raise SkipTest("etc/ is not here: the tests run apart from the sources")
        ran = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        level = re.search(r"Overall exposure level for sniproxy.service: ([0-9.]+)", ran.stdout)
        if level is None:
            raise SkipTest(f"systemd-analyze cannot say it offline: {(ran.stderr or ran.stdout)[:200]}")
        self.assertLessEqual(float(level[1]), MAX_EXPOSURE)
