"""Configurations of HAProxy made at random: ACLs, conditions, maps, refusals and use-server in any combination."""

from __future__ import annotations

from pathlib import Path
from random import Random

_LABELS = ("a", "b", "in-1", "vip", "x")
_PARENTS = ("w.test", "test", "eu.test", "w.eu.test")
_FULL = [
    *("test", "w.test", "a", "eu"),
    *(f"{label}.{parent}" for label in _LABELS for parent in _PARENTS),
    *(f"{first}.{second}.{parent}" for first in _LABELS[:3] for second in _LABELS for parent in _PARENTS[:2]),
]
NAMES: list[str | None] = [None, *_FULL]
"""The names to try. None: a hello without one."""

_EXPRESSIONS = (r"^in-[0-9]\.", r"\.eu\.test$", r"^(a|b)\.w", r"^[a-b]\.[^.]+$", r"vip|^x\.")
_ACTIONS = ("reject", "accept", "reject")
_MAPS = {
    "": _FULL,
    "_end": (".w.test", ".test", "test", "a.test"),
    "_beg": ("a", "vip", "in-", "a.w"),
    "_dom": ("eu", "w.test", "b"),
    "_sub": ("in-", "w.", "vip"),
}
_HEAD = """\
defaults
 mode tcp
 timeout connect 5s
 timeout client 30s
 timeout server 30s
frontend f
 bind 127.0.0.1:{a}
 tcp-request inspect-delay 5s
"""
_TARGETS = ("{one}", "{two}", "{three}", "{four}")


def generate(seed: int, folder: Path) -> dict[str, str]:
    """The files of a configuration, with the ports of L{haproxysamples}, the same for the same seed.

    `folder`: where the files are.
    """
    return _Generator(Random(seed), folder).files()


class _Generator:
    def __init__(self, random: Random, folder: Path) -> None:
        self.random, self.folder = random, folder
        self.acls: list[str] = []
        self.maps: dict[str, str] = {}

    def files(self) -> dict[str, str]:
        """The configuration and its maps."""
        random = self.random
        lines = [self.acl() for _ in range(random.randint(0, 4))]
        lines += [
            f"tcp-request content {random.choice(_ACTIONS)} {self.condition()}" for _ in range(random.randint(0, 2))
        ]
        lines.append("tcp-request content accept if {{ req_ssl_hello_type 1 }}")
        lines += [self.rule() for _ in range(random.randint(1, 5))]
        if random.random() < 0.7:
            lines.append(f"default_backend b{random.randint(1, 4)}")
        self.acls = []
        backends = "".join(self.backend(number) for number in (1, 2, 3, 4))
        return {"haproxy.cfg": _HEAD + "".join(f" {line}\n" for line in lines) + backends, **self.maps}

    def acl(self) -> str:
        """A line of a named ACL; several lines may have the same name."""
        name = self.random.choice("pqs")
        self.acls.append(name)
        return f"acl {name} {self.sample()}"

    def sample(self) -> str:
        """A sample with its patterns."""
        choose = self.random.choice
        kind = choose(("str", "str", "end", "wildcard", "beg", "sub", "dom", "reg", "found", "label"))
        if kind == "str":
            return f"req.ssl_sni -i {' '.join(choose(_FULL) for _ in range(self.random.randint(1, 3)))}"
        if kind == "label":
            return f"req.ssl_sni,lower,field(1,.) -m str {choose(_LABELS)}"
        patterns = {
            "end": _PARENTS,
            "wildcard": [f".{parent}" for parent in _PARENTS],
            "beg": _LABELS,
            "sub": ("n-", "w.", "eu", "ip"),
            "dom": ("eu", "w", "test", "b", "w.test"),
            "reg": _EXPRESSIONS,
            "found": ("",),
        }[kind]
        return f"req.ssl_sni -i -m {kind.replace('wildcard', 'end')} {choose(patterns)}".rstrip()

    def condition(self) -> str:
        """Alternatives of terms, each perhaps negated."""
        choose = self.random.choice
        alternatives = []
        for _ in range(choose((1, 1, 1, 2))):
            terms = []
            for _ in range(choose((1, 1, 2, 3))):
                named = self.acls and self.random.random() < 0.4
                term = choose(self.acls) if named else f"{{{{ {self.sample()} }}}}"
                terms.append(choose(("", "", "!")) + term)
            alternatives.append(" ".join(terms))
        return f"{choose(('if', 'if', 'unless'))} {choose((' or ', ' || ')).join(alternatives)}"

    def rule(self) -> str:
        """A rule for a backend, or for those of a map."""
        choose = self.random.choice
        if self.random.random() > 0.2:
            return f"use_backend b{self.random.randint(1, 4)} {self.condition()}"
        kind, name = choose(list(_MAPS)), f"{len(self.maps)}.map"
        keys = [choose(_MAPS[kind]) for _ in range(self.random.randint(1, 6))]
        self.maps[name] = "".join(f"{key} {choose(('b1', 'b2', 'b3', 'missing'))}\n" for key in keys)
        found = f"map{kind}({self.folder}/{name}{choose(('', ',b2'))})"
        return f"use_backend %[req.ssl_sni,lower,{found}] {choose(('', self.condition()))}"

    def backend(self, number: int) -> str:
        """A backend, perhaps with rules of its own."""
        lines = [f"server one 127.0.0.1:{_TARGETS[number - 1]}"]
        if self.random.random() < 0.2:
            lines.append(f"tcp-request content reject {self.condition()}")
        if self.random.random() < 0.2:
            target = self.random.choice(_TARGETS)
            lines += [f"use-server two {self.condition()}", f"server two 127.0.0.1:{target} weight 0"]
        return f"backend b{number}\n" + "".join(f" {line}\n" for line in lines)
