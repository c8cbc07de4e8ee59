"""The configuration of a world's proxy."""

from __future__ import annotations

from tests.simulation.plan import Settings


def configuration(settings: Settings, variant: str) -> str:
    """The text of the world's configuration. @param variant: what a reload has changed."""
    more = variant == "timeouts"
    limits = "".join(f"{key} = {value}\n" for key, value in settings.limits if variant != "limits")
    route = '"10.1.0.5:6651"' if variant == "routes" else '["10.1.0.2:6651", "10.1.0.3:6651"]'
    extra = '[[listener]]\nendpoint = "tcp:4444:interface=10.0.0.1"\nname = "extra"\n' if variant == "listeners" else ""
    health = f'check = "{settings.check}"\n' if settings.check else ""
    deadline = min(settings.deadline, settings.connect)
    tls, plain = (5443, 7650) if variant == "second" else (4443, 6650)
    return f"""
relay = "python"
[[listener]]
endpoint = "tcp:{tls}:interface=10.0.0.1"
name = "tls"
{extra}
[[listener]]
endpoint = "tcp:{plain}:interface=10.0.0.1"
name = "plain"
plaintext = true
target = ["10.1.0.4:6651", "10.1.0.5:6651"]
[[route]]
server_name = "one.test"
target = "10.1.0.1:6651"
[[route]]
server_name = "two.test"
target = {route}
max_connections = {2 if variant == "routes" else 5}
[[route]]
server_name = "least.test"
target = ["10.1.0.1:6651", "10.1.0.2:6651 weight=2", "10.1.0.3:6651 weight=0"]
balance = "least_connections"
[[route]]
server_name = "host.test"
target = "broker.internal:6651"
[[route]]
server_name = "own.test"
target = "10.0.0.1:4443"
[[route]]
server_name = "*.formed.test"
target = "{{1}}.formed.internal:6651"
[[route]]
server_name = "*.asked.test"
resolver = "asked"
[policy]
allow_cidrs = ["10.1.0.0/16"]
[resolver.asked]
type = "simulated"
deadline = {deadline}
stale = {0 if variant == "resolver" else 5}
[timeouts]
hello = {settings.hello}
connect = {settings.connect}
idle = {settings.idle + 1 if more and settings.idle else settings.idle}
half_closed = {settings.half_closed}
drain = {settings.drain}
[limits]
{limits}
[health]
{health}interval = 4.0
eject = {settings.eject}
"""
