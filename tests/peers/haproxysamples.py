"""Configurations of HAProxy in different styles, and names to try them with.

In a text, ``{a}``, ``{b}`` and ``{c}`` are the ports of its listeners on 127.0.0.1, and ``{one}`` to ``{six}`` those of
backends. A file of `FILES` is beside the configuration, in ``{folder}``.
"""

from __future__ import annotations

_HEAD = """\
global
  maxconn 500
defaults
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
"""

_BACKENDS = """\
backend b1
  server s 127.0.0.1:{one}
backend b2
  server s 127.0.0.1:{two}
backend b3
  server s 127.0.0.1:{three}
backend b4
  server s 127.0.0.1:{four}
backend b5
  server s 127.0.0.1:{five}
backend b6
  server s 127.0.0.1:{six}
"""

ACLS = (
    _HEAD
    + r"""
frontend clients   # named ACLs: several lines are alternatives, several ACLs must all hold
  bind 127.0.0.1:{a}
  tcp-request inspect-delay 5s
  acl tls    req.ssl_hello_type 1
  acl broker req.ssl_sni -i broker-1.pulsar.test broker-2.pulsar.test
  acl broker req.ssl_sni -i -m reg ^broker-1[0-9]+\.pulsar\.test$
  acl wild   req.ssl_sni -i -m end .w.test
  acl inner  req.ssl_sni -i -m beg in-
  acl domain req.ssl_sni -i -m dom "eu"
  acl part   req.ssl_sni -i -m sub 'x-y'
  acl named  req.ssl_sni -m found
  acl secret req_ssl_sni -i secret.w.test -- also.secret.test
  tcp-request content reject if secret
  tcp-request content accept if tls
  use_backend b1 if broker
  use_backend b2 if wild inner
  use_backend b3 if wild !domain
  use_backend b4 if domain
  use_backend b5 if part
  use_backend b6 unless named
"""
    + _BACKENDS
)

MAPS = (
    _HEAD
    + r"""
frontend clients
  bind 127.0.0.1:{a}
  tcp-request inspect-delay 3000
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  use_backend b6 if {{ req.ssl_sni,lower -f {folder}/listed.lst }}
  use_backend %[req.ssl_sni,lower,map({folder}/names.map,b5)]
  default_backend b4
frontend ends
  bind 127.0.0.1:{b}
  tcp-request inspect-delay 3s
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  use_backend b%[req.ssl_sni,lower,map_end({folder}/ends.map)] if !{{ req.ssl_sni -i -m beg vip }}
  use_backend b%[req.ssl_sni,lower,map_beg({folder}/begins.map)]
  default_backend b6
frontend expressions
  bind 127.0.0.1:{c}
  tcp-request inspect-delay 3s
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  use_backend %[req.ssl_sni,lower,map_reg({folder}/expressions.map)] if {{ req.ssl_sni -m found }}
"""
    + _BACKENDS
)

INLINE = (
    _HEAD
    + r"""
frontend clients
  bind 127.0.0.1:{a}
  tcp-request inspect-delay 5s
  tcp-request connection reject if {{ src 127.0.0.66 }}
  tcp-request content reject if {{ req_ssl_sni -i broker-3.pulsar.test }} !{{ src 127.0.0.0/29 }}
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  use_backend b1 if {{ req_ssl_sni -i broker-1.pulsar.test }} || {{ req_ssl_sni -i broker-2.pulsar.test }}
  use_backend b3 if !{{ req_ssl_sni -m found }} or {{ req_ssl_sni -m len 3 }}
  use_backend b4 if {{ req_ssl_sni -i -m reg ^(broker|bookie)-[0-9]{{2,}}\. }}
  use_backend pool if {{ req_ssl_sni -i -m dom pool }}
  use_backend b5 unless {{ req_ssl_sni -i -m end .w.test }}
  use_backend b2 if {{ req_ssl_sni -i -m end .w.test }} {{ src 127.0.0.0/28 }}
backend pool
  use-server first if {{ req_ssl_sni -i -m beg first }}
  use-server third if {{ req_ssl_sni -i -m beg third }}
  server first 127.0.0.1:{one} weight 0
  server second 127.0.0.1:{two}
  server third 127.0.0.1:{three} weight 0
"""
    + _BACKENDS
)

