"""Runs two real brokers and the proxy until Ctrl-C: `python -m tests.peers.play`."""

from __future__ import annotations

import shlex
import signal
import sys

from tests.peers import clients, lab, provide
from tests.peers.material import SERVICE_NAME


def main() -> int:
    """Start them, and print commands to try."""
    absent = [part.name for part in provide.parts() if not part.path.is_dir()]
    if absent:
        print(f"not provided: {', '.join(absent)}; make peers")
        return 1
    print("starting two brokers and the proxy: about 10 s", flush=True)
    shared = lab.shared()
    cluster = shared.cluster
    proxy = shared.proxy(lab.routes(cluster))
    url = f"pulsar+ssl://{SERVICE_NAME}:6651"
    options = {"url": url, "proxy": proxy.url, "trust": shared.material.trust, "verify": True}
    topics = ["persistent://public/default/played"]
    look = ["openssl", "s_client", "-connect", f"127.0.0.1:{proxy.port}", "-servername", cluster.brokers[0].name]
    for what, command in {
        "the access log": ["tail", "-f", str(proxy.access_log)],
        "a broker's certificate": [*look, "-CAfile", str(shared.material.trust)],
        "the Python client": clients.python_client(options, topics),
        "the Java client": clients.java_client(options, topics),
        "who owns a topic": [
            "curl",
            f"http://127.0.0.1:{cluster.brokers[0].web}/lookup/v2/topic/persistent/public/default/t",
        ],
    }.items():
        print(f"\n# {what}\n{shlex.join(command)}")
    print("\nserving until Ctrl-C", flush=True)
    try:
        signal.pause()
    except KeyboardInterrupt:
        print()
    finally:
        proxy.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
