"""A configuration that has most tables, with secrets."""

from __future__ import annotations

SECRET = "hunter2"


TEXT = f"""
[[listener]]
name = "public"
endpoint = "tcp:4443"
[[listener]]
name = "ends"
endpoint = "tcp:4444"
certificates = "certs/"
upstream_trust = "ca.pem"
inspect = "pulsar"
[[listener]]
name = "tap"
endpoint = "tcp:6650:interface=127.0.0.1"
plaintext = true
target = "127.0.0.1:6640"
[[bridge]]
name = "bridge"
endpoint = "tcp:6651:interface=127.0.0.1"
service_url = "pulsar+ssl://vip.test"
proxy_service_url = "pulsar+ssl://proxy.test:4443"
proxy_protocol = "SNI"
trust = "ca.pem"
allow = ["*.pulsar.test"]
[[route]]
server_name = "a.test"
listener = "public"
target = ["10.0.0.7:6651", "10.0.0.8 weight=2"]
balance = "least_connections"
max_connections = 9
[[route]]
server_name = "*.b.test"
target = "{{1}}.inside.test:6651"
[[route]]
server_name = "c.test"
resolver = ["one", "two"]
[default]
resolver = "one"
[resolver.one]
type = "http"
url = "https://user:{SECRET}@names.test/"
[resolver.two]
type = "pulsar"
token = "{SECRET}"
[timeouts]
hello = 3
[policy]
allow_cidrs = ["10.0.0.0/8"]
allow_ports = [6652, 6651]
[limits]
rate_per_client = 5
exempt_cidrs = ["10.1.0.0/16"]
[health]
check = "tcp"
[access_log]
path = "-"
[inspect_log]
path = "-"
reveal = true
[admin]
endpoint = "tcp:9090:interface=127.0.0.1"
[reload]
on_change = true
"""