SECTIONS = (
    """\
defaults base
  mode tcp
  timeout connect 5s
  timeout client 30s
  timeout server 30s
defaults with-names from base
  tcp-request inspect-delay 5s
listen everything from base
  bind 127.0.0.1:{a}
  server one 127.0.0.1:{one}
  server two 127.0.0.1:{two} backup
listen named from with-names
  bind 127.0.0.1:{b} name second
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  acl w req.ssl_sni -i -m end .w.test
  use_backend b3 if w
  use_backend b4 if {{ req.ssl_sni -i broker-1.pulsar.test }}
  server own 127.0.0.1:{five} disabled
  server other 127.0.0.1:{six}
frontend refusing from with-names
  bind 127.0.0.1:{c}
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  use_backend b5 if {{ req.ssl_sni -i broker-1.pulsar.test broker-2.pulsar.test }}
  use_backend b6 if {{ req.ssl_sni -i -m end pulsar.test }}
backend b3 from base
  server s 127.0.0.1:{three}
backend b4 from base
  server s 127.0.0.1:{four}
backend b5 from base
  server s 127.0.0.1:{five}
backend b6 from base
  server s 127.0.0.1:{six}
"""
)  # fmt: skip

VARIABLES = (
    _HEAD
    + r"""
frontend clients
  bind 127.0.0.1:{a},127.0.0.1:{b}
  tcp-request inspect-delay 5s
  tcp-request content set-var(sess.sni) req.ssl_sni,lower
  tcp-request content accept if {{ req.ssl_hello_type 1 }}
  acl first dst_port {a}
  use_backend b1 if first {{ var(sess.sni) -m str broker-1.pulsar.test }}
  use_backend b2 if !first {{ var(sess.sni) -m str broker-1.pulsar.test }}
  use_backend b3 if {{ var(sess.sni) -m end .w.test }}
  use_backend for_%[var(sess.sni)]
  default_backend b6
backend for_vip.test
  server s 127.0.0.1:{four}
backend for_a.b.test
  server s 127.0.0.1:{five}
"""
    + _BACKENDS
)

HEADERS = (
    _HEAD
    + """
frontend behind   # a balancer
  bind 127.0.0.1:{a} accept-proxy
  tcp-request connection reject if !{{ src 127.0.0.0/29 }}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  use_backend b1 if {{ req.ssl_sni -i -m end .w.test }} {{ src 10.1.0.0/16 }}
  use_backend b2 unless {{ req.ssl_sni -i -m end .w.test }}
frontend sometimes
  bind 127.0.0.1:{b}
  tcp-request connection expect-proxy layer4 if {{ src 127.0.0.1 }}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  tcp-request content reject
  default_backend b3
"""
    + _BACKENDS
)

SENSITIVE = (
    _HEAD
    + """
frontend clients
  bind 127.0.0.1:{a}
  tcp-request inspect-delay 5s
  tcp-request content accept if {{ req_ssl_hello_type 1 }}
  use_backend b1 if {{ req.ssl_sni a.w.test }}
  default_backend b2
"""
    + _BACKENDS
)

FILES = {
    "listed.lst": "# names\nlisted-1.test\n  listed-2.test\n\nbroker-9.pulsar.test\n",
    "names.map": "broker-1.pulsar.test b1\nbroker-2.pulsar.test\tb2\n# broker-3.pulsar.test b3\nvip.test   b3  \n"
    "broker-1.pulsar.test b3\nbroker-9.pulsar.test b2\nlost.test nowhere\n",
    "ends.map": ".a.w.test 1\n.w.test 2\n-1.pulsar.test 3\n.b.w.test 4\n",
    "begins.map": "vip 4\nvip-2 5\nin- 1\n",
    "expressions.map": "^broker-([0-9]+)\\.pulsar\\.test$ b1\n\\.w\\.test$ b2\nvip b3\n^in-|\\.eu\\. b4\n",
}

SAMPLES = {
    "acls": ACLS,
    "maps": MAPS,
    "inline": INLINE,
    "sections": SECTIONS,
    "sensitive": SENSITIVE,
    "variables": VARIABLES,
    "headers": HEADERS,
}


