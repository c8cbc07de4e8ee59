"""The example of a resolver's package, installed beside sniproxy: its tests, the list of types, one connection."""

import socket
import subprocess
import sys
from pathlib import Path

import smoke

trial = Path(sys.executable).parent / "trial"
subprocess.run([trial, "--temp-directory", "_trial", "sniproxy_numbered"], check=True)

listed = subprocess.run([smoke.TWISTD, "sniproxy", "--help-resolvers"], check=True, stdout=subprocess.PIPE, text=True)
print(listed.stdout, end="")
assert any(line.startswith("numbered ") for line in listed.stdout.splitlines())

with socket.create_server(("127.0.0.1", 0)) as server:
    config = Path(sys.argv[1]).read_text()
    for here, there in (("tcp:4443:", "tcp:0:"), ("base_port = 30000", f"base_port = {server.getsockname()[1] - 3}")):
        assert here in config
        config = config.replace(here, there)
    Path("examples.toml").write_text(config)
    smoke.through(server, "broker-3.pulsar.example.com", "--config", "examples.toml")
print("examples: one connection through a resolver of another package")
