"""Downloads and builds the programs for the tests with peers: `python -m tests.peers.provide`, or `make peers`.

Maven gets Pulsar's jars, javac builds our Java classes, the Python client gets its own virtual environment, and go
builds the Go client. Each is a folder `NAME-KEY` below `$XDG_CACHE_HOME/sniproxy-peers` (`~/.cache/sniproxy-peers`);
KEY is a hash of versions and sources. A folder appears when it is complete, and is never changed afterwards. Exit
status: 0: success; 69: a program is missing (the last line has the command that installs it, and the other parts were
made); 75: a download failed (a line begins `DOWNLOAD FAILED:`); 1: any other error.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

HERE = Path(__file__).resolve().parent
PYTHON_CLIENT = "pulsar-client==3.13.0"
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
    """All parts, in the order in which they are made."""
    pom = HERE / "pom.xml"
    sources = sorted((HERE / "java").glob("*.java"))
    go = [HERE / "go" / name for name in ("go.mod", "go.sum", "main.go")]
    jars = Part("jars", ("java", "mvn"), key(pom), _make_jars)

    def make_classes(folder: Path) -> None:
        run(["javac", "-nowarn", "--release", "17", "-cp", f"{jars.path}/*", "-d", str(folder), *map(str, sources)])

    return [
        jars,
        Part("classes", ("java", "mvn", "javac"), key(pom, *sources), make_classes),
        # A virtual environment depends on the interpreter that made it.
        Part("python", (), key(PYTHON_CLIENT, sys.version, sys.base_prefix), _make_python),
        Part("go", ("go",), key(*go), _make_go),
    ]


def part(name: str) -> Part:
    """The part of that name. Raises KeyError."""
    return {one.name: one for one in parts()}[name]


def _make_jars(folder: Path) -> None:
    # -U: ask again for what an earlier attempt did not find.
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={folder}"]
    download(["mvn", "-B", "-q", "-U", "-f", str(HERE / "pom.xml"), *goal])


def _make_python(folder: Path) -> None:
    run([sys.executable, "-m", "venv", str(folder)])
    download([str(folder / "bin" / "python"), "-m", "pip", "install", "-q", PYTHON_CLIENT])


def _make_go(folder: Path) -> None:
    download(["go", "mod", "download"], cwd=HERE / "go")
    run(["go", "build", "-mod=readonly", "-trimpath", "-o", str(folder / "go-client"), "."], cwd=HERE / "go")


def run(command: Sequence[str], cwd: Path | None = None) -> None:
    """Run a command without showing its output. Raises CommandError with the end of the output."""
    try:
        done = subprocess.run(
            command, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, errors="replace", timeout=LONGEST,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CommandError(f"{' '.join(command[:4])} did not end in {LONGEST:.0f} s")
    if done.returncode:
        said = "\n".join(done.stdout.strip().splitlines()[-15:])
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
            for one in parts():
                if not set(one.programs) & set(absent):
                    make(one)
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