OURS = {
    "wildcards": """
[[listener]]
endpoint = "tcp:{a}:interface=127.0.0.1"
[[route]]
server_name = "broker-1.pulsar.test"
target = "127.0.0.1:{one}"
[[route]]
server_name = "*.w.test"
target = "127.0.0.1:{two}"
[[route]]
server_name = "*.b.w.test"
target = "127.0.0.1:{three}"
[[route]]
server_name = "secret.w.test"
resolver = "none"
[[route]]
server_name = '~(broker|bookie)-[0-9]+\\.pulsar\\.test'
target = ["127.0.0.1:{four} weight=300", "127.0.0.1:{five} weight=0"]
balance = "least_connections"
[[route]]
server_name = '~broker-.*'
target = "127.0.0.1:{five}"
[default]
target = "127.0.0.1:{six}"
[resolver.none]
type = "refuse"
[limits]
max_connections = 500
""",
    "clients": """
[[listener]]
name = "first"
endpoint = "tcp:{a}:interface=127.0.0.1"
[[listener]]
name = "second"
endpoint = "tcp:{b}:interface=127.0.0.1"
[[listener]]
endpoint = "tcp:{c}:interface=127.0.0.1"
plaintext = true
target = "127.0.0.1:{six}"
[[route]]
server_name = "*.w.test"
target = "127.0.0.1:{one}"
only_from = ["127.0.0.0/28", "::1"]
[[route]]
server_name = "*.w.test"
listener = "second"
target = "127.0.0.1:{two}"
[[route]]
server_name = "vip.w.test"
target = "127.0.0.1:{three}"
max_connections = 100
[[route]]
server_name = ""
listener = "second"
target = "127.0.0.1:{four}"
[[route]]
server_name = "127.0.0.9"
target = "127.0.0.1:{five}"
[no_server_name]
target = "127.0.0.1:{five}"
[health]
check = "tcp"
[timeouts]
hello = 2.5
""",
    "inverted": """
[[listener]]
endpoint = "tcp:{a}:interface=127.0.0.1"
[[route]]
server_name = '~.*x-y.*'
target = "127.0.0.1:{one}"
[[route]]
server_name = '~vip(?:-[0-9])?\\..+'
target = "127.0.0.1:{two}"
[[route]]
server_name = "*.test"
target = "127.0.0.1:{three}"
[[route]]
server_name = "*.w.test"
target = "localhost:{four}"
[[route]]
server_name = "in-1.none"
target = "127.0.0.1:{five}"
""",
}
"""Configurations of the proxy."""

_LABELS = [
    "a",
    "in-1",
    "in-x",
    "vip",
    "vip-2",
    "vip-3",
    "x-y",
    "ax-yb",
    "secret",
    "also",
    "first",
    "third",
    "eu",
    "pool",
]
_PARENTS = ["w.test", "a.w.test", "b.w.test", "pulsar.test", "eu.test", "a.eu.w.test", "pool.test", "test", "none"]
_SINGLE = (
    "w.test test eu a.b.test also.secret.test lost.test localhost listed-1.test listed-2.test listed-3.test xw.test "
    "broker-1xpulsar.test xbroker-1.pulsar.test first.pool.w.test third.pool.test a-1.pulsar.test a.pool poolx.test "
    "-1.pulsar.test eux.test"
)


def names() -> list[str | None]:
    """The server names to try. None: a hello without one."""
    found: list[str | None] = [None, *_SINGLE.split()]
    found += [f"{label}.{parent}" for label in _LABELS for parent in _PARENTS]
    for kind in ("broker", "bookie"):
        found += [f"{kind}-{number}.pulsar.test" for number in (0, 1, 2, 3, 9, 10, 11, 123)]
    found += [f"{label}.{parent}" for label in ("first", "third") for parent in _PARENTS]
    return [*found, *(f"broker-{number}.w.test" for number in range(20))]


def odd_names() -> list[str]:
    """Names in capitals, for rules that ignore case."""
    return ["Broker-1.Pulsar.Test", "A.w.TEST", *(name.upper() for name in names()[:60] if name)]
